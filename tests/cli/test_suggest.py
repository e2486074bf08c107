"""Commands and options that there are not: which one was meant, and how it is used; the same in each Python."""

from __future__ import annotations

import pytest

from slurmsweep.cli.main import main


def said(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("statsu", "status"),
        ("stat", "status"),
        ("trails", "trials"),
        ("re-submit", "resubmit"),
        ("list", "ls"),
        ("remove", "rm"),
        ("log", "logs"),
        ("RUN", None),
        ("frobnicate", None),
        ("plann", "plan"),
    ],
)
def test_an_unknown_command_is_answered_with_the_one_that_was_meant(capsys, word, meant):
    text = said(capsys, word, "abcd1234")

    # of slurmsweep, and not of a command that was not named
    assert text.startswith("usage: slurmsweep COMMAND ...\nslurmsweep: error: there is no command ")
    if meant:
        assert text.endswith(f"there is no command '{word}'; did you mean `{meant}`?\n")
    else:
        assert text.endswith(f"there is no command '{word}': `slurmsweep --help` lists the commands\n")


@pytest.mark.parametrize(
    ("words", "option", "meant"),
    [
        (["resubmit", "abcd1234", "--stat", "failed"], "--stat", "--state"),
        (["resubmit", "--max-atempts=3"], "--max-atempts", "--max-attempts"),  # SWEEP is missing, too
        (["trials", "--colums", "lr"], "--colums", "--columns"),
        (["run", "sweep.yaml", "--share=read"], "--share", "--shared"),
        (["ls", "--frobnicate"], "--frobnicate", None),
    ],
)
def test_an_unknown_option_is_answered_with_the_one_that_was_meant(capsys, words, option, meant):
    text = said(capsys, *words)

    assert text.startswith(f"usage: slurmsweep {words[0]} ")
    assert text.endswith(f"there is no option {option}" + (f"; did you mean {meant}?\n" if meant else "\n"))


@pytest.mark.parametrize(
    ("words", "end"),
    [
        (["run", "sweep.yaml", "--older", "30d"], "there is no option --older; `slurmsweep clean` has it\n"),
        (
            ["best", "--history", "all"],
            "there is no option --history; `slurmsweep report` and `slurmsweep export` have it\n",
        ),
        (["best", "--dry-run"], "there is no option --dry-run\n"),  # of too many to be named
    ],
)
def test_an_option_of_another_command_is_answered_with_that_command(capsys, words, end):
    assert said(capsys, *words).endswith(end)


@pytest.mark.parametrize(
    ("words", "end"),
    [
        (["run", "sweep.yaml", "--shared=write"], "--shared=write: write --shared or --shared=read\n"),
        (["plan", "sweep.yaml", "--mend=yes"], "--mend=yes: write --mend, without a value\n"),
        (["plan", "sweep.yaml", "--shared"], "`slurmsweep run`, `slurmsweep create` and `slurmsweep submit` have it\n"),
    ],
)
def test_a_value_that_an_option_does_not_take_is_answered_with_how_to_write_it(capsys, words, end):
    assert said(capsys, *words).endswith(end)


def test_help_of_a_command_that_there_is_not(capsys):
    text = said(capsys, "help", "lgos")

    assert text.startswith("usage: slurmsweep COMMAND ...\nslurmsweep: error: ")
    assert text.endswith("there is no command 'lgos'; did you mean `logs`?\n")


def test_a_word_too_many_shows_the_usage_of_its_command(capsys):
    text = said(capsys, "status", "abcd1234", "ef")

    assert text.startswith("usage: slurmsweep status ")
    assert text.endswith("unrecognized arguments: ef\n")


def test_an_option_whose_name_has_its_value_is_known(capsys):
    text = said(capsys, "run", "--shared=read")

    assert "no option" not in text
    assert "FILE" in text
