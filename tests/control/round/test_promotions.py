"""What is decided of a sweep with rungs: jobs for trials that go on, for those that run again, and for new ones."""

from __future__ import annotations

import json

import pytest
from fake_backend import FakeBackend
from submitting import on_backend

from slurmsweep.api.sweep import Sweep
from slurmsweep.backends.base import Asked, SubmitOptions
from slurmsweep.control.round.apply import apply
from slurmsweep.control.round.decide import Policy, decide
from slurmsweep.control.round.events import Planned, ignore
from slurmsweep.control.round.observe import observe
from slurmsweep.control.round.retry_policy import RetryPolicy
from slurmsweep.state.lifecycle import CUT_OFF, TrialState
from slurmsweep.state.manifest import Manifest
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.records import BandsReached
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import AttemptId
from slurmsweep.sweepfile.config import check

ME = Owner("here", 1, 1, "b")


@pytest.fixture
def store(tmp_path) -> SweepStore:
    """A grid of nine trials with three rungs."""
    document = {
        "method": "grid",
        "program": "x.py",
        "metric": {"name": "loss"},
        "parameters": {"x": {"values": list(range(9))}},
        "slurmsweep": {"rungs": {"steps": [1, 3, 9]}},
    }
    config = check(document, "t").config
    return SweepStore.create(str(tmp_path), Manifest("abcd1234", config, 9, str(tmp_path), "t.yaml", 0.0, "0"))


def end(store, number, attempt, step, value) -> None:
    """Let an attempt run to a rung."""
    claim = store.claim_attempt(ME, AttemptId(number, attempt))
    cause = "" if step == 9 else f"rung {step}"
    bands = ((step, value),)
    outcome = Outcome(TrialState.FINISHED, cause, exit_code=0, metric=value, seconds=60.0, ended=1.0)
    store.finish(claim, outcome, BandsReached(bands, bands))


def fail(store, number, attempt, cause="timeout", state=TrialState.CRASHED) -> None:
    store.finish(store.claim_attempt(ME, AttemptId(number, attempt)), Outcome(state, cause, exit_code=1, ended=1.0))


def planned(store, policy=None, backend=None):
    session = on_backend(store, backend or FakeBackend())
    situation = observe(session, policy or Policy(SubmitOptions(options={"time": "90"})), ignore)
    return session, decide(situation, policy or Policy(SubmitOptions(options={"time": "90"})))


def shown(plan) -> list[tuple[list[tuple[int, int]], int, str]]:
    """Attempts that are named, number of trials, and time of each batch."""
    return [
        ([tuple(a) for a in b.attempt_ids], b.trials, str((b.wish.options or {}).get("time"))) for b in plan.batches
    ]


def test_new_trials_ask_for_the_first_rung_alone(store):
    assert shown(planned(store)[1]) == [([], 9, "10")]


def test_the_best_third_gets_jobs_of_its_own_with_the_limit_of_its_rung(store):
    for number in range(9):
        end(store, number, 1, 1, float(number))

    backend = FakeBackend()
    session, plan = planned(store, backend=backend)

    assert shown(plan) == [([(0, 2), (1, 2), (2, 2)], 3, "30")]
    apply(session, plan, ignore)
    assert [session.view.trials[n].state for n in range(4)] == [TrialState.PENDING] * 3 + [TrialState.FINISHED]
    assert planned(store, backend=backend)[1].batches == ()  # they have their jobs


def test_the_highest_rung_goes_first(store):
    for number in range(9):
        end(store, number, 1, 1, float(number))
    session, plan = planned(store)
    apply(session, plan, ignore)
    for number in range(3):
        end(store, number, 2, 3, float(number))

    assert shown(planned(store)[1]) == [([(0, 3)], 1, "90")]


def test_what_runs_again_asks_for_its_own_rung_and_what_ran_out_of_time_for_more(store, monkeypatch):
    monkeypatch.setattr(FakeBackend, "asked", lambda self, options: Asked(time=90.0))  # by the template
    for number in range(7):
        end(store, number, 1, 1, float(number))
    fail(store, 7, 1)
    fail(store, 8, 1, "signal 9")
    plan = planned(store, Policy(SubmitOptions(), retry=RetryPolicy()))[1]

    batches = {tuple(attempts): time for attempts, _, time in shown(plan)}
    assert batches[(0, 2), (1, 2)] == "30"
    assert batches[((8, 2),)] == "10"
    assert batches[((7, 2),)] == "20"


def test_a_trial_that_fails_at_a_higher_rung_has_as_many_tries_there(store):
    for number in range(9):
        end(store, number, 1, 1, float(number))
    session, plan = planned(store)
    apply(session, plan, ignore)
    fail(store, 0, 2, "signal 9")
    policy = Policy(SubmitOptions(options={"time": "90"}), retry=RetryPolicy(max_attempts=2))

    batches = {tuple(attempts): time for attempts, _, time in shown(planned(store, policy)[1])}

    assert batches[((0, 3),)] == "30"


def test_what_run_starts_again_keeps_to_its_rung(store):
    fail(store, 0, 1, "signal 9")
    policy = Policy(SubmitOptions(options={"time": "90"}), retry=RetryPolicy(states=CUT_OFF, plain=True), reopen=True)

    batches = shown(planned(store, policy)[1])

    assert {time for _, _, time in batches} == {"10"}
    assert sum(trials for _, trials, _ in batches) == 9


def test_without_any_limit_all_ask_for_the_same(store, monkeypatch):
    monkeypatch.setattr(FakeBackend, "asked", lambda self, options: Asked())
    for number in range(9):
        end(store, number, 1, 1, float(number))
    policy = Policy(SubmitOptions())

    assert shown(planned(store, policy)[1]) == [([(0, 2), (1, 2), (2, 2)], 3, "None")]


def test_a_stopped_sweep_lets_none_go_on(store):
    from slurmsweep.control.jobs.orders import stop

    for number in range(9):
        end(store, number, 1, 1, float(number))
    session = on_backend(store, FakeBackend())
    stop(session)

    assert planned(store)[1].batches == ()


def test_the_document_of_a_plan_is_json(store):
    for number in range(9):
        end(store, number, 1, 1, float(number))

    document = json.loads(json.dumps(planned(store)[1].to_json()))

    assert document["batches"][0]["retried"] == [0, 1, 2]


def test_of_a_sweep_with_rungs_it_is_told_that_those_to_learn_from_all_failed(store):
    backend, told = FakeBackend(), []

    def fail_all() -> None:
        [job] = backend.arrays
        for number in range(9):
            if AttemptId(number, 1) in backend.requests[job].attempt_ids:
                fail(store, number, 1, "exit 1", TrialState.FAILED)
        backend.end(job, "FAILED", code=1)

    backend.meanwhile = [fail_all]
    sweep = Sweep(on_backend(store, backend), tell=told.append)

    result = sweep.run(SubmitOptions(options={"time": "auto"}))

    assert (result.is_stuck, result.later) == (True, 0)
    plans = [event.plan for event in told if isinstance(event, Planned)]
    assert [plan.wave.step.name for plan in plans] == ["CANARIES", "STUCK"]
