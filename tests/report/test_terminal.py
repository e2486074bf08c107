"""Nothing that others wrote can act upon a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmsweep.report.fitting import text_width
from slurmsweep.report.terminal import printable, printable_lines, printable_log, sentences, wrapped

#: Clears the screen, sets the title, moves the cursor, rings, goes back: with ESC and with C1 controls.
NASTY = "\x1b[2J\x1b]0;title\x07\x9b31m\rback\x08"


def test_controls_are_shown_as_text():
    assert printable(NASTY) == r"\x1b[2J\x1b]0;title\x07\x9b31m\rback\x08"
    assert printable_lines("a\x1b[1m\nb") == "a\\x1b[1m\nb"
    assert printable("größe → 5") == "größe → 5"


def test_a_log_keeps_its_colours_and_its_layout():
    line = "\x1b[1;31mloss\x1b[0m\t0.5\r\n"

    assert printable_log(line) == line
    assert printable_log(f"a{NASTY}b") == "a\\x1b[2J\\x1b]0;title\\x07\\x9b31m\rback\\x08b"


@pytest.fixture
def nasty_sweep(slurmsweep, tmp_path):
    (tmp_path / "train.py").write_text("print('\\x1b[2Jlog')\nraise SystemExit(3)\n")
    (tmp_path / "sweep.yaml").write_text(
        'program: train.py\nmethod: grid\nname: "a\\e[2Jname"\nparameters: {x: {values: ["\\e[2Jvalue"]}}\n'
    )
    done = slurmsweep("run", "sweep.yaml", "--backend", "local")
    assert "\x1b[2J" not in done.stdout + done.stderr
    [folder] = (tmp_path / "wandb").iterdir()
    return folder.name.removeprefix("sweep-")


@pytest.mark.parametrize("command", ["status", "trials", "plan", "resubmit --dry-run --backend local", "ls"])
def test_no_command_lets_a_value_through(slurmsweep, nasty_sweep, command):
    words = command.split()
    target = {"plan": ["sweep.yaml"], "ls": []}.get(words[0], [nasty_sweep])
    done = slurmsweep(words[0], *target, *words[1:])

    assert "\x1b" not in done.stdout + done.stderr
    assert done.returncode == 0


def test_errors_do_not_let_a_name_through(slurmsweep, tmp_path):
    (tmp_path / "bad.yaml").write_text('method: grid\nprogram: "t\\e[2J.py"\nparameters: {x: {value: 1}}\n')

    done = slurmsweep("create", "bad.yaml")

    assert (done.returncode, "\x1b" in done.stderr) == (2, False)


def test_logs_are_filtered_for_a_terminal_and_left_alone_for_a_pipe(slurmsweep, nasty_sweep, tmp_path):
    assert "\x1b[2Jlog" in slurmsweep("logs", nasty_sweep, "0").stdout

    ours, theirs = pty.openpty()
    subprocess.run(
        [sys.executable, "-m", "slurmsweep", "logs", nasty_sweep, "0"], cwd=tmp_path, stdout=theirs, check=True
    )
    os.close(theirs)
    seen = b""
    with suppress(OSError):  # EIO: all has been read
        while piece := os.read(ours, 4096):
            seen += piece
    os.close(ours)
    assert b"\\x1b[2Jlog" in seen


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("日本語 の 長い値", ["> 日本語", "- の", "- 長い値"]),
        ("日本語日本語日本語", ["> 日本語", "- 日本語", "- 日本語"]),
        ("é plain words of text", ["> é plain", "- words of", "- text"]),
        ("", []),
    ],
)
def test_lines_are_wrapped_by_what_characters_take(text, lines):
    assert wrapped(text, 9 if text[:1] == "日" else 10, "> ", "- ") == lines


def test_lines_beyond_the_most_are_cut_with_a_mark():
    assert wrapped("äa bb cc dd", 4, most=2) == ["äa", "bb …"]
    assert wrapped("äa bb cc dd long_word", 8, hanging="  ", most=2) == ["äa bb cc", "  dd lo…"]
    assert wrapped("aa bb cc dd ee", 5, most=2) == ["aa bb", "cc …"]


@pytest.mark.parametrize("first", ["then", "dann für"])
def test_commands_between_backquotes_are_whole_in_wrapped_lines(first):
    command = "`slurmsweep logs abcd1234 5`"
    assert wrapped(f"{first} (trial 5; {command}) and on", 38, "  why  ", "       ") == [
        f"  why  {first} (trial 5;",
        f"       {command})",
        "       and on",
    ]


def test_a_command_that_has_no_room_is_wrapped_between_its_words():
    command = "`slurmsweep run abcd --workdir FOLDER`"
    assert wrapped(f"then {command}", 20) == ["then `slurmsweep run", "abcd --workdir", "FOLDER`"]


def test_lines_of_prose_that_fit_stay_as_they_are():
    table = "trial  state     loss\n-----  --------  ----\n0      finished  0.1"

    assert sentences(table, 40) == table


def test_a_line_of_prose_is_broken_between_words_and_goes_on_two_blanks_further_in():
    text = "slurmsweep: one two three four\n  - a list goes on here"

    assert sentences(text, 18).split("\n") == ["slurmsweep: one", "  two three four", "  - a list goes on", "    here"]


def test_a_path_is_never_broken_and_other_long_words_are():
    path, word = "/home/a/very/long/path", "w" * 25

    assert sentences(f"it is in {path} now: {word}", 12).split("\n") == [
        *("it is in", f"  {path}", "  now:"),
        *(f"  {'w' * n}" for n in (10, 10, 5)),
    ]


@pytest.mark.parametrize("blanks", [38, 39, 40, 41, 200])
def test_a_line_that_begins_far_to_the_right_is_broken_too(blanks):
    """As the mark below a column of a faulty line."""
    assert sentences(f"{' ' * blanks}^", 40).split() == ["^"]

    lines = sentences(f"{' ' * blanks}^ here and in some further words", 40).split("\n")

    assert " ".join(lines).split() == ["^", "here", "and", "in", "some", "further", "words"]
    assert max(map(len, lines)) <= 40
    assert all(line.strip() for line in lines)


def test_a_command_between_backquotes_stays_in_one_line_where_it_fits():
    short, long = "`slurmsweep ls`", "`slurmsweep run abcd --workdir FOLDER`"

    assert sentences(f"say all of them: {short}", 20).split("\n") == ["say all of them:", f"  {short}"]
    assert sentences(f"then {long}", 20).split("\n") == ["then `slurmsweep run", "  abcd --workdir", "  FOLDER`"]


@given(text=st.text(alphabet="ab `/日\\n", max_size=120), columns=st.integers(8, 40))
def test_every_line_of_prose_fits_or_is_a_path_and_no_word_is_lost(text, columns):
    lines = sentences(text, columns).split("\n")

    assert [line for line in lines if text_width(line) > columns and "/" not in line.strip()] == []
    assert "".join("".join(lines).split()) == "".join(text.split())
