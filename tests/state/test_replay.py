"""The fold needs no order between writers, and later words stand over earlier ones."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmsweep.state.journal import SEAL, decode, encode
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.replay import SweepView
from slurmsweep.state.tail import AttemptId

OWNER = {"host": "n1", "pid": 1, "start": 1, "boot": "b"}


def claim(trial, attempt=1, token="k") -> dict:
    return {"op": "claim", "t": trial, "a": attempt, "k": token, "o": OWNER, "at": 1.0}


def end(trial, attempt=1, state="finished", by="agent", ended=1.0, **more) -> dict:
    return {"op": "end", "t": trial, "a": attempt, "k": "k", "out": {"state": state, "by": by, "ended": ended, **more}}


def retry(*pairs) -> dict:
    return {"op": "retry", "t": [list(pair) for pair in pairs], "why": "test"}


def folded(*records) -> SweepView:
    view = SweepView()
    for record in records:
        view.apply(record)
    return view


def state(*records) -> TrialState:
    return folded(*records).trials[0].state


def test_a_claim_makes_a_trial_run_and_its_outcome_ends_it():
    assert state(claim(0)) is TrialState.RUNNING
    assert state(claim(0), end(0)) is TrialState.FINISHED


def test_a_retry_makes_a_trial_wait_until_its_next_attempt_is_claimed():
    failed = [claim(0), end(0, state="failed")]

    assert state(*failed, retry((0, 2))) is TrialState.PENDING
    assert state(*failed, retry((0, 2)), claim(0, 2)) is TrialState.RUNNING


def test_the_agents_word_stands_over_what_slurm_was_asked():
    asked = end(0, state="crashed", by="reconcile", ended=9.0)

    assert state(claim(0), end(0), asked) is TrialState.FINISHED
    assert state(claim(0), asked, end(0)) is TrialState.FINISHED


def test_a_late_outcome_of_a_superseded_attempt_is_kept_and_changes_nothing():
    view = folded(claim(0), retry((0, 2)), claim(0, 2), end(0, 1, state="finished"))

    assert view.trials[0].state is TrialState.RUNNING
    assert view.trials[0].attempts[1].outcome.state is TrialState.FINISHED


def test_a_void_attempt_leaves_the_trial_pending():
    view = folded(claim(0), {"op": "void", "t": 0, "a": 1}, retry((0, 2)))

    assert view.trials[0].state is TrialState.PENDING
    assert view.waiting() == [AttemptId(0, 2)]


def test_a_second_claim_of_the_same_attempt_is_a_rival():
    view = folded(claim(0, token="a"), claim(0, token="b"))

    assert view.trials[0].attempts[1].rivals == ["b"]


def test_records_of_a_kind_invented_later_are_passed_over():
    assert folded({"op": "telepathy", "t": 0}).trials == {}


def test_the_last_order_stands():
    paused = {"op": "sweep", "state": "paused", "h": {"s": 1}}
    resumed = {"op": "sweep", "state": "running", "h": {"s": 2}}

    assert folded(paused).word is SweepState.PAUSED
    assert folded(paused, resumed).word is None
    assert folded(resumed, paused).word is None


@pytest.mark.parametrize("seed", range(30))
def test_any_order_of_records_gives_the_same_state(seed):
    records = [
        claim(0), end(0, state="failed", ended=1.0), retry((0, 2)), claim(0, 2), end(0, 2, ended=3.0),
        claim(1), end(1, state="crashed", by="reconcile", ended=2.0), end(1, ended=4.0),
        claim(2), {"op": "void", "t": 2, "a": 1}, retry((2, 2)),
        claim(3), end(3, state="crashed", by="reconcile", ended=2.0, cause="lost"),
        end(3, state="crashed", by="reconcile", ended=5.0, cause="oom"),
    ]  # fmt: skip
    shuffled = random.Random(seed).sample(records, len(records))

    view = folded(*shuffled)

    seen = {n: (str(t.state), t.cause) for n, t in sorted(view.trials.items())}
    assert seen == {0: ("finished", ""), 1: ("finished", ""), 2: ("pending", ""), 3: ("crashed", "oom")}


def array(name, job=None, **more) -> dict:
    return {"op": "submit", "name": name, "tasks": 1, "job": job, **more}


def promise(name, *pairs) -> dict:
    return {**retry(*pairs), "for": name}


FAILED = (claim(0), end(0, state="failed"))

#: What becomes of a trial that was given back for an array, by what else the journal says.
PROMISES = {
    "it is not known whether Slurm took it": ([array("a"), promise("a", (0, 2))], "pending"),
    "Slurm took it": ([array("a"), promise("a", (0, 2)), array("a", "7")], "pending"),
    "Slurm refused it": ([array("a"), promise("a", (0, 2)), array("a", "")], "failed"),
    "refused, and given back for another": (
        [array("a"), promise("a", (0, 2)), array("a", ""), array("b"), promise("b", (0, 2))],
        "pending",
    ),
    "refused, and given back for good": ([array("a"), promise("a", (0, 2)), array("a", ""), retry((0, 2))], "pending"),
    "refused after an agent took it": (
        [array("a"), promise("a", (0, 2)), claim(0, 2, token="x"), array("a", "")],
        "running",
    ),
    "refused after it was run again": (
        [array("a"), promise("a", (0, 2)), claim(0, 2), end(0, 2), array("a", "")],
        "finished",
    ),
}


@pytest.mark.parametrize("case", PROMISES)
def test_what_was_given_back_for_an_array_hangs_on_slurms_answer_in_any_order(case):
    records, expected = PROMISES[case]

    for seed in range(40):
        view = folded(*random.Random(seed).sample([*FAILED, *records], len(records) + 2))
        assert str(view.trials[0].state) == expected, seed
        assert view.waiting() == ([AttemptId(0, 2)] if expected == "pending" else [])


def test_the_end_of_a_journal_alone_shows_what_was_given_back_and_nothing_that_was_taken_back():
    given = [array("a"), promise("a", (0, 2))]

    assert folded(*given).waiting() == [AttemptId(0, 2)]
    assert folded(*given, array("a", "")).waiting() == []


tokens = st.sampled_from(["0123456789abcdef", "fedcba9876543210", "k"])
trial_numbers = st.sampled_from([0, 1, 2, 3, 9, 5000])
attempt_numbers = st.sampled_from([1, 1, 1, 2])
numbers = st.none() | st.floats(0, 9) | st.integers(0, 9)
owners = st.fixed_dictionaries(
    {"host": st.sampled_from(["a", "b"]), "pid": st.sampled_from([1, 2, 2**40]), "start": st.just(5), "boot": st.just("x")},
    optional={"job": st.sampled_from(["7", "8"]), "task": st.integers(0, 3), "restart": st.integers(0, 2), "node": st.just("n")},
)  # fmt: skip
outcomes = st.fixed_dictionaries(
    {"state": st.sampled_from(["finished", "failed", "crashed"]), "by": st.sampled_from(["agent", "slurm", "reconcile"])},
    optional={
        "cause": st.sampled_from(["exit 1", "oom"]), "metric": numbers, "ended": numbers, "seconds": numbers,
        "metrics": st.dictionaries(st.sampled_from("ab"), numbers), "no_metric": st.sampled_from(["", "why"]),
        "exit_code": st.integers(0, 2), "invented_later": st.just([1]), "lowest": numbers, "highest": numbers,
    },
)  # fmt: skip
records = st.one_of(
    st.fixed_dictionaries(
        {"op": st.just("claim"), "t": trial_numbers, "a": attempt_numbers, "k": tokens, "o": owners},
        optional={
            "at": numbers,
            "p": st.just([]) | st.dictionaries(st.sampled_from("xy"), numbers),
            "b": st.sampled_from([[3, 1, 0], [3]]),
        },
    ),
    st.fixed_dictionaries(
        {"op": st.just("end"), "t": trial_numbers, "a": attempt_numbers, "k": tokens, "out": outcomes}
    ),
    st.fixed_dictionaries({"op": st.just("void"), "t": trial_numbers, "a": attempt_numbers}),
    st.builds(lambda t, a: retry((t, a + 1)), trial_numbers, attempt_numbers),
    st.builds(lambda t, a: promise("a", (t, a + 1)), trial_numbers, attempt_numbers),
    st.sampled_from([array("a"), array("a", "7"), array("a", "")]),
)
damage = st.sampled_from(
    [b"", b"junk", b"\0" * 9, SEAL.rstrip(b"\n"), encode(claim(0))[:-5], encode(claim(0))[:-5] + b"~"]
)
journals = st.lists(records.map(lambda record: encode({**record, "h": {"s": 1, "n": 3}})[:-1]) | damage, max_size=30)


def told(view: SweepView) -> tuple:
    index = view.trials
    return (
        dict(index), index.counts(), {s: list(index.in_state(s)) for s in TrialState}, index.ranked(largest=True),
        list(index.points(["a"])), list(index.unmeasured(of_metric=False)), Counter(index.spans()), view.waiting(),
        view.submissions, view.latest, view.sealed, view.damaged, list(view.chosen.items()),
    )  # fmt: skip


@given(journals, st.booleans())
def test_plain_claims_and_ends_written_as_rows_are_what_their_records_say(lines, asked_in_between):
    quick, slow = SweepView(), SweepView()
    slow.trials.take_claim = slow.trials.take_end = lambda record: False
    slow.take_in(lines)
    for number, line in enumerate(lines, 1):
        quick.take_in([line], number)
        if asked_in_between:
            quick.counts()

    assert told(quick) == told(slow)
    assert sum(line.endswith(b"~") and decode(line) is None for line in lines) == quick.sealed
