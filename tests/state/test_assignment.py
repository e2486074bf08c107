"""Arrays whose elements are made for certain trials: who runs what, and what that leaves to others."""

from __future__ import annotations

import pytest

from slurmsweep.control.round.reconcile import give_back, reconcile
from slurmsweep.control.session import Session
from slurmsweep.errors import UsageError
from slurmsweep.state.assignment import NoSlotError, assigned, to_text
from slurmsweep.state.check import check
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Claim, NothingLeft, Owner
from slurmsweep.state.tail import AttemptId

ME = Owner("here", 1, 1, "b")
FINISHED = Outcome(TrialState.FINISHED, exit_code=0, ended=1.0)
FAILED = Outcome(TrialState.FAILED, "exit 1", exit_code=1, ended=1.0)


@pytest.mark.parametrize(
    ("attempt_ids", "text"),
    [
        ([AttemptId(n, 1) for n in range(12)], "0-11"),
        ([AttemptId(7, 1)], "7"),
        ([AttemptId(7, 1), AttemptId(8, 2), AttemptId(9, 2), AttemptId(3, 1)], "7,8-9:2,3"),
        ([AttemptId(5, 1), AttemptId(4, 1)], "5,4"),
    ],
)
def test_text_says_what_each_element_runs(attempt_ids, text):
    assert to_text(attempt_ids) == text
    there = [assigned({"SLURMSWEEP_SLOTS": text}, n) for n in range(len(attempt_ids))]
    assert there == attempt_ids


def test_without_the_variable_or_outside_an_array_nothing_is_assigned():
    assert assigned({}, 3) is None
    assert assigned({"SLURMSWEEP_SLOTS": "0-3"}, None) is None


def test_agents_side_by_side_share_the_attempts_of_their_element():
    def seat(element, number) -> AttemptId | None:
        packed = {"SLURMSWEEP_AGENTS": "3", "SLURMSWEEP_SEAT": str(number)}
        return assigned({"SLURMSWEEP_SLOTS": "0-2,9:2"} | packed, element)

    assert [seat(0, n) for n in (1, 2, 3)] == [AttemptId(0, 1), AttemptId(1, 1), AttemptId(2, 1)]
    assert seat(1, 1) == AttemptId(9, 2)
    with pytest.raises(NoSlotError, match="more seats than trials"):
        seat(1, 2)
    with pytest.raises(UsageError, match="SLURMSWEEP_SEAT=4 is not one of SLURMSWEEP_AGENTS=3"):
        seat(0, 4)


def test_seats_beyond_the_trials_of_an_array_take_none():
    def seat(element, number) -> AttemptId | None:
        packed = {"SLURMSWEEP_AGENTS": "4", "SLURMSWEEP_SEAT": str(number), "SLURMSWEEP_ARRAY_TRIALS": "5"}
        return assigned(packed, element)

    assert [seat(0, 4), seat(1, 1)] == [None, None]
    with pytest.raises(NoSlotError, match="its 5 trials"):
        seat(1, 2)


def test_an_agent_beside_others_goes_on_with_its_own_trial_after_a_requeue(make_store):
    store = make_store(9)
    seats = [Owner("n1", pid, 1, "b", cluster="lab", job="7", task=0, seat=pid) for pid in (1, 2)]
    first = [store.claim(seat) for seat in seats]

    again = [store.continue_after_requeue(seat._replace(restart=1)) for seat in reversed(seats)]

    assert [claim.attempt_id for claim in first] == [AttemptId(0, 1), AttemptId(1, 1)]
    assert [claim.attempt_id for claim in again] == [AttemptId(1, 2), AttemptId(0, 2)]
    assert store.continue_after_requeue(seats[0]._replace(seat=3, restart=1)) is None
    assert [trial.current.owner.seat for trial in store.replay().trials.values()] == [1, 2]


@pytest.mark.parametrize(("text", "word"), [("0-2", "element 3"), ("0-2,x", "'x'")])
def test_an_element_without_a_trial_is_an_error(text, word):
    with pytest.raises(UsageError, match=word):
        assigned({"SLURMSWEEP_SLOTS": text}, 3)


def test_trials_ahead_of_the_others_are_claimed_and_passed_by_later_claims(make_store):
    store = make_store(5)

    ahead = [store.claim_attempt(ME, AttemptId(n, 1)) for n in (3, 1)]
    others = [store.claim(ME) for _ in range(3)]

    assert [claim.attempt_id.trial for claim in ahead] == [3, 1]
    assert [claim.attempt_id.trial for claim in others] == [0, 2, 4]
    assert isinstance(store.claim(ME), NothingLeft)
    for claim in ahead + others:
        store.finish(claim, FINISHED)
    assert check(store).findings == ()


def test_a_trial_that_somebody_else_took_is_left_alone(make_store):
    store = make_store(3)
    first = store.claim(ME)

    refused = store.claim_attempt(ME, first.attempt_id)

    assert isinstance(refused, NothingLeft)
    assert "has been claimed" in refused.reason


def test_a_retry_is_claimed_by_its_slot_once(make_store):
    store = make_store(2)
    for outcome in (FAILED, FINISHED):
        store.finish(store.claim(ME), outcome)
    [attempt_id] = give_back(Session(store), lambda trial: True, why="test")

    claim = store.claim_attempt(ME, attempt_id)

    assert (attempt_id, isinstance(claim, Claim)) == (AttemptId(0, 2), True)
    assert isinstance(store.claim(ME), NothingLeft)
    store.finish(claim, FINISHED)
    assert store.replay().counts() == {TrialState.FINISHED: 2}
    assert check(store).findings == ()


def test_a_paused_sweep_gives_no_slot(make_store):
    store = make_store(2)
    with store.transaction() as transaction:
        transaction.order(SweepState.PAUSED)

    assert store.claim_attempt(ME, AttemptId(1, 1)).is_ordered


def test_many_folders_on_the_way_to_nothing_left_are_met_once(make_store):
    store = make_store(200)
    for number in reversed(range(200)):
        store.finish(store.claim_attempt(ME, AttemptId(number, 1)), FINISHED)

    assert isinstance(store.claim(ME), NothingLeft)
    assert store.replay().head.next_trial == 200
    records = store.replay().head.sequence
    assert isinstance(store.claim(ME), NothingLeft)
    assert store.replay().head.sequence == records


def test_trials_claimed_ahead_are_no_holes_for_a_reconciliation(make_store):
    store = make_store(5)
    store.finish(store.claim_attempt(ME, AttemptId(3, 1)), FINISHED)

    done = reconcile(Session(store), sleep=lambda seconds: None)

    assert (done.ended, done.voided) == ((), ())
    assert store.replay().waiting() == []
