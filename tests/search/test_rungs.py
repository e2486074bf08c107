"""Successive halving: which trials go on, and the limit of each part."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmsweep.errors import SweepFileError
from slurmsweep.search.rungs import minutes_of, on_one_scale, promotable
from slurmsweep.sweepfile.config import check
from slurmsweep.sweepfile.rungs import Rungs

THIRDS = Rungs((3, 9, 27), (1, 3))


def test_the_best_third_of_those_at_a_rung_goes_on():
    values = [{n: float(n) for n in range(9)}, {}, {}]

    assert promotable(THIRDS, "minimize", values, [set(range(9)), set(), set()]) == [(0, 1), (1, 1), (2, 1)]
    assert promotable(THIRDS, "maximize", values, [set(range(9)), set(), set()]) == [(8, 1), (7, 1), (6, 1)]


def test_none_goes_on_before_there_are_enough_to_choose_from():
    assert promotable(THIRDS, "minimize", [{0: 1.0, 1: 2.0}, {}, {}], [{0, 1}, set(), set()]) == []


def test_the_highest_rung_comes_first_and_what_has_gone_on_is_not_named_again():
    values = [{n: float(n) for n in range(9)}, {0: 0.0, 1: 1.0, 2: 2.0}, {}]

    assert promotable(THIRDS, "minimize", values, [{3, 4, 5, 6, 7, 8}, {0, 1, 2}, set()]) == [(0, 2)]


def test_at_the_last_rung_a_trial_has_finished():
    values = [{}, {}, {n: float(n) for n in range(9)}]

    assert promotable(THIRDS, "minimize", values, [set(), set(), set(range(9))]) == []


def test_a_trial_that_reached_a_rung_and_is_not_there_any_more_takes_a_place():
    values = [{0: 0.0, 1: 1.0, 2: 2.0}, {}, {}]

    assert promotable(THIRDS, "minimize", values, [{1, 2}, set(), set()]) == []


@given(
    st.lists(st.sampled_from([0.0, 1.0, 2.0, 5.0]), max_size=40),
    st.sampled_from([(1, 2), (1, 3), (2, 3), (333, 1000)]),
)
def test_one_after_the_other_never_more_go_on_than_asynchronous_halving_allows(losses, keep):
    rungs = Rungs((1, 2), keep)
    at: dict[int, float] = {}
    waiting: set[int] = set()
    gone: set[int] = set()
    for trial, loss in enumerate(losses):
        at[trial] = loss
        waiting.add(trial)
        found = {n for n, _ in promotable(rungs, "minimize", [at, {}], [waiting, set()])}
        assert found <= waiting
        best = sorted(at, key=lambda n: (at[n], n))[: rungs.places(len(at))]
        assert found == set(best) - gone
        gone |= found
        waiting -= found


def test_a_job_has_its_share_of_the_time_of_a_whole_trial_or_what_the_file_says():
    assert [minutes_of(THIRDS, rung, 90.0) for rung in range(3)] == [10.0, 30.0, 90.0]
    assert minutes_of(THIRDS, 0, None) is None
    assert [minutes_of(THIRDS._replace(minutes=(5, 8, 20)), rung, 90.0) for rung in range(3)] == [5.0, 8.0, 20.0]


def test_trials_of_different_rungs_are_compared_so_that_what_went_further_is_better():
    ended = {0: (2, 0.5), 1: (1, 0.7), 2: (1, 0.9), 3: (0, 0.3), 4: (0, 0.4)}

    minimized, maximized = (
        on_one_scale(ended, "minimize"),
        on_one_scale({n: (r, -v) for n, (r, v) in ended.items()}, "maximize"),
    )

    assert minimized == pytest.approx({0: 0.5, 1: 0.5, 2: 0.7, 3: 0.7, 4: 0.8})
    assert maximized == pytest.approx({n: -v for n, v in minimized.items()})
    assert on_one_scale({}, "minimize") == {}


def sweep(rungs, **others) -> dict:
    return {
        "method": "grid",
        "program": "x.py",
        "metric": {"name": "loss"},
        "parameters": {"x": {"values": [1, 2]}},
        "slurmsweep": {"rungs": rungs},
        **others,
    }


@pytest.mark.parametrize(
    ("keep", "exactly"),
    [("1/3", (1, 3)), (0.5, (1, 2)), ("0.25", (1, 4)), (0.1, (1, 10)), (" 2 / 3 ", (2, 3)), (None, (1, 3))],
)
def test_a_share_is_taken_as_it_is_written(keep, exactly):
    rungs = {"steps": [3, 9, 27]} | ({} if keep is None else {"keep": keep})

    read = check(sweep(rungs), "x").config.extensions.rungs

    assert read.steps == (3, 9, 27)
    assert read.keep[0] * exactly[1] == read.keep[1] * exactly[0]
    assert read.places(30) == 30 * exactly[0] // exactly[1]


@pytest.mark.parametrize(
    ("rungs", "where", "words"),
    [
        ([3, 9], "slurmsweep.rungs", "must be a mapping"),
        ({}, "slurmsweep.rungs.steps", "two or more ascending"),
        ({"steps": [3]}, "slurmsweep.rungs.steps", "two or more ascending"),
        ({"steps": [9, 3]}, "slurmsweep.rungs.steps", "two or more ascending"),
        ({"steps": 27}, "slurmsweep.rungs.steps", "must be a list"),
        ({"steps": [0, 3]}, "slurmsweep.rungs.steps", "not a whole number"),
        ({"steps": [1.5, 3]}, "slurmsweep.rungs.steps", "not a whole number"),
        ({"steps": [True, 3]}, "slurmsweep.rungs.steps", "not a whole number"),
        ({"steps": [3, 9], "keep": 1}, "slurmsweep.rungs.keep", "not a share"),
        ({"steps": [3, 9], "keep": 0}, "slurmsweep.rungs.keep", "not a share"),
        ({"steps": [3, 9], "keep": "a third"}, "slurmsweep.rungs.keep", "not a share"),
        ({"steps": [3, 9], "keep": "1/1e999999999"}, "slurmsweep.rungs.keep", "not a share"),
        ({"steps": [3, 9], "keep": "1e-999999999"}, "slurmsweep.rungs.keep", "not a share"),
        ({"steps": [3, 9], "keep": "NaN"}, "slurmsweep.rungs.keep", "not a share"),
        ({"steps": [3, 9], "keep": "1/0"}, "slurmsweep.rungs.keep", "not a share"),
        ({"steps": [3, 9], "keep": "nan"}, "slurmsweep.rungs.keep", "not a share"),
        ({"steps": [3, 9], "keep": "inf/3"}, "slurmsweep.rungs.keep", "not a share"),
        ({"steps": [3, 9], "keep": True}, "slurmsweep.rungs.keep", "not a share"),
        ({"steps": [3, 9], "minutes": [10]}, "slurmsweep.rungs.minutes", "1 limits for 2 steps"),
        ({"steps": [3, 9], "eta": 3}, "slurmsweep.rungs.eta", "is not a key"),
    ],
)
def test_each_mistake_is_named_with_its_place(rungs, where, words):
    with pytest.raises(SweepFileError) as raised:
        check(sweep(rungs), "x")

    assert (where, True) in [(v.path, words in v.problem) for v in raised.value.violations]


def test_rungs_need_a_metric_and_stand_alone():
    without = sweep({"steps": [3, 9]})
    del without["metric"]
    both = sweep({"steps": [3, 9]}, early_terminate={"type": "hyperband", "min_iter": 3})

    for document, words in ((without, "needs a metric"), (both, "early_terminate")):
        with pytest.raises(SweepFileError) as raised:
            check(document, "x")
        assert any(words in v.problem for v in raised.value.violations)
