"""Processes that claim runs of points, or leave them out, killed with SIGKILL at system calls: the promises hold."""

from __future__ import annotations

import functools

import pytest
from faults import tracer
from faults.promise import FINISHED, OWNER, TALLY, finished

from slurmsweep.agents.agent import Claims
from slurmsweep.agents.identity import this_process
from slurmsweep.control.round.reconcile import give_back, reconcile
from slurmsweep.control.session import Session
from slurmsweep.state.check import check
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.manifest import Manifest
from slurmsweep.state.owner import Claim
from slurmsweep.state.store import SweepStore
from slurmsweep.sweepfile import config

#: Every so many stops of the victim there is a kill: all of them are tried in test_kill_everywhere.py.
EVERY = 7

RUNS = 3


@pytest.fixture
def make(tmp_path):
    """Make a sweep of points with three runs each."""

    def make(name: str, points: int, method: str, **repeats) -> SweepStore:
        data = {"method": method, "program": "train.py", "metric": {"name": "loss"}, "run_cap": points}
        space = {"x": {"min": 0, "max": 10_000}}
        wanted = {"repeats": {"parameter": "seed", "count": RUNS, **repeats}}
        checked = config.check(data | {"parameters": space, "slurmsweep": wanted}, "test").config
        root = tmp_path / name
        root.mkdir()
        what = Manifest("abcd1234", checked, RUNS * points, str(root), "t.yaml", 0.0, "0")
        return SweepStore.create(str(root), what)

    return make


def one_run(store, say) -> None:
    """Claim as an agent does, which leaves out what is decided; a run of a point is worth the number of the point."""
    claims = Claims(store, {})
    claims.owner = this_process({})
    finish(store, claims.next(), say)


def finish(store, claim, say=lambda line: None) -> bool:
    if isinstance(claim, Claim):
        number = claim.attempt_id.trial
        store.finish(claim, FINISHED._replace(metric=float(store.manifest.numbering.of(number)[0])))
        say(f"finished {number}")
    return isinstance(claim, Claim)


def go_on(store) -> None:
    """Do what a person would: runs that are not needed stay so."""
    reconcile(Session(store), sleep=lambda seconds: None)
    give_back(Session(store), lambda trial: not trial.is_done, why="test")


def to_the_end(store) -> None:
    go_on(store)
    claims = Claims(store, {})
    claims.owner = OWNER
    while finish(store, claims.next()):
        pass


def prove(store, acknowledged) -> None:
    """Each run finished once or was left out, no acknowledged one ran again, and all runs of a point have its point."""
    view = store.replay()
    done = {number for number, trial in view.trials.items() if trial.is_done}
    twice = [n for n in acknowledged if acknowledged.count(n) > 1 or view.trials[n].current.outcome.cause]
    ended = [[a for a in trial.attempts.values() if a.outcome and a.outcome.is_done] for trial in view.trials.values()]
    TALLY.lost += store.manifest.trials - len(done)
    TALLY.doubled += len(twice)
    assert done == set(range(store.manifest.trials))
    assert twice == []
    assert all(len(attempts) == 1 for attempts in ended)
    assert [str(finding) for finding in check(store).findings] == []


@pytest.mark.skipif(not tracer.SUPPORTED, reason="tests/faults/tracer.py knows Linux on x86-64 only")
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("method", "options"), [("bayes", {}), ("random", {"race": True, "metric": "worst"})])
def test_killed_at_any_call_each_run_of_a_point_is_run_once(make, method, options):
    if method == "bayes":
        pytest.importorskip("numpy")
        to_the_end(make("loaded", 1, method, **options))
    probe = make("probe", 4, method, **options)
    for _ in range(RUNS if options else 0):  # a point that is done puts others out
        one_run(probe, lambda line: None)
    one_run(probe, lambda line: None)
    stops = tracer.trace(functools.partial(one_run, probe)).stops
    points = range(1, stops + 1, EVERY)
    store, acknowledged = make("kills", max(4, len(points) // 2), method, **options), []

    for point in points:
        found = tracer.trace(functools.partial(one_run, store), kill_at=point)
        TALLY.kills += 1
        acknowledged += finished(found.said)
        ended = {n for n, trial in store.replay().trials.items() if trial.state is TrialState.FINISHED}
        assert set(acknowledged) <= ended, f"killed at stop {point}: an acknowledged outcome was lost"
        go_on(store)
    to_the_end(store)

    prove(store, acknowledged)
