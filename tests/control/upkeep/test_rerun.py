"""Deleting trials: their points are run again, all others are not."""

from __future__ import annotations

import json

import pytest

from slurmsweep.control.session import Session
from slurmsweep.control.upkeep.rerun import Choice, rerun
from slurmsweep.errors import NotFoundError, UsageError
from slurmsweep.state.check import check
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import NothingLeft, Owner
from slurmsweep.state.tail import AttemptId

ME = Owner("here", 1, 1, "b")
FINISHED = Outcome(TrialState.FINISHED, exit_code=0, ended=1.0)
FAILED = Outcome(TrialState.FAILED, "exit 3", exit_code=3, ended=1.0)


@pytest.fixture
def store(make_store):
    """Trials 0 and 2 finished, 1 failed, 3 runs, 4 was never run."""
    store = make_store(5)
    for outcome in (FINISHED, FAILED, FINISHED):
        store.finish(store.claim(ME), outcome)
    store.claim(ME)
    return store


def test_a_finished_trial_is_run_again_as_its_next_attempt(store):
    assert rerun(Session(store), Choice(frozenset({2}))) == [AttemptId(2, 2)]

    claim = store.claim(ME)
    assert claim.attempt_id == AttemptId(2, 2)
    store.finish(claim, FINISHED)
    assert store.claim(ME).attempt_id == AttemptId(4, 1)
    assert isinstance(store.claim(ME), NothingLeft)
    assert [f for f in check(store).findings if "trial 2" in f.subject] == []


def test_trials_are_chosen_by_state_too_and_twice_is_once(store):
    choice = Choice(frozenset({1}), frozenset({TrialState.FINISHED}))

    assert rerun(Session(store), choice) == [AttemptId(0, 2), AttemptId(1, 2), AttemptId(2, 2)]
    assert rerun(Session(store), Choice(frozenset({1}))) == []


@pytest.mark.parametrize(
    ("choice", "error", "word"),
    [
        (Choice(), UsageError, "--trials"),
        (Choice(frozenset({3})), UsageError, "trial 3 runs"),
        (Choice(frozenset({0, 4})), NotFoundError, "never run"),
        (Choice(frozenset({5})), NotFoundError, "0 to 4"),
        (Choice(states=frozenset({TrialState.RUNNING})), UsageError, "only trials that ended"),
    ],
)
def test_what_cannot_be_deleted_is_said_and_nothing_changes(store, choice, error, word):
    before = store.replay().head.sequence

    with pytest.raises(error, match=word):
        rerun(Session(store), choice)

    assert store.replay().head.sequence == before


def test_rerunning_a_grid_after_some_runs_were_deleted(slurmsweep, write_sweep, tmp_path):
    """W&B's recipe: delete the runs, resume the sweep, start agents; finished points are not run again."""
    file = write_sweep("import sys\nopen('ran', 'a').write(sys.argv[1] + '\\n')", "  x: {values: [1, 2, 3, 4]}")
    done = slurmsweep("run", str(file), "--backend", "local", "--json")
    sweep = json.loads(done.stdout)["id"]
    slurmsweep("stop", sweep)

    deleted = json.loads(slurmsweep("delete", sweep, "--trials", "1,3", "--json").stdout)
    assert deleted == [{"trial": 1, "attempt": 2}, {"trial": 3, "attempt": 2}]
    assert slurmsweep("agent", sweep).stderr.startswith("slurmsweep: nothing left to do: the sweep is finished")
    assert slurmsweep("resume", sweep).returncode == 0
    assert [slurmsweep("agent", sweep).returncode for _ in range(3)] == [0, 0, 0]

    assert sorted((tmp_path / "ran").read_text().split()) == ["--x=1", "--x=2", "--x=2", "--x=3", "--x=4", "--x=4"]
    assert slurmsweep("check", sweep).returncode == 0


@pytest.mark.parametrize("logs", ["wandb.log({'loss': 1.0})", "pass"])
def test_what_reads_logged_values_goes_on_where_a_deleted_trial_has_not_run_again(slurmsweep, write_sweep, logs):
    keys = "metric: {name: loss, goal: minimize}"
    file = write_sweep(f"import slurmsweep as wandb\nwandb.init()\n{logs}", extra=keys)
    sweep = json.loads(slurmsweep("run", str(file), "--backend", "local", "--json").stdout)["id"]
    slurmsweep("delete", sweep, "--trials", "0")

    def told(*words: str) -> str:
        done = slurmsweep(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    rows = json.loads(told("export", sweep, "--format", "json"))
    logged = 1.0 if "log" in logs else None
    assert [row.get("metrics.loss") for row in rows] == [None, logged, logged]
    attempts = [row["number"] for row in json.loads(told("export", sweep, "--history", "--format", "json"))]
    assert set(attempts) == ({1, 2} if logged else set())
    assert json.loads(told("show", sweep, "0", "--json"))["state"] == "pending"
    told("show", sweep, "0")
    told("sync", sweep, "--dry-run")
