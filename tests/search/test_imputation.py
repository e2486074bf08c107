"""What trials are worth to a search that learns: as W&B's engine has it, but for one difference."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slurmsweep.metrics.reported import number
from slurmsweep.search.imputation import LoggedResult, worth
from slurmsweep.sweepfile.config import check

VECTORS = [
    vector
    for vector in json.loads((Path(__file__).parent.parent / "data" / "wandb_vectors.json").read_text())["vectors"]
    if vector["kind"] == "bayes_gp_data" and "raised" not in vector["expect"]
]


def result(run) -> LoggedResult:
    has_ended = run["state"] in ("finished", "failed", "crashed", "killed")
    history = [value for row in run.get("history", []) if (value := number(row.get("loss"))) is not None]
    summary = number(run.get("summary", {}).get("loss"))
    every = [*history, *([] if summary is None else [summary])]
    latest = history[-1] if history else summary
    return LoggedResult(
        has_ended, run["state"] == "finished", latest, min(every, default=None), max(every, default=None)
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_the_values_are_those_that_wandbs_engine_learns_from(vector):
    config = check({"program": "x.py", **vector["config"]}, "vector").config
    results = [result(run) for run in vector["runs"]]
    sign = -1 if config.metric.goal == "maximize" else 1

    values = [value for one, value in zip(results, worth(results, config.metric), strict=True) if one.has_ended]

    expected = vector["expect"]["y_minimised"]
    worst = max(sign * (one.highest if sign > 0 else one.lowest) for one in results if one.has_ended and one.lowest)
    ours = [None if value is None else sign * value for value in values]
    # W&B takes 0 for a failed run without any value; the worst value is right
    assert ours == [
        worst if theirs == 0.0 and mine == worst else theirs for theirs, mine in zip(expected, ours, strict=True)
    ]


def test_where_no_trial_has_a_value_none_is_made_up():
    metric = check(
        {"program": "x.py", "method": "bayes", "metric": {"name": "a"}, "parameters": {"x": {"values": [1, 2]}}}, "t"
    )

    assert worth([LoggedResult(True, True), LoggedResult(True, False)], metric.config.metric) == [None, None]
