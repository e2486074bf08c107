"""What a sweep wants to know of an attempt: computed metrics, and those of its Pareto view."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurmsweep.metrics.objective_values import Measured, Measuring, measure
from slurmsweep.metrics.reported import MetricReading
from slurmsweep.state.paths import Layout
from slurmsweep.state.tail import AttemptId
from slurmsweep.sweepfile.config import check

RUNS = Path(__file__).parent.parent / "data" / "wandb_runs"
SLOT = AttemptId(0, 1)


def config(expression=None, pareto=None, **metric):
    ours = {"metric": {"name": "total", "expression": expression} | metric} if expression else {}
    ours |= {"pareto": pareto} if pareto else {}
    parameters = {"x": {"values": [1, 2]}}
    return check({"method": "grid", "program": "t.py", "parameters": parameters, "slurmsweep": ours}, "x").config


def test_an_expression_is_computed_of_the_last_values(layout, history):
    history({"a": 1, "b": 9}, {"a": 2}, {"b": 4}, {"b": 3, "_step": 3})

    assert measure(config("0.3*a + 0.2*b"), layout, SLOT) == Measured(MetricReading(0.3 * 2 + 0.2 * 3, 2, "native"))


def test_a_summary_stands_over_the_last_value_in_an_expression_too(layout, history):
    history({"a": 5, "b": 1}, {"a": 7, "b": 1}, {"_summary": {"a": 5, "b": 1}})

    assert measure(config("a + b"), layout, SLOT).metric.value == 6.0


def test_names_that_are_no_words_and_nested_ones_are_read(layout, history):
    history({"val/loss": 2, "val": {"acc": 3, "loss rate": 5}, "größe": 7})

    found = measure(config("`val/loss` + 10*val.acc + 100*`val.loss rate` + 1000*größe"), layout, SLOT)

    assert found.metric.value == 2 + 30 + 500 + 7000


@pytest.mark.parametrize("version", ["0.18.7", "0.31.0"])
def test_a_run_of_the_real_wandb_is_computed_of(layout, version):
    folder = Path(layout.runs(0)) / "offline-run-20260101_000000-abcd1234-0"
    folder.mkdir(parents=True)
    (folder / "run-abcd1234-0.wandb").write_bytes((RUNS / f"{version}.wandb").read_bytes())

    found = measure(
        config("loss + 10*val.deep.er + 100*lowest + 1000*both.max", {"both": "maximize", "tiny": "minimize"}),
        layout,
        SLOT,
    )

    assert found.metric == MetricReading(1 / 8 + 70 + 0 + 4000, 0, "wandb")  # a summary's own word is never logged
    assert found.metrics == {"both": 4.0, "tiny": 1e-05}


def test_a_metric_of_its_own_name_is_what_was_logged(layout, history):
    history({"total": 3, "size": 2})

    assert measure(config("total + 0.1*size"), layout, SLOT).metric.value == pytest.approx(3.2)


@pytest.mark.parametrize(
    ("rows", "expression", "reason"),
    [
        ([], "a + b", "total has no value: no finite number was logged as a or b"),
        ([{"a": 1, "b": "high"}], "a + b", "total has no value: no finite number was logged as b"),
        ([{"a": 1, "b": 1}, {"b": float("nan")}], "a + b", "total has no value: the last value of b is not a finite number"),
        ([{"a": float("inf"), "b": 1}], "a + b", "total has no value: no finite number was logged as a"),
        ([{"a": 1, "b": 0}], "a / b", "total has no value: division by zero at character 1: 'a / b' of 1, 0"),
        ([{"a": 1e300}], "a * a", "total has no value: a number too large at character 1: 'a * a' of 1e+300, 1e+300"),
        (
            [{"val/loss": 1}],
            "2*val/loss",
            "total has no value: no finite number was logged as val or loss (is val/loss one name? Then write `val/loss`, in backticks)",
        ),
    ],
)  # fmt: skip
def test_what_has_no_value_has_a_reason(layout, history, rows, expression, reason):
    history(*rows)

    found = measure(config(expression), layout, SLOT)

    assert (found.metric.value, found.reasons) == (None, (reason,))


def test_numbers_of_a_pareto_view_are_kept_those_that_there_are(layout, history):
    history({"acc": 0.5, "latency": 3}, {"acc": 0.75, "memory": float("nan")})
    summary = {"acc": "maximize", "latency": "minimize", "memory": "minimize"}

    assert measure(config(pareto=summary), layout, SLOT).metrics == {"acc": 0.75, "latency": 3.0}
    assert measure(config(pareto={"x": "minimize", "y": "minimize"}), layout, SLOT) == Measured()


def test_a_pareto_view_may_hold_the_computed_metric_and_further_expressions(layout, history):
    history({"a": 2, "b": 8})
    summary = [
        {"name": "total"},
        {"name": "ratio", "expression": "b / a"},
        {"name": "none", "expression": "b / (a - 2)"},
    ]

    found = measure(config("a + b", summary), layout, SLOT)

    assert found.metric.value == 10.0
    assert found.metrics == {"total": 10.0, "ratio": 4.0}
    assert found.reasons == ("none has no value: division by zero at character 1: 'b / (a - 2)' of 8, 0",)


def test_what_grows_is_followed(layout, history):
    following = Measuring(config("a + b", {"a": "minimize", "b": "minimize"}), layout, SLOT)
    assert following.read().metric == MetricReading()
    history({"a": 1})
    assert (following.read().metric.value, following.read().metrics) == (None, {"a": 1.0})
    history({"b": 2}, {"a": 3})
    assert (following.read().metric, following.read().metrics) == (
        MetricReading(5.0, 1, "native"),
        {"a": 3.0, "b": 2.0},
    )


def test_a_sweep_without_metrics_reads_nothing(tmp_path):
    assert measure(config(), Layout(str(tmp_path / "not-there")), SLOT) == Measured()
