"""Why Slurm ended a trial, beside what its agent saw of it: which word stands, whatever came first."""

from __future__ import annotations

from itertools import permutations

import pytest

from slurmsweep.state.check import check
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.repair import rebuild
from slurmsweep.state.replay import SweepView
from slurmsweep.state.tail import AttemptId

OWNER = {"host": "n1", "pid": 1, "start": 1, "boot": "b"}
JOB = Owner("n1", 10, 1, "b", cluster="lab", job="7", task=3)

TOLD = Outcome(TrialState.KILLED, "terminated", exit_code=143, metric=0.5, seconds=9.0, ended=5.0)
PREEMPTED = TOLD._replace(state=TrialState.PREEMPTED, cause="preempted", by="slurm")
MISSED = Outcome(TrialState.CRASHED, "lost", ended=9.0, by="reconcile")
FINISHED = Outcome(TrialState.FINISHED, exit_code=0, ended=1.0)


def folded(*outcomes: Outcome) -> Outcome:
    view = SweepView()
    view.apply({"op": "claim", "t": 0, "a": 1, "k": "k", "o": OWNER, "at": 1.0})
    for outcome in outcomes:
        view.apply({"op": "end", "t": 0, "a": 1, "k": "k", "out": outcome.to_json()})
    return view.trials[0].attempts[1].outcome


@pytest.mark.parametrize("order", list(permutations([TOLD, PREEMPTED, MISSED])))
def test_slurms_reason_stands_over_what_the_agent_saw_in_any_order(order):
    assert folded(*order) == PREEMPTED


@pytest.mark.parametrize("order", list(permutations([FINISHED, PREEMPTED, MISSED])))
def test_what_finished_stays_finished_whatever_slurm_says(order):
    assert folded(*order) == FINISHED


def test_a_reason_in_the_journal_is_no_damage_and_a_repair_keeps_it(make_store):
    store = make_store(2)
    claim = store.claim(JOB)
    store.finish(claim, TOLD)
    with store.transaction(store.reading()) as transaction:
        transaction.end(claim.attempt_id, claim.token, PREEMPTED)

    assert not check(store).findings
    assert store.replay().head.counts == {TrialState.PREEMPTED: 1}
    rebuild(store)
    assert store.replay().trials[0].current.outcome == PREEMPTED
    assert not check(store).findings


def test_a_requeued_job_explains_why_its_earlier_incarnation_was_terminated(make_store):
    store = make_store(2)
    store.finish(store.claim(JOB), TOLD)

    store.continue_after_requeue(JOB._replace(pid=11, restart=1))

    earlier = store.replay().trials[0].attempts[1].outcome
    assert (earlier.state, earlier.cause, earlier.metric) == (TrialState.PREEMPTED, "requeued", 0.5)
    assert not check(store).findings


def test_a_requeued_job_leaves_a_timeout_that_its_agent_saw(make_store):
    store = make_store(2)
    store.finish(store.claim(JOB), TOLD._replace(state=TrialState.CRASHED, cause="timeout"))

    store.continue_after_requeue(JOB._replace(pid=11, restart=1))

    assert store.replay().trials[0].attempts[1].outcome.cause == "timeout"


def test_agents_of_one_requeued_job_go_on_with_a_trial_each(make_store):
    store = make_store(5)
    for pid in (10, 11):
        store.claim(JOB._replace(pid=pid))

    again = [store.continue_after_requeue(JOB._replace(pid=pid, restart=1)) for pid in (20, 21, 22)]

    assert {claim and claim.attempt_id for claim in again} == {AttemptId(0, 2), AttemptId(1, 2), None}


def test_an_assigned_retry_is_not_offered_to_others_before_nothing_else_is_left(make_store):
    store = make_store(3)
    for pid in (10, 11):
        store.finish(store.claim(JOB._replace(task=pid)), MISSED)
    with store.transaction(store.reading()) as transaction:
        transaction.retry([AttemptId(0, 2)], "test", assigned=True)
        transaction.retry([AttemptId(1, 2)], "test")

    taken = [store.claim(JOB._replace(task=task)).attempt_id for task in (20, 21, 22)]

    assert taken == [AttemptId(1, 2), AttemptId(2, 1), AttemptId(0, 2)]
