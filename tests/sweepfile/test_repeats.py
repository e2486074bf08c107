"""``repeats`` of a sweep file: what is read, and what is refused, by its key path."""

from __future__ import annotations

import pytest

from slurmsweep.errors import SweepFileError
from slurmsweep.sweepfile.config import check

BASE = {
    "method": "grid",
    "program": "t.py",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"lr": {"values": [1, 2]}, "opt": {"parameters": {"name": {"values": ["a", "b"]}}}},
}


def read(repeats, **more):
    return check(BASE | more | {"slurmsweep": {"repeats": repeats}}, "f").config


def test_what_is_read_and_its_defaults():
    repeats = read({"parameter": "opt.seed", "count": 3}).extensions.repeats

    assert repeats == (("opt", "seed"), (0, 1, 2), "mean", None)
    assert read({"parameter": "fold", "values": ["a", "b"], "metric": "worst", "race": True}).extensions.repeats == (
        ("fold",), ("a", "b"), "worst", 0.05,
    )  # fmt: skip


def test_a_command_may_name_the_parameter():
    assert read({"parameter": "seed", "count": 2}, command=["${program}", "${seed}"]).command


@pytest.mark.parametrize(
    ("repeats", "more", "path", "problem"),
    [
        (3, {}, "", "must be a mapping"),
        ({"count": 3}, {}, ".parameter", "is missing"),
        ({"parameter": "a..b", "count": 3}, {}, ".parameter", "must be the name of a parameter"),
        ({"parameter": "lr", "count": 3}, {}, ".parameter", "lr stands under parameters, too"),
        ({"parameter": "lr.x", "count": 3}, {}, ".parameter", "lr stands under parameters, too"),
        ({"parameter": "opt", "count": 3}, {}, ".parameter", "opt stands under parameters, too"),
        ({"parameter": "opt.name", "count": 3}, {}, ".parameter", "opt.name stands under parameters, too"),
        ({"parameter": "s"}, {}, "", "needs either values or count"),
        ({"parameter": "s", "count": 2, "values": [1, 2]}, {}, "", "needs either values or count"),
        ({"parameter": "s", "count": 1}, {}, ".count", "from 2 to 1000, not 1"),
        ({"parameter": "s", "values": [1]}, {}, ".values", "a list of 2 to 1000 values"),
        ({"parameter": "s", "values": [1, 2, 1.0]}, {}, ".values", "stands there twice"),
        ({"parameter": "s", "count": 2, "metric": "meen"}, {}, ".metric", "not a combination"),
        ({"parameter": "s", "count": 2, "seeds": 3}, {}, ".seeds", "not a key of it"),
        ({"parameter": "s", "count": 2, "race": 2}, {}, ".race", "a chance between 0 and 1"),
        ({"parameter": "s", "count": 2, "race": True, "metric": "min"}, {}, ".race", "every run is needed"),
        ({"parameter": "s", "count": 2, "race": True}, {"metric": None}, ".race", "needs a metric"),
        ({"parameter": "s", "count": 2, "race": True}, {"method": "random"}, ".race", "how many points"),
        (
            {"parameter": "s", "count": 2, "race": True},
            {"early_terminate": {"type": "hyperband", "min_iter": 3}},
            ".race",
            "cannot be used together with early_terminate",
        ),
        ({"parameter": "s", "count": 2}, {"slurmsweep": {"rungs": {"steps": [1, 3]}}}, "", "together with rungs"),
    ],
)
def test_what_is_refused(repeats, more, path, problem):
    data = BASE | more | {"slurmsweep": {"repeats": repeats} | more.get("slurmsweep", {})}
    with pytest.raises(SweepFileError) as error:
        check({key: value for key, value in data.items() if value is not None}, "f")

    found = {violation.path: violation.problem for violation in error.value.violations}
    assert problem in found[f"slurmsweep.repeats{path}"]
