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
from faults.promise import FINISHED, TALLY, finished, go_on, one_trial, prove, run_to_the_end

from slurmsweep.agents.identity import this_process
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.owner import Claim
from slurmsweep.state.records import BandsReached
from slurmsweep.state.repair import rebuild
from slurmsweep.state.tail import AttemptId

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


def one_trial_with_bands(store, say) -> None:
    """Likewise of a sweep that stops trials early: what the trial has at bands is its number, and minus that."""
    claim = store.claim(this_process({}))
    if isinstance(claim, Claim):
        number, attempt_id = claim.attempt_id.trial, claim.attempt_id
        say(f"claimed {number} {attempt_id.attempt}")
        store.record_bands(attempt_id, [(3, float(number))])
        say(f"recorded {number}")
        store.finish(claim, FINISHED, BandsReached(((3, float(number)), (9, -float(number))), ((9, -float(number)),)))
        say(f"finished {number}")


@pytest.mark.skipif(not tracer.SUPPORTED, reason="tests/faults/tracer.py knows Linux on x86-64 only")
@pytest.mark.timeout(3600)
def test_killed_at_any_call_no_value_at_a_band_is_lost_or_counted_twice(make_store, tmp_path):
    stops = tracer.trace(functools.partial(one_trial_with_bands, make_store(2, tmp_path / "probe"))).stops
    told = 0
    for start in range(1, stops + 1, 12):  # a sweep of many victims makes the next claim longer
        store = make_store(12, tmp_path / str(start))
        kill_all(store, range(start, min(start + 12, stops + 1)), one_trial_with_bands)
        told += len(prove_bands(store))
        ended = acknowledged_with_bands(store)

        rebuild(store)

        assert {number for number, bands in prove_bands(store).items() if 9 in bands} >= set(ended)
    assert told > stops / 12


def prove_bands(store) -> dict[int, set[int]]:
    """Each trial of which records tell has its own value at each band, and once; return the bands by trial."""
    view = store.replay()
    told = {number: bands for number in view.trials if (bands := view.bands_of(number)[1])}
    for band, sign in ((3, 1.0), (9, -1.0)):
        expected = [sign * number for number, bands in told.items() if band in bands]
        assert sorted(view.values_at(band, besides=-1)) == sorted(expected)
    return told


def acknowledged_with_bands(store) -> list[int]:
    """Trials whose folder has the end of an attempt with bands."""
    attempts = [AttemptId(n, a) for n, trial in store.replay().trials.items() for a in trial.attempts]
    return [attempt_id.trial for attempt_id in attempts if store.read_bands(attempt_id)]


def kill_all(store, points, trial=one_trial) -> None:
    acknowledged: list[int] = []
    for point in points:
        found = tracer.trace(functools.partial(trial, store), kill_at=point)
        TALLY.kills += 1
        acknowledged += finished(found.said)
        ended = [n for n, trial in store.replay().trials.items() if trial.state is TrialState.FINISHED]
        assert set(acknowledged) <= set(ended), f"killed at stop {point}: an acknowledged outcome was lost"
        recorded = [int(line.split()[1]) for line in found.said if line.startswith("recorded")]
        assert all(3 in store.replay().bands_of(number)[1] for number in recorded), f"killed at stop {point}"
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
