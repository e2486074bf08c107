"""Trials kept as columns are the trials that were put there, and their questions are answered as objects answer them."""

from __future__ import annotations

import copy
import math
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmsweep.state import trial_index
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.trial import Attempt, Trial
from slurmsweep.state.trial_index import TrialIndex

numbers = st.floats(allow_nan=False, allow_infinity=False) | st.none()
words = st.text(max_size=8)
owners = st.builds(
    Owner,
    host=words,
    pid=st.integers(0, 2**22),
    start=st.integers(0, 2**30),
    boot=words,
    pid_space=words,
    node=words | st.none(),
    cluster=words | st.none(),
    job=st.sampled_from(["7", "8", None]),
    task=st.integers(0, 10**6) | st.none(),
    restart=st.integers(0, 99),
    seat=st.integers(1, 99) | st.none(),
)
outcomes = st.builds(
    Outcome,
    state=st.sampled_from([state for state in TrialState if state.has_ended()]),
    cause=words,
    exit_code=st.integers(0, 255) | st.none(),
    metric=numbers,
    seconds=numbers,
    cpu_seconds=numbers,
    max_rss_mb=numbers,
    ended=numbers,
    metrics=st.none()
    | st.dictionaries(st.sampled_from("abc") | words, st.floats(allow_nan=False), min_size=1, max_size=3),
    origin=words | st.none(),
    by=st.sampled_from(["agent", "reconcile"]),
    no_metric=words | st.none(),
    lowest=st.none() | numbers,
    highest=st.none() | numbers,
)
tokens = st.integers(0, 2**64 - 1).map(lambda number: f"{number:016x}")
attempts = st.builds(
    Attempt,
    number=st.just(1),
    token=tokens,
    owner=owners | st.none(),
    claimed=numbers,
    outcome=outcomes | st.none(),
    void=st.booleans(),
    rivals=st.lists(tokens, max_size=1),
)
trials = st.dictionaries(st.integers(0, 300), attempts, max_size=30).map(
    lambda chosen: {number: Trial(number, {1: attempt}) for number, attempt in chosen.items()}
)


def settle(chosen) -> TrialIndex:
    kept = TrialIndex()
    for number, trial in chosen.items():
        opened = kept.open(number)
        for name in Trial.__dataclass_fields__:
            setattr(opened, name, copy.deepcopy(getattr(trial, name)))
    return kept


@given(trials)
def test_every_trial_comes_back_as_it_was(chosen):
    kept = settle(chosen)

    assert dict(kept) == chosen
    assert list(kept) == sorted(chosen)
    assert len(kept) == len(chosen)


@given(trials)
def test_columns_come_back_from_their_bytes(chosen):
    settled = settle(chosen)

    again = TrialIndex.load(*settled.dump())

    assert dict(again) == dict(settled)
    assert again.counts() == settled.counts()
    assert len(again) == len(settled)


@given(trials)
def test_questions_are_answered_as_the_objects_would(chosen):
    kept = settle(chosen)
    by_state = {state: [n for n in sorted(chosen) if chosen[n].state is state] for state in TrialState}

    assert kept.counts() == {state: len(found) for state, found in by_state.items() if found}
    assert {state: list(kept.in_state(state)) for state in TrialState} == by_state
    assert list(kept.unknown_below(310)) == [n for n in range(310) if n not in chosen]
    of_7 = {n for n, trial in chosen.items() if (owner := trial.attempts[1].owner) and owner.job == "7"}
    assert {trial.number for trial in kept.of_jobs({"7"})} == of_7
    stays = [stay for number in sorted(chosen) for stay in chosen[number].spans()]
    assert sorted(kept.spans(), key=lambda stay: stay.attempt_id) == stays


@given(trials, st.booleans())
def test_the_best_is_the_first_of_the_best_finished(chosen, largest):
    settled = settle(chosen)
    metrics = {
        n: trial.attempts[1].outcome.metric
        for n in settled
        if (trial := settled[n]).state is TrialState.FINISHED and trial.attempts[1].outcome.metric is not None
    }
    expected = (max if largest else min)(metrics, key=lambda n: (metrics[n], -n if largest else n), default=None)

    assert settled.best(largest=largest) == expected
    ranked = sorted(metrics, key=lambda n: (-metrics[n] if largest else metrics[n], n))
    assert settled.ranked(largest=largest) == ranked
    assert settled.ranked(largest=largest, most=3) == ranked[:3]


