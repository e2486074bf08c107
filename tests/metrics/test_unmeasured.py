"""Why an attempt that ended has no metric is told from what it left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slurmsweep.metrics.objective_values import measure, measure_ended
from slurmsweep.metrics.run_file import HEADER
from slurmsweep.state.tail import AttemptId
from slurmsweep.sweepfile.config import check

RUNS = Path(__file__).parent.parent / "data" / "wandb_runs"
SLOT = AttemptId(0, 1)
NAN = float("nan")


def config(expression=None, pareto=None):
    ours = {"pareto": pareto} if pareto else {}
    ours |= {"metric": {"name": "loss", "expression": expression}} if expression else {}
    sweep = {"method": "grid", "program": "t.py", "parameters": {"x": {"value": 1}}, "metric": {"name": "loss"}}
    return check(sweep | ({"slurmsweep": ours} if ours else {}), "x").config


@pytest.mark.parametrize(
    ("rows", "expression", "why"),
    [
        ([{"loss": 1}], None, ""),
        ([], None, "nothing logged with wandb or slurmsweep, in a printed line or in metrics.json"),
        ([], "a + b", "nothing logged with wandb or slurmsweep, in a printed line or in metrics.json"),
        ([{"val/loss": 1, "_step": 3}], None, "loss was never logged (logged: val/loss)"),
        ([dict.fromkeys("fedcba", 1)], None, "loss was never logged (logged: a, b, c, d and 2 more)"),
        ([{"loss": 1}, {"loss": NAN}], None, "the last value of loss is nan"),
        ([{"loss": "1e-5"}], None, "the last value of loss is '1e-5'"),
        ([{"a": 1}], "a + b", "b was never logged (logged: a)"),
        ([{"x": 1}], "a + b", "a and b were never logged (logged: x)"),
        ([{"a": NAN}], "a + b", "b was never logged, the last value of a is nan (logged: a)"),
        ([{"a": 1, "b": float("-inf")}], "a + b", "the last value of b is -inf"),
        ([{"a": 1, "b": 0}], "a / b", "division by zero at character 1: 'a / b' of 1, 0"),
        ([{"a": 1, "b": 2}], "a / b", ""),
    ],
)
def test_what_was_logged_says_why(layout, history, rows, expression, why):
    history(*rows)

    found = measure_ended(config(expression), layout, SLOT)

    assert found.why == why
    assert (found.metric.value is None) == bool(why)
    assert measure(config(expression), layout, SLOT).why == ""  # it may still come


def test_of_a_view_each_number_says_why_by_its_name(layout, history):
    history({"loss": 1, "acc": NAN, "a": 0})
    summary = [{"name": "acc", "goal": "maximize"}, {"name": "speed"}, {"name": "ratio", "expression": "loss / a"}]

    found = measure_ended(config(pareto=summary), layout, SLOT)

    assert (found.metric.value, found.metrics) == (1.0, None)
    assert found.why == (
        "the last value of acc is nan; speed was never logged; "
        "ratio: division by zero at character 1: 'loss / a' of 1, 0 (logged: a, acc, loss)"
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (HEADER, "its wandb run is empty: it ended before wandb wrote"),
        (b"", "its wandb run is empty: it ended before wandb wrote"),
        ((RUNS / "0.31.0.wandb").read_bytes(), ""),
        ((RUNS / "0.18.7.wandb").read_bytes(), ""),
    ],
)
def test_a_wandb_run_says_why(layout, content, why):
    folder = Path(layout.runs(0)) / "offline-run-20260101_000000-abcd1234-0"
    folder.mkdir(parents=True)
    (folder / "run-abcd1234-0.wandb").write_bytes(content)

    assert measure_ended(config(), layout, SLOT).why == why


def test_a_wandb_run_without_the_name_says_what_it_has(layout):
    folder = Path(layout.runs(0)) / "offline-run-20260101_000000-abcd1234-0"
    folder.mkdir(parents=True)
    (folder / "run-abcd1234-0.wandb").write_bytes((RUNS / "0.31.0.wandb").read_bytes())

    assert measure_ended(config("loss + 10*absent"), layout, SLOT).why.startswith("absent was never logged (logged: ")


@pytest.mark.parametrize(
    ("folder", "remedy"), [("mine", "give dir= an absolute path"), ("/not/there", "another machine's disk?")]
)
def test_a_run_that_cannot_be_seen_is_named(layout, folder, remedy):
    said = f"{folder}/wandb/offline-run-20260101_000000-abcd1234-0"
    Path(layout.log((0, 1))).write_text(f"wandb: Run data is saved locally in {said}\n")

    assert measure_ended(config(), layout, SLOT).why == (
        f"its wandb run is not seen from here: {remedy} (wandb said {said})"
    )


def test_what_cannot_be_read_is_a_reason(layout):
    os.symlink("output.log", layout.log((0, 1)))  # a loop; a file without permissions is readable to root

    found = measure_ended(config("a + b"), layout, SLOT)

    assert found.metric.value is None
    assert found.why.startswith("the metrics cannot be read: ")
    assert found.reasons == (found.why,)


def test_a_reason_fits_a_line(layout, history):
    history({"other" * 30: 1})

    assert len(measure_ended(config(" + ".join(f"name_{n:020}" for n in range(60))), layout, SLOT).why) == 200
