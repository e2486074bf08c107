"""Parameters that exist only with others, and those that are computed: which a point has, and that nothing else moves."""

from __future__ import annotations

import pytest

from slurmsweep import search
from slurmsweep.sweepfile.config import check
from slurmsweep.sweepfile.presence import absent, existing, faults, with_computed

SPACE = {
    "optimizer": {"values": ["sgd", "adam"]},
    "momentum": {"min": 0.0, "max": 1.0},
    "nesterov": {"values": [True, False]},
    "width": {"min": 4, "max": 8},
    "net": {"parameters": {"dropout": {"min": 0.0, "max": 0.5}, "norm": {"values": ["batch", "none"]}}},
}
OURS = {
    # momentum sorts before what it depends on, and nesterov depends on what may be absent
    "conditions": {"nesterov": {"momentum_on": True}, "momentum_on": {"optimizer": "sgd"}, "net": {"width": [5, 6]}},
    "computed": {"hidden": "4 * width", "deep": "hidden // 3 + width", "net.scale": "net.dropout * 2"},
}


def config_of(ours, method="random", parameters=None):
    data = {"method": method, "program": "t.py", "parameters": parameters or SPACE}
    return check(data | ({"slurmsweep": ours} if ours else {}), "test").config


@pytest.fixture
def config():
    return config_of(OURS, parameters=SPACE | {"momentum_on": {"values": [True, False]}})


def test_a_random_point_has_what_exists_and_no_other_draw_changes(config):
    plain = config_of({}, parameters=SPACE | {"momentum_on": {"values": [True, False]}})
    seen = set()
    for number in range(200):
        drawn, point = search.parameters(plain, number, "s"), search.parameters(config, number, "s")
        wanted = {**drawn, "hidden": 4 * drawn["width"], "deep": 4 * drawn["width"] // 3 + drawn["width"]}
        if drawn["optimizer"] != "sgd":
            del wanted["momentum_on"]
        if not wanted.get("momentum_on"):
            del wanted["nesterov"]
        if drawn["width"] in (5, 6):
            wanted["net"] = drawn["net"] | {"scale": 2 * drawn["net"]["dropout"]}
        else:
            del wanted["net"]
        assert point == wanted
        assert type(point["hidden"]) is int
        assert list(point) == sorted(point, key=lambda name: (name == "net", name))  # W&B's order
        seen.add(frozenset(point))
    assert len(seen) == 6  # every kind of point was drawn


def test_an_exclusion_about_an_absent_parameter_never_applies():
    space = {"optimizer": {"values": ["sgd", "adam"]}, "momentum": {"values": [0, 1]}}
    ours = {"conditions": {"momentum": {"optimizer": "sgd"}}, "exclude": [{"momentum": [0, 1]}]}
    config = config_of(ours, parameters=space)

    assert all(search.parameters(config, number, "s") == {"optimizer": "adam"} for number in range(50))


def test_what_is_absent_is_told_of_a_part_of_the_values_too(config):
    gone = absent({("optimizer",): "adam", ("width",): 5}, config.extensions.conditions)

    assert gone == {("momentum_on",), ("nesterov",)}
    assert existing({("optimizer",): "adam", ("momentum_on",): True}, config.extensions.conditions) == {
        ("optimizer",): "adam"
    }


def test_a_computed_parameter_without_a_value_is_left_out_and_says_why():
    space = {"a": {"values": [0, 2]}, "b": {"values": ["x", 1]}}
    computed = config_of({"computed": {"c": "1 / a", "d": "c + b", "e": "a + 1"}}, parameters=space).extensions.computed

    def told(a, b):
        values = {("a",): a, ("b",): b}
        return with_computed(values, computed), list(faults(values, computed))

    assert told(2, 1) == ({("a",): 2, ("b",): 1, ("c",): 0.5, ("d",): 1.5, ("e",): 3}, [])
    values, why = told(0, 1)
    assert values == {("a",): 0, ("b",): 1, ("e",): 1}  # what needs c is absent with it, and has no fault of its own
    assert why == [(("c",), "division by zero at character 1: '1 / a' of 1, 0")]
    assert told(2, "x")[1] == [(("d",), "b is 'x', which is no number")]
