"""What is open for the next wave: the journal, and the scripts of arrays that wait."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest
from submitting import on_slurm

from slurmsweep.api.sweep import Sweep
from slurmsweep.backends.base import Answer, Capacity, JobStatus, SubmitOptions
from slurmsweep.backends.keys import JobRef
from slurmsweep.cli.events import EventPrinter
from slurmsweep.cli.launching import finish
from slurmsweep.control.launch.result import LaunchResult
from slurmsweep.control.round.batch import with_resources
from slurmsweep.control.round.decide import Plan, Policy, decide, open_attempts, worth_looking_at
from slurmsweep.control.round.observe import _reserved, situation_of
from slurmsweep.control.round.reconcile import give_back
from slurmsweep.control.round.retry_policy import EndedTrial, RetryPolicy
from slurmsweep.control.session import Session
from slurmsweep.control.snapshot import Snapshot, look
from slurmsweep.sizing.walltime import AutoSizing, Step, Wave
from slurmsweep.state.assignment import slots_of
from slurmsweep.state.lifecycle import CUT_OFF, SweepState, TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.records import SubmitRecord
from slurmsweep.state.tail import AttemptId

ME = Owner("here", 1, 1, "b")
SCRIPT = "#!/bin/bash\nset -- /sweep\nexport SLURMSWEEP_SLOTS={}\n\nexec slurmsweep agent\n"


def open_slots(store, unclaimed=(), wanted=100):
    session = on_slurm(store)
    waiting = JobStatus("PENDING", True, None, "", None, "", "squeue", waits=True)
    snapshot = Snapshot(session.refresh(), {}, Answer(dict.fromkeys(unclaimed, waiting), "not needed"))
    reserved, unreserved = _reserved(session, snapshot)
    situation = replace(situation_of(session, Policy(), snapshot), reserved=reserved, unreserved=unreserved)
    return list(islice(open_attempts(situation, wanted), wanted))


def script(store, job, attempt_ids):
    with open(f"{store.layout.jobs}/{job}_submission.sh", "w", encoding="utf-8") as file:
        file.write(SCRIPT.format(attempt_ids))


def test_of_a_new_sweep_every_trial_is_open(make_store):
    assert open_slots(make_store(4)) == [AttemptId(n, 1) for n in range(4)]


def test_what_waiting_elements_are_for_is_not_open_and_what_ended_elements_were_for_is(make_store):
    store = make_store(8)
    script(store, "7", "1-3,6")

    # element 2 (trial 3) is no longer in Slurm, and claimed nothing
    assert open_slots(store, {JobRef("7", 0), JobRef("7", 1), JobRef("7", 3)}) == [
        AttemptId(n, 1) for n in (0, 3, 4, 5, 7)
    ]


def test_a_job_for_no_certain_trial_takes_the_next_one(make_store):
    store = make_store(6)
    script(store, "7", "0")

    assert open_slots(store, {JobRef("7", 0), JobRef("8", 0), JobRef("9")}) == [AttemptId(n, 1) for n in (3, 4, 5)]


def test_a_packed_job_is_for_several_trials(make_store):
    store = make_store(16)
    with store.transaction() as transaction:
        transaction.submit(SubmitRecord("a", 2, None, agents=4, trials=6))
        transaction.submit(SubmitRecord("a", 2, "7"))
        transaction.submit(SubmitRecord("b", 2, None, agents=4, trials=5))
        transaction.submit(SubmitRecord("b", 2, "8"))
    script(store, "7", "2-6,9")

    assert open_slots(store, {JobRef("7", 1), JobRef("8", 1)}) == [
        AttemptId(n, 1) for n in (1, 2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 14, 15)
    ]


def test_retries_come_first_and_claimed_trials_not_at_all(make_store):
    store = make_store(5)
    claims = [store.claim(ME) for _ in range(3)]
    store.finish(claims[1], Outcome(TrialState.CRASHED, "timeout", ended=1.0))
    give_back(Session(store), lambda trial: True, why="test")

    assert open_slots(store) == [AttemptId(1, 2), AttemptId(3, 1), AttemptId(4, 1)]


@pytest.mark.parametrize("ahead", [(0, 7), (3, 7), (1, 2)])
def test_a_search_without_an_end_has_as_many_as_are_wanted(make_store, ahead):
    store = make_store(None)
    for number in ahead:
        store.finish(store.claim_attempt(ME, AttemptId(number, 1)), Outcome(TrialState.FINISHED, ended=1.0))

    found = open_slots(store, wanted=6)

    assert [attempt_id.trial for attempt_id in found] == [n for n in range(8) if n not in ahead][:6]


def test_what_ended_is_looked_at_evenly(make_store):
    store = make_store(30)
    for number in range(20):
        state = TrialState.FINISHED if number % 2 else TrialState.FAILED
        store.finish(store.claim(ME), Outcome(state, ended=1.0))

    snapshot = look(Session(store))

    assert worth_looking_at(snapshot) == list(range(20))


def the_situation(session, **known):
    return replace(situation_of(session, Policy(), Snapshot(session.refresh())), **known)


def test_where_every_trial_waits_for_its_job_the_wave_says_so(make_store):
    session = on_slurm(make_store(2))
    status = JobStatus("PENDING", True, None, "", None, "", "squeue", waits=True)
    queued = Answer({JobRef("7", 0): status, JobRef("7", 1): status}, "not needed")
    situation = the_situation(session, snapshot=Snapshot(session.view, {}, queued), unreserved=2)
    policy = Policy(sizing=AutoSizing(time=True))

    plan = decide(situation, policy)
    assert (plan.batches, plan.wave.step) == ((), Step.NOTHING)
    assert decide(situation, replace(policy, give_up_on_fruitless=True)).wave is None  # a round has no word on it


def test_a_backend_without_limits_learns_nothing(make_store):
    situation = the_situation(on_slurm(make_store(20)), abilities=frozenset())
    assert decide(situation, Policy(sizing=AutoSizing(time=True))).trials == 20


def test_of_a_paused_sweep_nothing_is_planned_and_nothing_said_of_what_would_run_again(make_store):
    session = on_slurm(make_store(2))
    with session.transaction() as transaction:
        transaction.order(SweepState.PAUSED)
    ended = (EndedTrial(0, TrialState.CRASHED, "timeout", 2),)
    situation = the_situation(session, ended=ended, held=("7_1",))

    plan = decide(situation, Policy(retry=RetryPolicy()))
    assert plan == Plan(nothing="the sweep is paused")


def test_a_trial_that_was_killed_is_sized_by_its_own_use(make_store, monkeypatch):
    session = on_slurm(make_store(2))
    monkeypatch.setattr(type(session.backend), "capacity", lambda *_: Capacity())
    claim = session.store.claim(ME)
    session.store.finish(claim, Outcome(TrialState.KILLED, "cancelled", seconds=50.0))
    policy = Policy(sizing=AutoSizing(time=True), retry=RetryPolicy(plain=True), reopen=True)

    situation = situation_of(session, policy, Snapshot(session.refresh()))
    assert [used.seconds for used in situation.ledger.of(0)] == [50.0]


def test_a_script_that_names_no_trials_names_none():
    assert slots_of(SCRIPT.format("3:2,5-6")) == [AttemptId(3, 2), AttemptId(5, 1), AttemptId(6, 1)]
    assert slots_of("#!/bin/bash\nexec slurmsweep agent\n") == []


def test_a_width_is_shared_by_groups_and_memory_stands_alone():
    wishes = SubmitOptions(options={"mem-per-cpu": "1G", "partition": "long"}, width=10)

    big = with_resources(wishes, 30, 512, share=0.75)
    small = with_resources(wishes, None, None, share=0.01)

    assert big.options == {"partition": "long", "time": "30", "mem": "512M", "mem-per-cpu": False, "mem-per-gpu": False}
    assert (big.width, small.width) == (7, 1)
    assert small.options == wishes.options


@pytest.mark.parametrize(("count", "expected"), [(None, (4, 2)), (1, (1, 1))])
def test_run_counts_what_it_runs_again_among_its_trials(make_store, count, expected):
    ended = tuple(EndedTrial(n, TrialState.CRASHED, "lost", 2) for n in (0, 1))
    situation = the_situation(on_slurm(make_store(4)), ended=ended, open=2)
    policy = Policy(count=count, retry=RetryPolicy(states=CUT_OFF, plain=True), reopen=True)

    [batch] = decide(situation, policy).batches
    assert (batch.trials, len(batch.again)) == expected
    assert batch.attempt_ids == ()  # each job takes the next trial there is


@pytest.mark.parametrize(
    ("count", "again"), [(None, "the same command again"), (20, "the same command with --count 16")]
)
def test_the_next_wave_is_asked_for_by_what_is_left_of_the_count(make_store, capsys, count, again):
    result = LaunchResult(Plan(wave=Wave(Step.CANARIES, left=16)), later=16)
    finish(Sweep(on_slurm(make_store(4))), result, EventPrinter("abcd1234"), waited=False, as_json=False, count=count)
    assert f"16 trials are left: when these have ended, {again} submits them" in capsys.readouterr().err
