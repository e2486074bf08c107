"""``metric.target``: the record of the end that reaches it ends the sweep, and no claim comes between."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurmsweep.control.jobs import orders
from slurmsweep.control.round.reconcile import give_back, reconcile
from slurmsweep.control.session import Session
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.manifest import Manifest
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Claim, NothingLeft, Owner
from slurmsweep.state.records import OrderRecord
from slurmsweep.state.repair import rebuild
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import AttemptId, Head, TargetReached
from slurmsweep.state.view_cache import Follower
from slurmsweep.sweepfile.config import check
from slurmsweep.sweepfile.sections import Metric

OWNER = Owner("elsewhere", 1, 1, "b")
ACCURACY = {"name": "acc", "goal": "maximize", "target": 0.9}


def finished(metric: float | None) -> Outcome:
    return Outcome(TrialState.FINISHED, exit_code=0, metric=metric, ended=1.0)


def store_of(root, metric: dict, trials: int = 20) -> SweepStore:
    content = {
        "method": "grid",
        "program": "train.py",
        "metric": metric,
        "parameters": {"x": {"min": 1, "max": trials}},
    }
    config = check(content, "test").config
    return SweepStore.create(str(root), Manifest("abcd1234", config, trials, str(root), "test.yaml", 0.0, "0"))


@pytest.fixture
def store(tmp_path):
    return store_of(tmp_path, ACCURACY)


def said_of_claim(store) -> str:
    answer = store.claim(OWNER)
    assert isinstance(answer, NothingLeft), answer
    return answer.reason


@pytest.mark.parametrize(
    ("goal", "target", "value", "is_reached"),
    [
        ("minimize", 0.1, 0.1, True),
        ("minimize", 0.1, 0.0999, True),
        ("minimize", 0.1, 0.11, False),
        ("maximize", 0.9, 0.9, True),
        ("maximize", 0.9, 0.91, True),
        ("maximize", 0.9, 0.89, False),
        ("maximize", 0.9, None, False),
        ("maximize", 0.9, float("nan"), False),
        ("minimize", None, -1e9, False),
        ("minimize", 0, 0.0, True),
        ("minimize", -2, -1.0, False),
    ],
)
def test_a_value_reaches_the_target_as_its_goal_says(goal, target, value, is_reached):
    assert Metric("m", goal, target=target).is_reached(value) is is_reached


def test_the_trial_that_reaches_the_target_ends_the_sweep_and_those_that_run_go_on(store):
    claims = [store.claim(OWNER) for _ in range(4)]

    assert store.finish(claims[0], finished(0.5)) is None
    assert store.finish(claims[1], finished(0.913)) == TargetReached(1, 0.913)

    assert said_of_claim(store) == "the sweep is finished: trial 1 reached the target (acc 0.913 >= 0.9)"
    assert store.finish(claims[2], finished(0.99)) is None  # it has ended
    assert store.finish(claims[3], finished(0.1)) is None
    view = store.replay()
    assert (view.word, view.reached) == (SweepState.FINISHED, TargetReached(1, 0.913))
    assert view.counts() == {TrialState.FINISHED: 4}


def test_a_job_with_a_trial_of_its_own_is_refused_too(store):
    store.finish(store.claim(OWNER), finished(1.0))

    answer = store.claim_attempt(OWNER, AttemptId(7, 1))

    assert (answer.is_ordered, "trial 0 reached the target" in answer.reason) == (True, True)


def test_the_end_and_the_end_of_the_sweep_go_to_disk_by_one_write(store, monkeypatch):
    claim, writes = store.claim(OWNER), []
    monkeypatch.setattr("slurmsweep.state.journal.os.fsync", writes.append)

    store.finish(claim, finished(1.0))

    lines = Path(store.journal.path).read_bytes().splitlines()[-2:]
    assert [json.loads(line.split(b" ", 1)[1])["op"] for line in lines] == ["sweep", "end"]
    assert len(writes) == 2  # one of them of the file in the folder, as for every outcome


@pytest.mark.parametrize("state", [TrialState.FAILED, TrialState.CRASHED, TrialState.KILLED, TrialState.PREEMPTED])
def test_a_trial_that_did_not_finish_reaches_it_by_its_last_value(store, state):
    store.finish(store.claim(OWNER), Outcome(state, "why", exit_code=1, metric=0.95, ended=1.0))

    assert "trial 0 reached the target" in said_of_claim(store)


def test_a_requeued_job_goes_on_with_its_trial_after_another_one_reached_the_target(store):
    job = Owner("far", 1, 1, "b", cluster="lab", job="7", task=3)
    store.claim(job)
    store.finish(store.claim(OWNER), finished(1.0))

    again = store.continue_after_requeue(job._replace(pid=2, restart=1))

    assert again.attempt_id == AttemptId(0, 2)


def test_resume_lifts_it_and_the_next_trial_that_reaches_it_ends_the_sweep_again(store):
    store.finish(store.claim(OWNER), finished(1.0))

    orders.resume(Session(store))

    assert store.replay().reached is None
    claim = store.claim(OWNER)
    assert claim.attempt_id.trial == 1
    assert store.finish(claim, finished(0.95)) == TargetReached(1, 0.95)


def test_a_better_reason_of_an_old_end_does_not_end_a_resumed_sweep(store):
    store.finish(store.claim(OWNER), Outcome(TrialState.CRASHED, "signal 9", metric=0.95, ended=1.0))
    orders.resume(Session(store))
    session = Session(store)

    with session.transaction() as transaction:
        told = Outcome(TrialState.CRASHED, "oom", metric=0.95, ended=1.0, by="slurm")
        transaction.end(AttemptId(0, 1), session.view.trials[0].current.token, told)

    assert (session.view.word, session.view.trials[0].cause) == (None, "oom")


def test_a_paused_sweep_is_finished_by_its_target_and_a_canceled_one_stays_canceled(store):
    claims = [store.claim(OWNER) for _ in range(2)]
    orders.pause(Session(store))
    store.finish(claims[0], finished(1.0))
    assert store.replay().word is SweepState.FINISHED

    orders.cancel(Session(store))
    store.finish(claims[1], finished(1.0))
    assert (store.replay().word, store.replay().reached) == (SweepState.CANCELED, None)


def test_giving_trials_back_does_not_lift_it(store):
    store.finish(store.claim(OWNER), Outcome(TrialState.FAILED, "exit 1", exit_code=1, ended=1.0))
    store.finish(store.claim(OWNER), finished(1.0))

    give_back(Session(store), lambda trial: True, why="test")

    assert "trial 1 reached the target" in said_of_claim(store)


def test_an_outcome_of_an_agent_that_was_killed_before_the_journal_had_it_ends_the_sweep(store):
    claim = store.claim(OWNER)
    store.write_outcome(claim, finished(1.0))
    assert store.replay().word is None

    reconcile(Session(store))

    assert "trial 0 reached the target" in said_of_claim(store)


def test_a_rehearsal_of_that_says_the_same_and_writes_nothing(store):
    claim = store.claim(OWNER)
    store.write_outcome(claim, finished(1.0))
    session = Session(store).rehearsal()

    reconcile(session)

    assert session.view.reached == TargetReached(0, 1.0)
    assert isinstance(store.claim(OWNER), Claim)


def test_of_the_two_records_the_second_may_be_torn_off(store):
    claim = store.claim(OWNER)
    store.finish(claim, finished(1.0))
    journal = Path(store.journal.path)
    journal.write_bytes(journal.read_bytes()[:-20])

    assert "trial 0 reached the target" in said_of_claim(store)
    reconcile(Session(store))
    view = store.replay()
    assert (view.reached, view.counts()) == (TargetReached(0, 1.0), {TrialState.FINISHED: 1})
    assert "trial 0 reached the target" in said_of_claim(store)


def test_an_end_that_is_recorded_again_after_trouble_says_the_same(store):
    claim = store.claim(OWNER)

    assert store.finish(claim, finished(1.0)) == store.finish(claim, finished(1.0)) == TargetReached(0, 1.0)


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_rebuilt_journal_knows_it_from_its_records_or_from_the_folders(store, is_lost):
    store.finish(store.claim(OWNER), finished(0.1))
    store.finish(store.claim(OWNER), finished(0.95))
    if is_lost:
        Path(store.journal.path).unlink()

    rebuild(store)

    assert store.replay().reached == TargetReached(1, 0.95)
    assert "trial 1 reached the target" in said_of_claim(store)


def test_a_rebuilt_journal_keeps_that_it_was_lifted(store):
    store.finish(store.claim(OWNER), finished(0.95))
    orders.resume(Session(store))

    rebuild(store)

    assert isinstance(store.claim(OWNER), Claim)


def test_a_view_kept_on_disk_knows_it(store, monkeypatch):
    monkeypatch.setattr("slurmsweep.state.view_cache._WORTH_KEEPING", 1)
    store.finish(store.claim(OWNER), finished(0.95))
    Follower(store).refresh()

    assert Follower(store).view.reached == TargetReached(0, 0.95)


def test_readers_that_do_not_know_the_fields_see_a_sweep_that_was_stopped():
    reached = TargetReached(3, 0.95)
    record = OrderRecord(SweepState.FINISHED, reached).to_json()
    head = Head(word=SweepState.FINISHED, reached=reached).to_json()

    assert OrderRecord.from_json(record).reached == Head.from_json(head).reached == reached
    assert (record.pop("reached"), head.pop("r")) == ([3, 0.95], [3, 0.95])
    assert OrderRecord.from_json(record) == OrderRecord(SweepState.FINISHED)
    assert Head.from_json(head) == Head(word=SweepState.FINISHED)


@settings(max_examples=30)
@given(
    metrics=st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=20),
    width=st.integers(1, 5),
)
def test_no_claim_comes_after_the_record_and_every_trial_that_ran_keeps_its_end(tmp_path_factory, metrics, width):
    store = store_of(tmp_path_factory.mktemp("sweep"), ACCURACY)
    running, claimed = [], 0
    for metric in metrics:
        while len(running) < width and isinstance(claim := store.claim(OWNER), Claim):
            running.append(claim)
            claimed += 1
        if not running:
            break
        store.finish(running.pop(0), finished(metric))
    for claim in running:
        store.finish(claim, finished(0.0))

    first = next((i for i, metric in enumerate(metrics) if metric is not None and metric >= 0.9), None)
    ended = [metric for metric in metrics if metric is not None and metric >= 0.9]
    view = store.replay()
    assert view.counts() == {TrialState.FINISHED: claimed}
    if first is None:
        assert view.reached is None
    else:
        assert view.reached == TargetReached(first, ended[0])
        assert claimed == first + width
        assert isinstance(store.claim(OWNER), NothingLeft)
