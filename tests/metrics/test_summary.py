"""The value that ``slurmsweep: {summary: ...}`` makes of a trial's history, over its attempts."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from slurmsweep.metrics import reported
from slurmsweep.metrics.logged_values import values_at_bands
from slurmsweep.metrics.objective_values import Measuring, measure, measure_ended
from slurmsweep.state.tail import AttemptId
from slurmsweep.sweepfile.config import check
from slurmsweep.sweepfile.summary import HistorySummary

NAN = math.nan


def config(summary, goal="minimize", expression=None, **more):
    ours = {"summary": summary} | ({"metric": {"expression": expression}} if expression else {})
    parameters = {"x": {"values": [1, 2]}}
    metric = {"name": "loss", "goal": goal}
    document = {"method": "grid", "program": "t.py", "parameters": parameters, "metric": metric, "slurmsweep": ours}
    return check(document | more, "x").config


@pytest.fixture
def write(layout):
    """Write the history of one attempt."""

    def write(attempt, *rows) -> None:
        Path(layout.attempt(AttemptId(0, attempt))).mkdir(exist_ok=True)
        with open(layout.history(AttemptId(0, attempt)), "a") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    return write


def losses(*values, first=0):
    return [{"loss": value, "_step": first + place} for place, value in enumerate(values)]


@pytest.mark.parametrize(
    ("summary", "goal", "value"),
    [
        ("best", "minimize", 1), ("best", "maximize", 9), ("last", "minimize", 4), ("mean of the last 2", "minimize", 3.5),
        ({"mean": 3}, "minimize", 16 / 3), ("mean of the last 50", "minimize", 17 / 4),
    ],
)  # fmt: skip
def test_one_value_is_made_of_the_history(layout, write, summary, goal, value):
    write(1, *losses(1, 9, 3, 4), {"_summary": {"loss": 7}})

    assert measure(config(summary, goal), layout, AttemptId(0, 1)).metric.value == pytest.approx(value)


def test_the_mean_of_the_largest_numbers_is_a_number():
    assert HistorySummary(2).of([1e308, 1.5e308], "minimize") == 1.25e308


def test_all_attempts_count_and_a_step_that_was_logged_again_counts_once(layout, write):
    write(1, *losses(5, 1, 8, 8))
    write(2, *losses(4, 6, first=2))

    def value(summary, first=1):
        return measure(config(summary), layout, AttemptId(0, 2), first).metric.value

    assert (value("best"), value("last"), value({"mean": 3})) == (1, 6, pytest.approx(11 / 3))
    assert (value("best", first=2), value({"mean": 3}, first=2)) == (4, 5)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((3, 2, NAN), {"best": 2, "last": None, "mean of the last 2": None}),
        ((3, NAN, 2), {"best": 2, "last": 2, "mean of the last 2": None}),
        ((NAN, 3, math.inf, 2, 4), {"best": 2, "last": 4, "mean of the last 2": 3}),
        ((NAN, math.inf), {"best": None, "last": None, "mean of the last 2": None}),
    ],
)
def test_what_is_not_finite_is_never_the_best_and_takes_the_value_of_the_last(layout, write, values, expected):
    write(1, *losses(*values))

    found = {summary: measure_ended(config(summary), layout, AttemptId(0, 1)) for summary in expected}

    assert {summary: one.metric.value for summary, one in found.items()} == expected
    assert all(bool(one.why) == (one.metric.value is None) for one in found.values())


def test_an_attempt_that_went_on_from_before_a_nan_has_a_value_again(layout, write):
    write(1, *losses(3, 2, NAN))
    assert measure(config("last"), layout, AttemptId(0, 1)).metric.value is None
    write(2, *losses(1, first=2))

    assert measure(config("last"), layout, AttemptId(0, 2)).metric.value == 1
    assert measure(config({"mean": 2}), layout, AttemptId(0, 2)).metric.value == 1.5


def test_a_computed_metric_is_computed_row_by_row_and_then_summed_up(layout, write):
    write(1, {"a": 1, "b": 9}, {"a": 2}, {"b": 3}, {"a": 3, "b": 4}, {"a": NAN, "b": 1})

    def value(summary):
        return measure(config(summary, expression="a + b"), layout, AttemptId(0, 1)).metric.value

    assert (value("best"), value("last")) == (5, None)


def test_the_script_that_sums_up_otherwise_is_overruled_and_the_log_says_so(layout, write):
    write(1, {"_define": {"name": "loss", "summary": ["max"]}}, *losses(1, 9, 4), {"_summary": {"loss": {"max": 9}}})

    found = measure_ended(config("best"), layout, AttemptId(0, 1))

    assert (found.metric.value, found.why) == (1, "")
    assert found.reasons == ("loss: the sweep file's summary counts (best: 1), and not the script's own (9)",)


def test_a_script_that_sets_only_its_summary_is_taken_at_its_word_and_it_is_said(layout, write):
    write(1, {"other": 2}, {"_summary_set": {"loss": 0.5}})

    found = measure_ended(config("best"), layout, AttemptId(0, 1))

    assert found.metric.value == 0.5
    assert found.why == "in doubt: loss only in the script's summary, so its value there counts"
    assert found.reasons == (found.why,)


def test_bands_of_early_termination_see_the_history_as_before(layout, write):
    write(1, *losses(5, 1, 8))
    stops = {"early_terminate": {"type": "hyperband", "min_iter": 3}}

    assert values_at_bands(config("best", **stops), layout, AttemptId(0, 1)) == ((3, 8),)


def test_a_printed_history_counts_alone_where_there_is_no_client(layout):
    Path(layout.log(AttemptId(0, 1))).write_text('slurmsweep: {"loss": 3}\nslurmsweep: {"loss": 5}\n')

    assert measure(config("best"), layout, AttemptId(0, 1)).metric.value == 3


def test_only_what_was_added_is_read(layout, write, monkeypatch):
    decoded = []
    monkeypatch.setattr(reported, "history_row", lambda line: decoded.append(line) or json.loads(line))
    following = Measuring(config("best"), layout, AttemptId(0, 1))
    write(1, *losses(5, 4))
    assert following.read().metric.value == 4
    write(1, *losses(3, first=2))
    decoded.clear()

    assert following.read().metric.value == 3
    assert len(decoded) == 2  # the new row, for the last value and for the history
