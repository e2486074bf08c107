"""What every command shows of a hostile sweep: lines that fit, no escape code, no traceback, no secret.

The sweep has twenty parameters with long names and long, wide and hostile values; its trials log, fail and save what
a terminal would act upon.
"""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import closing

import pytest
from terminals import Terminal
from terminals import slurmsweep as command_line

from slurmsweep.cli.main import main
from slurmsweep.cli.parser import COMMANDS
from slurmsweep.report.fitting import text_width

COLUMNS = 80
ESCAPE = "\x1b]0;owned\x07\x1b[2J\x1b[31m"
WIDE = "日本語の長い値がここにあります" * 3
SECRET = "hf_abcdefghijklmnop"

SCRIPT = f"""
import os, sys
import slurmsweep as wandb
wandb.init()
x = wandb.config.x
print({ESCAPE!r}, "a line of the log that is much longer than any terminal is wide, with a wide {WIDE}")
wandb.log({{"loss": x / 3, "a.metric.with.a.long.name": 1e300, {WIDE!r}: x, "esc{ESCAPE}": 1}})
if os.environ["SLURMSWEEP_TRIAL"] == "1":
    raise ValueError("x is one " + {ESCAPE!r} + {WIDE!r} * 4)
if os.environ["SLURMSWEEP_TRIAL"] == "2":
    sys.exit(77)
"""


