"""How Slurm's programs are run."""

from __future__ import annotations

import logging

import pytest

from slurmsweep.backends.slurm import commands

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


def test_a_quick_answer_is_waited_for_in_silence(caplog):
    assert commands.answer("echo", "answer") == "answer\n"
    assert caplog.messages == []