@given(trials, st.booleans(), st.integers(1, 40))
def test_the_best_so_far_is_that_of_the_trials_that_finished_before(chosen, largest, most):
    settled = settle(chosen)
    ends = {n: settled[n].attempts[1].outcome for n in settled.ranked(largest=largest)}
    in_order = sorted(ends, key=lambda n: (-math.inf if ends[n].ended is None else ends[n].ended, n))
    values = [ends[number].metric for number in in_order]
    found = settled.best_so_far(largest=largest, most=1000)

    assert found == list(accumulate(values, max if largest else min))
    fewer = settled.best_so_far(largest=largest, most=most)
    assert len(fewer) <= most
    assert fewer[-1:] == found[-1:]
    assert set(fewer) <= set(found)


@given(trials, st.sets(st.sampled_from(list(TrialState))))
def test_ends_are_told_without_objects(chosen, states):
    settled = settle(chosen)
    current = {number: trial.current for number in settled if (trial := settled[number]).current}
    ends = [attempt.outcome.ended for attempt in current.values() if attempt.outcome and attempt.outcome.ended]
    claims = [attempt.claimed for attempt in current.values() if attempt.claimed and attempt.claimed > 0]

    assert settled.ended_since(5.0) == sum(ended > 5.0 for ended in ends)
    assert settled.first_claim() == min(claims, default=None)
    assert [way[:2] for way in settled.ways_to_end(states)] == [
        (number, settled[number].state) for number in sorted(settled) if settled[number].state in states
    ]
    ways = settled.ways_to_end({state for state in states if state.has_ended()})
    assert all(cause == settled[number].cause for number, _, cause in ways)


@given(trials)
def test_points_are_those_of_finished_trials_that_have_all_the_metrics(chosen):
    settled = settle(chosen)
    metrics = {
        n: trial.attempts[1].outcome.metrics or {}
        for n in settled
        if (trial := settled[n]).state is TrialState.FINISHED
    }

    expected = [(n, (m["b"], m["a"])) for n, m in sorted(metrics.items()) if {"a", "b"} <= m.keys()]
    assert list(settled.points(["b", "a"])) == expected
    assert list(settled.points([])) == list(settled.points(["unknown"])) == []


@given(trials, st.booleans())
def test_reasons_are_those_of_finished_trials_without_a_number(chosen, of_metric):
    settled = settle(chosen)
    finished = {
        n: trial.attempts[1].outcome
        for n in settled
        if (trial := settled[n]).state is TrialState.FINISHED and trial.attempts[1].outcome.no_metric is not None
    }

    expected = [(n, o.no_metric) for n, o in sorted(finished.items()) if o.metric is None or not of_metric]
    assert list(settled.unmeasured(of_metric=of_metric)) == expected


def a_trial(number, metrics) -> Trial:
    outcome = Outcome(TrialState.FINISHED, exit_code=0, metric=1.0, metrics=metrics, ended=1.0)
    return Trial(number, {1: Attempt(1, "0" * 16, Owner("n", 1, 1, "b"), 1.0, outcome)})


def test_a_sweep_without_a_pareto_view_has_no_further_columns():
    without = settle({n: a_trial(n, None) for n in range(10)})
    weighed = settle({n: a_trial(n, {"a": 1.0, "b": 2.0} if n else None) for n in range(10)})

    rows = without.dump()[0]["rows"]
    assert [name for name in without.dump()[0]["columns"] if name.startswith("metrics.")] == []
    assert len(weighed.dump()[1]) - len(without.dump()[1]) == rows * 2 * 8
    assert (len(weighed), weighed.get(0).current.outcome.metrics) == (10, None)


@pytest.mark.parametrize("metrics", [{}, {"a": float("inf")}, {"a": 1}, {f"m{n}": 1.0 for n in range(9)}])
def test_metrics_that_fit_no_columns_leave_a_trial_as_it_is(metrics):
    kept = settle({0: a_trial(0, metrics)})

    assert (len(list(kept.stories())), kept[0].current.outcome.metrics) == (1, metrics)