def sweep_file():
    parameters = {f"optimizer_parameter_with_a_long_name_{n:02}": {"values": [10.0**-n, 0.1]} for n in range(16)}
    parameters |= {
        "x": {"values": [0, 1, 2, 3]},
        "hostile": {"values": [f"a{ESCAPE}b", "plain", ESCAPE * 9]},
        WIDE[:12]: {"values": [WIDE, WIDE[::-1], "short"]},
        "long": {"values": ["v" * 300, "w" * 300]},
    }
    document = {
        "program": "train.py",
        "name": f"a name {WIDE}",
        "method": "random",
        "run_cap": 9,
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": parameters,
        "command": ["${env}", "python", "${program}", "--token", "${envvar:HF_TOKEN}"],
    }
    return json.dumps(document)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory, slurmsweep_in):
    """Return a folder in which such a sweep has run, and what `run` itself has shown."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "train.py").write_text(SCRIPT)
    (folder / "sweep.json").write_text(sweep_file())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", SECRET)
        patch.setenv("PATH", os.path.dirname(sys.executable))
        patch.setenv("COLUMNS", str(COLUMNS))
        assert slurmsweep_in(folder, "create", "sweep.json", "--name", "other").returncode == 0
        done = slurmsweep_in(folder, "run", "sweep.json", "--backend", "local", "--max-fails", "0")
    assert done.returncode == 1, done.stderr
    return folder, done


@pytest.fixture
def shown(hostile, slurmsweep_in, monkeypatch):
    """Run a command there."""
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable))
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    return lambda *words: slurmsweep_in(hostile[0], *words)


def too_long(text, columns=COLUMNS):
    """Return the lines that do not fit; what is copied as a whole (a path, a command, a script) is no table."""
    lines = text.splitlines()
    return [
        line for line in lines if text_width(line) > columns and not re.search(r"(?:^| )\.?/?[\w.-]*/[\w./-]+$", line)
    ]


SCREENS = [
    ["status"],
    ["ls"],
    ["trials"],
    ["trials", "--state", "failed"],
    ["trials", "--sort", "loss", "--reverse"],
    ["best"],
    ["best", "--top", "5"],
    ["importance"],
    ["efficiency"],
    ["efficiency", "--trials"],
    ["check", "last"],
    ["templates"],
    ["doctor"],
    ["defaults"],
    ["reconcile", "last", "--dry-run"],
    ["resubmit", "last", "--dry-run"],
    ["sync", "last", "--dry-run"],
    ["show", "0"],
    ["show", "1"],
    ["show", "2"],
    ["plan", "sweep.json", "--backend", "slurm"],
    ["plan", "sweep.json", "--backend", "local"],
    ["rm", "last", "--dry-run"],
    ["clean", "last", "--dry-run"],
    ["clean", "--older", "0h", "--keep-best", "0", "--dry-run"],
    ["ls", "--all"],
    ["compare", "last", "other"],
    ["watch", "--once"],
    ["rerun", "last", "--state", "failed", "--dry-run"],
    ["share", "last", "--off"],
]


#: Sentences are one line where there is no terminal.
TABLES = [words for words in SCREENS if words[0] != "sync"]


@pytest.mark.parametrize("words", TABLES, ids=" ".join)
def test_a1_each_line_of_a_screen_fits_80_columns(shown, words):
    done = shown(*words)

    assert "Traceback" not in done.stderr
    assert too_long(to_be_read(words, done.stdout)) == []


def to_be_read(words, text):
    """Return what a command shows without what is to be copied: commands and scripts as they are run."""
    if words[0] == "show":
        text = text.partition("\nby hand, ")[0]
    if words[0] == "plan":
        text = re.sub(r"^ +\d+  .*$", "", text.partition("\nbatch script:")[0], flags=re.MULTILINE)
    return text


#: What else a person may see: orders, mistakes, help. What changes something changes the sweep that has not run.
SENTENCES = [
    ["status", "other"],
    ["trials", "other"],
    ["importance", "other"],
    ["check"],
    ["pause", "other"],
    ["resume", "other"],
    ["extend", "other", "--count", "2"],
    ["stop", "other"],
    ["stop", "other"],
    ["cancel", "other"],
    ["set", "other", "--width", "3"],
    ["submit", "other"],
    ["run", "nosuch.yaml"],
    ["run", "other", "--backend", "local", "--no-wait"],
    ["run", "other", "--workdir", "no/such/folder/of/a/project/that/was/moved/to/another/place/than/it/was/in"],
    ["create", "--update", "other"],
    ["mend", "nosuch"],
    ["agent", "nosuchid"],
    ["delete", "last", "--trials", "0", "--dry-run"],
    ["report", "last", "-o", "report.html", "--force"],
    ["export", "last", "-o", "trials.csv"],
    ["export", "last", "-o", "no/such/folder/trials.csv"],
    ["logs", "last", "best", "--path"],
    ["logs", "last", "99"],
    ["leet", "nosuch"],
    ["show", "last", "99"],
    ["listen", "no-queue"],
    ["completion", "csh"],
    ["trials", "--columns", "nosuch"],
    ["best", "--metric", "nosuch"],
    ["rm", "nosuch"],
    ["plan", "--nosuch"],
    ["nosuch"],
    ["help"],
    ["help", "run"],
    [],
]

#: A path, or a command for a shell, on a line of its own; a path beside its label.
TO_BE_COPIED = re.compile(r" *\S*/\S*|  (?:log|checkpoints|folder) +\S+")


def test_every_command_shows_a_screen():
    assert {words[0] for words in [*SCREENS, *SENTENCES] if words and words[0] != "nosuch"} == {*COMMANDS, "help"}


@pytest.mark.parametrize("columns", [60, 80])
def test_each_line_of_every_command_fits_a_real_terminal(hostile, columns):
    unfit = {}
    for words in [*SCREENS, *SENTENCES]:
        environ = {"HF_TOKEN": SECRET, "PATH": os.path.dirname(sys.executable)}
        with closing(Terminal(command_line(*words), hostile[0], columns, 500, **environ)) as screen:
            screen.end()
        text = re.sub(r"\x1b\[[0-9;?]*[ -/]*[@-~]", "", screen.bytes.decode()).replace("\r\n", "\n")
        lines = to_be_read(words, text).splitlines() if words else text.splitlines()
        if long := [line for line in lines if text_width(line) > columns and not TO_BE_COPIED.fullmatch(line)]:
            unfit[" ".join(words)] = long
        assert "Traceback" not in text
        assert SECRET not in text
        assert text.strip()

    assert unfit == {}


@pytest.mark.parametrize("columns", [60, 80])
def test_each_line_of_the_help_of_every_command_fits(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            main(["help", command])

    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if text_width(line) > columns] == []
    assert len(lines) > 10 * len(COMMANDS)


PROGRESS = """
from slurmsweep.cli.output import steps
with steps(1234, "trials") as show:
    show(1234, "in the whole sweep 1 crashed, 5 failed, 1228 finished")
