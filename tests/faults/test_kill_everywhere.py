"""A claiming and finishing process killed with SIGKILL at every entry and exit of a system call: another one goes on.

Campaigns of many kills share a sweep, so that what one victim left is met by the next. Each kill is followed by what a
person would do, and at the end of a campaign every trial must have finished once, none of those acknowledged twice.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys

import pytest
from faults import tracer
from faults.promise import TALLY, finished, go_on, one_trial, prove, run_to_the_end

from slurmsweep.state.lifecycle import TrialState

#: Kills that share a sweep: more would only make its journal longer.
CAMPAIGN = 100


@pytest.mark.skipif(not tracer.SUPPORTED, reason="tests/faults/tracer.py knows Linux on x86-64 only")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("method", "part"), [("grid", 1), ("bayes", 5)])
def test_killed_at_any_call_nothing_is_lost_and_nothing_doubled(make_store, tmp_path, size, dice, method, part):
    if method == "bayes":
        pytest.importorskip("numpy")  # loaded here, so that its own calls are none of those that are counted
        run_to_the_end(make_store(2, tmp_path / "loaded", method=method))
    probe = make_store(2, tmp_path / "probe", method=method)
    stops = tracer.trace(functools.partial(one_trial, probe)).stops
    kills = size.kills // part
    points = list(range(1, stops + 1)) * (kills // stops + 1)
    dice.shuffle(points)
    assert stops > 60

    for start in range(0, kills, CAMPAIGN):
        campaign = points[start : start + CAMPAIGN]
        folder = tmp_path / str(start)
        kill_all(make_store(CAMPAIGN // 2, folder, method=method), campaign)
        shutil.rmtree(folder)


def kill_all(store, points) -> None:
    acknowledged: list[int] = []
    for point in points:
        found = tracer.trace(functools.partial(one_trial, store), kill_at=point)
        TALLY.kills += 1
        acknowledged += finished(found.said)
        ended = [n for n, trial in store.replay().trials.items() if trial.state is TrialState.FINISHED]
        assert set(acknowledged) <= set(ended), f"killed at stop {point}: an acknowledged outcome was lost"
        go_on(store)
    run_to_the_end(store)
    prove(store, acknowledged, f"killed at {points}")


#: The same by strace, which needs no knowledge of the machine: one process, killed at its n-th call of a kind.
WORK = """
import sys
from faults.promise import one_trial
from slurmsweep.state.store import SweepStore
one_trial(SweepStore.open(sys.argv[1]), lambda line: print(line, flush=True))
"""


@pytest.mark.parametrize("call", ["mkdir", "fsync", "rename", "flock"])
def test_strace_kills_at_the_same_places(make_store, tmp_path, repository, call):
    strace = shutil.which("strace")
    if not strace:
        pytest.skip("strace is not installed")
    for number in (1, 2):
        store = make_store(3, tmp_path / str(number))
        command = [strace, "-f", "-o", "/dev/null", "-e", f"inject={call}:signal=KILL:when={number}"]
        script = f"import sys; sys.path.insert(0, {str(repository / 'tests')!r})\n{WORK}"
        done = subprocess.run(
            [*command, sys.executable, "-B", "-c", script, store.layout.folder],  # -B: the interpreter makes no files
            capture_output=True,
            text=True,
            check=False,
        )
        TALLY.kills += 1
        acknowledged = finished(done.stdout.splitlines())
        assert done.returncode != 0
        assert acknowledged == []

        run_to_the_end(store)

        prove(store, acknowledged, f"{call} {number}")
