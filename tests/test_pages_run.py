"""Pages with blocks marked `console` are followed literally: each command runs, and its output is the page's.

A block after a line that ends with the name of a file in backticks and a colon is saved as that file. In an output,
`...` stands for any text, alone in a line for any lines; ids of sweeps and durations may differ, and so may the width
of columns.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"`([\w.-]+)`:\n\n\Z")
PAGES = [page for page in sorted((ROOT / "docs").glob("*.md")) if "```console" in page.read_text()]

#: The id that pages show.
ID = "k3v9x2ab"


def steps(text: str):
    """Yield, in the order of the page, (name, content) of a file and (command, output) of a command."""
    for block in BLOCK.finditer(text):
        language, content = block.groups()
        name = FILE_NAME.search(text[: block.start()])
        if language == "console":
            for part in re.split(r"^\$ ", content, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                yield "command", command, output
        elif name:
            yield "file", name[1], content


def pattern(output: str) -> re.Pattern[str]:
    """Return what the output of a command has to match, where blanks and rules of tables count as one."""
    patterns = []
    for line in map(plain, output.splitlines()):
        said, rest = (line[:-4], "(?: .*)?") if line.endswith(" ...") else (line, "")  # there may be no more columns
        exact = ".*".join(re.escape(part) for part in said.split("...")) + rest + "\n"
        patterns.append(r"(?:.*\n)*?" if line == "..." else exact)
    text = "".join(patterns).replace(ID, "[a-z0-9]{8}")
    return re.compile(re.sub(r"\d+\\\.\d+s\b", r"[0-9.]+s", text))


def plain(line: str) -> str:
    return re.sub(r"-{2,}", "--", re.sub(r"\s+", " ", line)).strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_says_what_happens(page, tmp_path):
    bin_folder = Path(sys.executable).parent
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "WANDB", "SBATCH"))
    }
    environment |= {
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "COLUMNS": "100",
        "PYTHONUNBUFFERED": "1",
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }
    folder = tmp_path / "project"
    folder.mkdir()
    ran = 0
    for kind, what, text in steps(page.read_text()):
        if kind == "file":
            (folder / what).write_text(text)
            continue
        done = subprocess.run(
            ["bash", "-c", what],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        printed = "".join(plain(line) + "\n" for line in done.stdout.splitlines())
        assert pattern(text).fullmatch(printed), f"$ {what}\n{done.stdout}\n--- the page says\n{text}"
        ran += 1

    assert ran


README = (ROOT / "README.md").read_text()

#: The mistakes that the README's first example of `plan` shows.
WRONG = """program: train.py
method: gird
metric: {name: loss}
parameters:
  lr: {value: 0.1}
  bs:
    valeus: [16, 32]
"""


def output_in_readme(command: str) -> str:
    found = re.search(rf"^    \$ {re.escape(command)}\n((?:    .*\n)+)", README, re.MULTILINE)
    return re.sub("^    ", "", found[1], flags=re.MULTILINE)


def printed_by(folder: Path, *words: str) -> str:
    environment = os.environ | {"COLUMNS": "120", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "slurmsweep", *words]
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return "".join(plain(line) + "\n" for line in done.stdout.splitlines())


def test_the_readme_shows_the_mistakes_of_a_sweep_file_as_plan_does(tmp_path):
    (tmp_path / "train.py").touch()
    (tmp_path / "sweep.yaml").write_text(WRONG)

    assert pattern(output_in_readme("slurmsweep plan sweep.yaml")).fullmatch(printed_by(tmp_path, "plan", "sweep.yaml"))


def test_the_readme_shows_the_quickstart_as_it_ends(tmp_path):
    sweep_file = ROOT / "examples" / "quickstart" / "sweep.yaml"
    printed = printed_by(tmp_path, "run", str(sweep_file), "--backend", "local", "--jobs", "2")

    assert pattern("...\n" + output_in_readme("scripts/quickstart")).fullmatch(printed), printed


def test_a_page_with_another_output_is_noticed():
    assert pattern(f"sweep {ID} ...\n9 finished, 0.2s\n").fullmatch("sweep z70vnp79 in /x\n9 finished, 13s\n")
    assert not pattern("8 finished\n").fullmatch("9 finished\n")
    assert pattern("a\n...\nb\n").fullmatch("a\nx\ny\nb\n")
    assert not pattern("a\n...\nb\n").fullmatch("a\nx\n")