"""


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_the_bar_of_progress_keeps_its_numbers_where_the_terminal_is_narrow(columns, tmp_path):
    with closing(Terminal([sys.executable, "-c", PROGRESS], tmp_path, columns)) as screen:
        assert screen.end() == 0

    assert "1234/1234 " in screen.text
    assert "…" not in screen.text
    words = re.sub("━|1234/1234|0:00:00", "", screen.text).split()
    assert " ".join(words) == "in the whole sweep 1 crashed, 5 failed, 1228 finished"


def test_sentences_are_whole_lines_where_there_is_no_terminal(shown):
    piped = [
        shown("check", "last"),
        shown("extend", "other", "--count", "1"),
        shown("run", "other", "--workdir", "x" * 99),
    ]

    assert [len(done.stdout.splitlines() or done.stderr.splitlines()) for done in piped] == [1, 1, 1]
    assert len(piped[2].stderr) > COLUMNS


@pytest.mark.parametrize("words", [*SCREENS, ["logs", "last", "--failed"]], ids=" ".join)
def test_no_screen_has_an_escape_code_a_traceback_of_ours_or_a_secret(shown, words):
    done = shown(*words)

    both = done.stdout + done.stderr
    assert SECRET not in both
    if words[0] != "logs":  # a log is bytes of the script where it is no terminal
        assert "\x1b" not in both
        assert "\x07" not in both
    assert "slurmsweep/cli/main.py" not in both


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_table_for_programs_is_safe_on_a_terminal_and_exact_in_a_pipe(hostile, shown, kind):
    words = ["export", "last", "--format", kind]
    environ = {"HF_TOKEN": SECRET, "PATH": os.path.dirname(sys.executable)}
    with closing(Terminal(command_line(*words), hostile[0], COLUMNS, 500, **environ)) as screen:
        assert screen.end() == 0
    piped = shown(*words).stdout

    assert (b"\x1b" in screen.bytes, b"\x07" in screen.bytes) == (False, False)
    assert "owned" in screen.bytes.decode()
    assert (ESCAPE if kind == "csv" else json.dumps(ESCAPE)[1:-1]) in piped


def test_the_end_of_a_run_fits(hostile):
    _, done = hostile

    assert "\x1b" not in done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert too_long(done.stdout) == []
    assert "77" in done.stdout


@pytest.mark.parametrize("words", [["trials"], ["best", "--top", "5"], ["efficiency", "--trials"]], ids=" ".join)
def test_columns_stand_below_their_titles(shown, words):
    """Each row has blanks where the rule below the titles has them, also beside escaped and wide values."""
    lines = shown(*words).stdout.splitlines()
    rule = next(place for place, line in enumerate(lines) if re.fullmatch(r"-+(?:  +-+)*", line))
    gaps = [place for place, char in enumerate(lines[rule]) if char == " "]
    rows = []
    for line in lines[rule + 1 :]:
        if not line.strip() or line.startswith(("the same", "no room", "  ")):
            break
        rows.append(line)
    assert rows
    for row in rows:
        cells = "".join(char + "\0" * (text_width(char) - 1) for char in row).ljust(len(lines[rule]))
        assert {cells[place] for place in gaps} <= {" "}, row


@pytest.mark.parametrize("name", ["a\x1b[31mb", "日本"])
def test_a_sweep_of_any_name_is_listed_without_escape_codes(slurmsweep, tmp_path, name):
    (tmp_path / "train.py").write_text("pass")
    document = {"program": "train.py", "method": "grid", "name": name, "parameters": {"x": {"values": [1]}}}
    (tmp_path / "sweep.json").write_text(json.dumps(document))
    made = slurmsweep("create", "sweep.json")
    assert made.returncode == 0, made.stderr

    for words in (["ls"], ["status"], ["trials"]):
        done = slurmsweep(*words, COLUMNS="80")
        assert "\x1b" not in done.stdout + done.stderr