def test_a_trial_that_is_opened_again_leaves_the_columns():
    trial = Trial(0, {1: Attempt(1, "0" * 16, Owner("n", 1, 1, "b"), 1.0, Outcome(TrialState.FAILED, "exit 1"))})
    kept = settle({0: trial})

    assert list(kept.stories()) == []

    kept.open(0).allowed = 2

    assert (len(list(kept.stories())), kept[0].state, len(kept)) == (1, TrialState.PENDING, 1)
    assert (kept.counts(), kept.open(0).allowed) == ({TrialState.PENDING: 1}, 2)


def test_a_trial_far_ahead_stays_an_object():
    """As one that was adopted from another sweep: columns of ten million rows for it would be a waste."""
    owner, outcome = Owner("n", 1, 1, "b"), Outcome(TrialState.FINISHED)
    kept = settle({10**7: Trial(10**7, {1: Attempt(1, "0" * 16, owner, 1.0, outcome)})})

    assert (kept.dump()[0]["rows"], len(list(kept.stories()))) == (0, 1)
    assert (list(kept), len(kept), kept.counts()) == ([10**7], 1, {TrialState.FINISHED: 1})


def answers(kept: TrialIndex) -> list:
    """Return what an index says to every question."""
    return [
        dict(kept), list(kept), len(kept), kept.counts(), [list(kept.in_state(state)) for state in TrialState],
        list(kept.unknown_below(310)), {trial.number for trial in kept.of_jobs({"7"})}, set(kept.spans()),
        kept.nodes_of_finished(), kept.ranked(largest=True), kept.ranked(largest=False, most=2), kept.best(largest=False),
        list(kept.points(["b", "a"])), list(kept.unmeasured(of_metric=False)), list(kept.unmeasured(of_metric=True)),
        list(kept.ways_to_end(set(TrialState))), kept.ended_since(1.0), kept.first_claim(),
        kept.best_so_far(largest=True, most=1000)[-1:],
    ]  # fmt: skip


@given(trials)
def test_how_far_ahead_trials_are_changes_no_answer(chosen):
    expected = answers(settle(chosen))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial_index, "_LARGEST_GAP", 3)
        kept = settle(chosen)
        found = answers(kept)
        asked_in_between = TrialIndex()
        for number, trial in chosen.items():
            opened = asked_in_between.open(number)
            opened.attempts = copy.deepcopy(trial.attempts)
            len(asked_in_between)

    assert found == expected == answers(asked_in_between)
    again = TrialIndex.load(*kept.dump())
    assert answers(again) == expected


def test_trials_that_were_stopped_early_are_told_from_other_killed_ones_and_ranked(make_store):
    store = make_store(6)
    ends = [
        Outcome(TrialState.FINISHED, metric=3.0),
        Outcome(TrialState.KILLED, "early_terminate", metric=1.0),
        Outcome(TrialState.KILLED, "terminated", metric=0.0),
        Outcome(TrialState.KILLED, "early_terminate"),
        Outcome(TrialState.FAILED, "exit 1", metric=0.0),
    ]
    for end in ends:
        store.finish(store.claim(Owner("n", 1, 1, "b")), end)
    store.claim(Owner("n", 1, 1, "b"))

    trials = store.replay().trials

    assert trials.stopped_early() == [1, 3]
    assert trials.ranked(largest=False) == [1, 0]
    assert trials.best(largest=True) == 0
    assert store.replay().done() == 3


@pytest.mark.parametrize("is_story", [False, True], ids=["rows", "stories"])
def test_jobs_with_ids_of_their_own_are_found_by_the_submission_that_they_name(is_story):
    """ECS forgets a task an hour after its end, so its claim says which submission it was of."""
    index = TrialIndex()
    for number, name in enumerate(["slurmsweep-abcd1234-1", "slurmsweep-abcd1234-2", None]):
        owner = Owner("h", 1, 1, "b", cluster="ecs:eu-west-1/c", job=f"task{number}", submission=name)
        record = {"t": number, "a": 1, "k": f"{number:016x}", "o": owner.to_json(), "at": 1.0}
        assert index.take_claim(record)
        if is_story:
            index.open(number).allowed = 2
        assert index[number].attempts[1].owner == owner

    described, data = index.dump()
    for kept in (index, TrialIndex.load(described, data)):
        assert [trial.number for trial in kept.of_jobs({"slurmsweep-abcd1234-2"})] == [1]
        assert [trial.number for trial in kept.of_jobs({"task0", "task2"})] == [0, 2]
        assert {span.cluster for span in kept.spans()} == {"ecs:eu-west-1/c"}
