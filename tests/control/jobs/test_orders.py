"""Pause, resume, stop and cancel, as W&B means them; here without Slurm, in tests/cluster with one."""

from __future__ import annotations

import json

import pytest

from slurmsweep.backends.base import Answer
from slurmsweep.backends.slurm import queue
from slurmsweep.control.jobs import orders
from slurmsweep.control.round.reconcile import give_back
from slurmsweep.control.session import Session
from slurmsweep.errors import SchedulerUnavailableError, StateUnwritableError, UsageError
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import NothingLeft, Owner
from slurmsweep.state.store import SweepStore

HERE = Owner("here", 1, 1, "b")
ME = Owner("far", 1, 1, "b", cluster="lab", job="7", task=3)


def test_a_paused_sweep_starts_nothing_and_a_running_trial_finishes(make_store):
    store = make_store(3)
    running = store.claim(HERE)

    orders.pause(Session(store))

    refused = store.claim(HERE)
    assert (isinstance(refused, NothingLeft), refused.reason) == (True, "the sweep is paused")
    store.finish(running, Outcome(TrialState.FINISHED, exit_code=0))
    assert store.replay().counts() == {TrialState.FINISHED: 1}


def test_resume_takes_it_up_and_says_what_has_no_job(make_store):
    store = make_store(3)
    store.claim(HERE)
    orders.pause(Session(store))

    ordered = orders.resume(Session(store))

    assert (ordered.state, ordered.without_job) == (SweepState.RUNNING, 2)
    assert store.claim(ME).attempt_id.trial == 1


@pytest.mark.parametrize("order", [orders.stop, orders.cancel])
def test_an_ended_sweep_cannot_be_paused_but_resumed(make_store, order):
    store = make_store(2)
    order(Session(store))

    with pytest.raises(UsageError, match="nothing to pause"):
        orders.pause(Session(store))
    orders.resume(Session(store))
    assert store.claim(ME).attempt_id.trial == 0


def test_stopping_twice_is_said(make_store):
    store = make_store(2)
    orders.stop(Session(store))

    with pytest.raises(UsageError, match="is stopped already"):
        orders.stop(Session(store))


@pytest.mark.parametrize(("order", "goes_on"), [(orders.stop, True), (orders.cancel, False)])
def test_a_requeued_job_goes_on_with_a_trial_that_ran_unless_the_sweep_is_cancelled(
    make_store, order, goes_on, monkeypatch
):
    store = make_store(2)
    store.claim(ME)
    monkeypatch.setattr(queue, "ask", lambda jobs, wanted: Answer({}, "not needed"))
    order(Session(store))

    again = store.continue_after_requeue(Owner("far", 2, 1, "b", cluster="lab", job="7", task=3, restart=1))

    assert (again is not None) is goes_on


def test_giving_trials_back_takes_up_a_stopped_sweep(make_store):
    store = make_store(1)
    store.finish(store.claim(ME), Outcome(TrialState.FAILED, "exit 1", exit_code=1))
    orders.stop(Session(store))

    give_back(Session(store), lambda trial: True, why="test")

    assert store.claim(ME).attempt_id.attempt == 2


def test_every_order_says_one_document(slurmsweep, write_sweep):
    sweep = slurmsweep("create", str(write_sweep("pass"))).stdout.strip()

    states = [json.loads(slurmsweep(order, sweep, "--json").stdout)["state"] for order in ("pause", "resume", "stop")]

    assert states == ["paused", "pending", "stopped"]
    refused = slurmsweep("stop", sweep)
    assert (refused.returncode, "is stopped already" in refused.stderr) == (2, True)
    assert slurmsweep("cancel", sweep).returncode == 0


@pytest.mark.parametrize(("order", "was"), [("pause", "paused"), ("stop", "stopped"), ("cancel", "canceled")])
def test_what_lifts_an_order_says_so(slurmsweep, write_sweep, order, was):
    sweep = slurmsweep("create", str(write_sweep("pass"))).stdout.strip()

    slurmsweep(order, sweep)
    assert f"sweep {sweep} was {was}, which this lifts: it is pending" in slurmsweep("resume", sweep).stderr
    slurmsweep(order, sweep)
    assert f"the sweep was {was}: `run` lifts that order" in slurmsweep("run", sweep, "--backend", "local").stderr
    assert "lifts" not in slurmsweep("run", sweep, "--backend", "local").stderr


def test_an_error_after_the_change_does_not_say_that_nothing_was_changed(make_store, monkeypatch):
    session = Session(make_store(3))

    def refuse(store):
        raise StateUnwritableError("wandb: cannot make the link: Permission denied")

    monkeypatch.setattr(SweepStore, "link", refuse)
    with (
        pytest.raises(StateUnwritableError, match="the command changes was written to the journal"),
        session.transaction() as transaction,
    ):
        transaction.order(SweepState.PAUSED)

    assert session.refresh().word is SweepState.PAUSED


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (orders.pause, "is paused all the same: no new trial starts. Its waiting jobs were not held"),
        (orders.stop, "is stopped all the same: no new trial starts"),
        (orders.cancel, "is canceled all the same: no new trial starts"),
        (orders.resume, "may start trials again all the same"),
    ],
)
def test_an_order_that_slurm_was_not_told_stands_and_says_so(make_store, monkeypatch, order, words):
    session = Session(make_store(3))

    def silent(*_):
        raise SchedulerUnavailableError("squeue: no answer")

    monkeypatch.setattr(orders, "places_of_jobs", lambda _: [""])
    monkeypatch.setattr(orders, "look_at_jobs", silent)

    with pytest.raises(
        SchedulerUnavailableError, match=f"^squeue: no answer; sweep {session.store.manifest.sweep_id} {words}"
    ):
        order(session)

    assert isinstance(session.store.claim(HERE), NothingLeft) is (order is not orders.resume)
