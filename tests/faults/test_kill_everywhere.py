"""A claiming and finishing process killed with SIGKILL at each of its system calls: the next one goes on, nothing is lost.

strace does the killing: ``inject=CALL:signal=KILL:when=N`` ends the process as it enters its N-th such call.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys

import pytest

from slurmsweep.launch.reconcile import give_back, reconcile
from slurmsweep.state.check import check
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.store import Claim

#: Every call with which a claim or an outcome touches the disk.
CALLS = ["openat", "mkdir", "write", "fsync", "rename", "flock", "pread64", "close"]

#: Prints what it was told before the next step can kill it: these are the acknowledged claims and outcomes.
WORK = """
import os, sys
from slurmsweep.agent.identity import this_process
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.store import SweepStore
store = SweepStore.open(sys.argv[1])
me = this_process({})
for _ in range(2):
    claim = store.claim(me)
    store.finish(claim, Outcome(TrialState.FINISHED, exit_code=0, ended=1.0))
    print(claim.slot.trial, flush=True)
"""

OWNER = Owner("elsewhere", 1, 1, "b")


@pytest.fixture
def strace():
    """The path of strace; skips where there is none."""
    found = shutil.which("strace")
    if not found:
        pytest.skip("strace is not installed")
    return found


def calls_of(strace, call, folder) -> int:
    """How many such calls the whole process makes, imports included."""
    command = [strace, "-f", "-c", "-S", "calls", "-e", f"trace={call}", sys.executable, "-c", WORK, folder]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    [line] = [line for line in done.stderr.splitlines() if line.endswith(f" {call}")]
    return int(line.split()[3])


def killed_at(strace, call, number, folder) -> set[int]:
    """Run the work, killed at that call; the trials whose outcome was acknowledged."""
    command = [strace, "-f", "-o", "/dev/null", "-e", f"inject={call}:signal=KILL:when={number}"]
    done = subprocess.run([*command, sys.executable, "-c", WORK, folder], capture_output=True, text=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL, 128 + signal.SIGKILL), done.stderr
    return {int(word) for word in done.stdout.split()}


def run_to_the_end(store) -> None:
    """What a person would do: bring the journal up to date, run again what is not finished, until nothing is left."""
    reconcile(store, sleep=lambda seconds: None)
    give_back(store, lambda trial: True, why="test")
    while isinstance(claim := store.claim(OWNER), Claim):
        store.finish(claim, Outcome(TrialState.FINISHED, exit_code=0, ended=2.0))


@pytest.mark.parametrize("call", CALLS)
def test_killed_at_any_call_nothing_is_lost_and_nothing_doubled(make_store, strace, tmp_path, call):
    probe = make_store(4, tmp_path / "probe")
    total = calls_of(strace, call, probe.layout.folder)
    imports = calls_of_imports(strace, call)
    points = range(imports + 1, total + 1)

    for number in points:
        store = make_store(4, tmp_path / str(number))
        acknowledged = killed_at(strace, call, number, store.layout.folder)
        before = {n for n, trial in store.fold().trials.items() if trial.state is TrialState.FINISHED}
        assert acknowledged <= before, f"{call} {number}: an acknowledged outcome was lost"

        run_to_the_end(store)

        fold = store.fold()
        states = {n: trial.state for n, trial in fold.trials.items()}
        assert states == dict.fromkeys(range(4), TrialState.FINISHED), f"{call} {number}"
        assert [str(finding) for finding in check(store).findings] == [], f"{call} {number}"
        rerun = {
            n for n, trial in fold.trials.items() if sum(a.outcome is not None for a in trial.attempts.values()) > 1
        }
        assert not rerun & acknowledged, f"{call} {number}: an acknowledged trial was run again"
    assert len(points) > 1


def calls_of_imports(strace, call) -> int:
    """Such calls before the first claim, which are not worth a kill each."""
    imports = WORK.split("store = ", maxsplit=1)[0]
    command = [strace, "-f", "-c", "-S", "calls", "-e", f"trace={call}", sys.executable, "-c", imports]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line for line in done.stderr.splitlines() if line.endswith(f" {call}")]
    return int(lines[0].split()[3]) if lines else 0
