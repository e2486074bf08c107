"""How Slurm's programs are run."""

from __future__ import annotations

import logging
import os

import pytest

from slurmsweep.backends.slurm import commands
from slurmsweep.errors import SchedulerUnavailableError

pytestmark = pytest.mark.timeout(60)

#: A stand-in that does not answer before the test has read that it is waited for.
SLOW = "#!/bin/sh\nwhile [ ! -e {} ]; do sleep 0.02; done\necho answer\n"


def test_waiting_for_an_answer_is_said(tmp_path, monkeypatch):
    program, heard = tmp_path / "squeue", tmp_path / "heard"
    program.write_text(SLOW.format(heard))
    program.chmod(0o755)
    monkeypatch.setattr(commands, "_SILENT", 0.05)
    said = []

    class Listener(logging.Handler):
        def emit(self, record):
            said.append(record.getMessage())
            heard.touch()

    listener = Listener()
    logging.getLogger("slurmsweep").addHandler(listener)
    try:
        assert commands.answer(str(program)) == "answer\n"
    finally:
        logging.getLogger("slurmsweep").removeHandler(listener)

    assert said == ["slurmsweep: Slurm has not answered yet: waiting, 60 s at most"]


def test_a_call_that_the_system_refuses_is_no_answer():
    with pytest.raises(SchedulerUnavailableError, match="echo cannot be run: Argument list too long"):
        commands.answer("echo", "7" * 200_000)


def test_accounting_is_asked_about_any_number_of_jobs(tmp_path, monkeypatch):
    program = tmp_path / "sacct"
    program.write_text('#!/bin/sh\necho "$*" | tr -cd , | wc -c\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    ids = [str(number) for number in range(10_000_000, 10_020_500)]

    text, said = commands.sacct_of(ids, "", ["-X"], "JobID")

    assert said == "used"
    assert [int(line) for line in text.split()] == [999] * 20 + [499]


def test_a_quick_answer_is_waited_for_in_silence(caplog):
    assert commands.answer("echo", "answer") == "answer\n"
    assert caplog.messages == []
