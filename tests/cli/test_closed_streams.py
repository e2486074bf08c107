"""Commands whose standard streams are closed, as some daemons and ``>&-`` start them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ALL = "<&- >&- 2>&-"


def run(closed: str, *argv: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "slurmsweep", *argv]
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *line], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def sweep(slurmsweep, write_sweep, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    # a program that prints by number: into whatever has the number
    return slurmsweep("create", str(write_sweep("import os; os.write(1, b'one'); os.write(2, b'two')"))).stdout.strip()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ALL])
def test_agents_and_runs_end_as_always_where_streams_are_closed(sweep, slurmsweep, tmp_path, closed):
    first = run(closed, "agent", sweep, "--count", "1")
    rest = run(closed, "run", sweep, "--backend", "local", "--jobs", "2")

    assert [(done.returncode, "Traceback" in done.stderr) for done in (first, rest)] == [(0, False)] * 2
    assert "none lost, none doubled" in slurmsweep("check", sweep).stdout
    assert {log.read_text() for log in tmp_path.glob(".slurmsweep/*/trials/0/*/1/output.log")} == {"onetwo"}


@pytest.mark.parametrize("command", ["status", "trials", "show", "export", "ls", "check"])
def test_commands_that_read_end_as_always_without_an_output(sweep, command):
    argv = {"ls": [command], "show": [command, sweep, "0"]}.get(command, [command, sweep])
    assert (run(">&-", *argv).returncode, run(ALL, *argv).returncode) == (0, 0)


def test_a_closed_output_in_a_locale_of_few_characters_is_no_error(sweep, monkeypatch):
    for name, value in {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}.items():
        monkeypatch.setitem(os.environ, name, value)
    done = run(">&-", "status", sweep)
    assert (done.returncode, done.stderr) == (0, "")
