"""What is documented exists, and what exists is documented."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys

import pytest
from documented import PAGES, ROOT

from slurmsweep.cli.parser import build_parser

LONGEST_LINE = 120
LONGEST_README = 120

#: Words that name no actor, and how many lines may have one, in all of these places together.
VAGUE = re.compile(r"\b(somebody|nobody|whoever|anybody)\b", re.IGNORECASE)
MOST_VAGUE_LINES = 5
PLAIN_PLACES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs", "job_templates", "examples", "slurmsweep")


def commands() -> dict[str, argparse.ArgumentParser]:
    [subparsers] = [action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return subparsers.choices


@pytest.mark.parametrize("name", commands())
def test_every_command_has_a_row_and_help(name):
    assert f"`slurmsweep {name}" in (ROOT / "docs" / "commands.md").read_text()
    assert commands()[name].description


@pytest.mark.parametrize("name", commands())
def test_every_option_has_help(name):
    actions = [action for action in commands()[name]._actions if action.help is not argparse.SUPPRESS]

    assert [action.dest for action in actions if not action.help] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())

    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_examples_parse(page):
    lines = re.findall(r"^ {4}(?:\$ )?slurmsweep (.+?)(?: +#.*)?$", page.read_text(), re.MULTILINE)
    for line in [line for line in lines if "---" not in line]:  # a drawing is no command
        assert build_parser().parse_args(line.split()).command, line


def test_scripts_in_the_readme_exist():
    names = set(re.findall(r"scripts/\w+", (ROOT / "README.md").read_text()))

    assert names >= {"scripts/quickstart", "scripts/test", "scripts/faults"}
    for name in names:
        assert subprocess.run(["bash", "-n", ROOT / name], check=False).returncode == 0, name


def test_every_exit_code_is_documented():
    from slurmsweep import errors

    documented = {
        int(code) for code in re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "commands.md").read_text(), re.MULTILINE)
    }
    kinds = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.SlurmsweepError)
    ]
    assert {kind.exit_code for kind in kinds} | {0, 130} == documented


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_line_of_a_page_is_too_long(page):
    lines = enumerate(page.read_text().splitlines(), start=1)

    assert [number for number, line in lines if len(line) > LONGEST_LINE] == []


def test_the_readme_is_read_in_five_minutes():
    assert len((ROOT / "README.md").read_text().splitlines()) <= LONGEST_README


def test_sentences_name_who_acts():
    files = [path for place in PLAIN_PLACES for path in (ROOT / place, *(ROOT / place).rglob("*")) if path.is_file()]
    texts = [path for path in files if path.suffix in {".md", ".py", ".sbatch", ".yaml"}]
    vague = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in texts
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if VAGUE.search(line)
    ]

    assert len(vague) <= MOST_VAGUE_LINES, vague


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page):
    """Look at paths in backticks: from the repository's root, the package, or a folder of the package."""
    named = set(re.findall(r"`((?:[a-z_]+/)+[\w.-]+\.(?:py|sbatch|md))\b", page.read_text()))
    places = (ROOT, ROOT / "slurmsweep", *(ROOT / "slurmsweep").glob("*/"))

    assert [name for name in named if not any((place / name).exists() for place in places)] == []


def test_files_that_the_architecture_names_exist():
    """Look at names without a folder, too: a table names a folder in its first line, and files in the others."""
    named = set(re.findall(r"`(\w+\.py)`", (ROOT / "docs" / "architecture.md").read_text()))

    assert named <= {path.name for place in ("slurmsweep", "tests") for path in (ROOT / place).rglob("*.py")}


def test_the_site_is_built_without_a_warning(tmp_path):
    """A link that leads nowhere and a page that no other names are warnings."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", ROOT / "docs", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert 'href="tutorial.html"' in (tmp_path / "index.html").read_text()
