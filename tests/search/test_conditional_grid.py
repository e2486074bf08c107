"""Conditions in a grid: the product shrinks, each point has one number, and nothing is listed to know it."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurmsweep import search
from slurmsweep.errors import UsageError
from slurmsweep.search.kept import is_in_space, kept, restored
from slurmsweep.search.without_value import why_without_value
from slurmsweep.sweepfile.config import check
from slurmsweep.sweepfile.plain import identity


def config_of(parameters, ours, method="grid", **more):
    data = {"method": method, "program": "t.py", "parameters": parameters, "slurmsweep": ours, **more}
    return check(data, "test").config


def points(config, seed="s"):
    return [search.parameters(config, number, seed) for number in range(search.run_count(config))]


def test_the_product_shrinks_and_what_depends_stands_behind_it():
    space = {
        "momentum": {"values": [0.0, 0.9]},
        "nesterov": {"values": [True, False]},
        "optimizer": {"values": ["adam", "sgd"]},
        "width": {"values": [1, 2]},
    }
    ours = {"conditions": {"momentum": {"optimizer": "sgd"}, "nesterov": {"momentum": 0.9}}}
    ours["computed"] = {"hidden": "4 * width"}

    assert [tuple(point.items()) for point in points(config_of(space, ours))] == [
        (("hidden", 4), ("optimizer", "adam"), ("width", 1)),
        (("hidden", 8), ("optimizer", "adam"), ("width", 2)),
        (("hidden", 4), ("momentum", 0.0), ("optimizer", "sgd"), ("width", 1)),
        (("hidden", 8), ("momentum", 0.0), ("optimizer", "sgd"), ("width", 2)),
        (("hidden", 4), ("momentum", 0.9), ("nesterov", True), ("optimizer", "sgd"), ("width", 1)),
        (("hidden", 8), ("momentum", 0.9), ("nesterov", True), ("optimizer", "sgd"), ("width", 2)),
        (("hidden", 4), ("momentum", 0.9), ("nesterov", False), ("optimizer", "sgd"), ("width", 1)),
        (("hidden", 8), ("momentum", 0.9), ("nesterov", False), ("optimizer", "sgd"), ("width", 2)),
    ]


def test_a_point_with_something_that_would_not_exist_has_no_number():
    space = {"opt": {"values": ["adam", "sgd"]}, "beta": {"values": [None, 0.9]}, "w": {"values": [1, 2]}}
    config = config_of(space, {"conditions": {"beta": {"opt": "adam"}}, "computed": {"h": "2 * w"}})

    assert search.number_of(config, {"opt": "sgd", "w": 1, "h": 2}, "s") is not None
    assert search.number_of(config, {"opt": "sgd", "w": 1, "h": 2, "beta": 0.9}, "s") is None
    assert search.number_of(config, {"opt": "sgd", "w": 1, "h": 2, "beta": None}, "s") is None
    assert search.number_of(config, {"opt": "sgd", "w": 1, "h": 3}, "s") is None
    assert search.number_of(config, {"opt": "sgd", "w": 1}, "s") is None


NAMES = "abcdef"
AXES = st.lists(st.integers(1, 3), min_size=len(NAMES), max_size=len(NAMES))
PICKS = st.lists(st.integers(0, 2), min_size=1, max_size=2)


@st.composite
def conditional_spaces(draw):
    """Return sizes of axes, conditions without a circle in any order of names, exclusions, and linked names."""
    sizes = draw(AXES)
    order = draw(st.permutations(NAMES))
    conditions = {}
    for place, name in enumerate(order[1:], 1):
        if draw(st.booleans()):
            needs = draw(st.lists(st.sampled_from(order[:place]), min_size=1, max_size=2, unique=True))
            conditions[name] = {other: draw(PICKS) for other in needs}
    rules = draw(st.lists(st.dictionaries(st.sampled_from(NAMES), PICKS, min_size=1, max_size=3), max_size=3))
    pairs = [
        [one, other] for one in NAMES for other in NAMES if one < other and conditions.get(one) == conditions.get(other)
    ]
    linked = draw(st.sampled_from(pairs)) if pairs and draw(st.booleans()) else []
    if linked:
        sizes[NAMES.index(linked[1])] = sizes[NAMES.index(linked[0])]
    return dict(zip(NAMES, sizes, strict=True)), order, conditions, rules, linked


def by_hand(sizes, order, conditions, rules, linked):
    """Return every point of the product without what does not exist, each once; by the definition, and slowly."""

    def meets(point, rule):
        return all(name in point and point[name] in wanted for name, wanted in rule.items())

    found = {}
    for row in product(*(range(sizes[name]) for name in NAMES)):
        point = dict(zip(NAMES, row, strict=True))
        if linked and point[linked[0]] != point[linked[1]]:
            continue
        for name in order:
            if name in conditions and not meets(point, conditions[name]):
                del point[name]
        if not any(meets(point, rule) for rule in rules):
            found[tuple(point.items())] = point
    return list(found.values())


@given(conditional_spaces(), st.sampled_from(["wandb", "shuffled"]))
@settings(max_examples=150, deadline=None)
def test_any_conditions_leave_exactly_what_the_definition_says(space, shuffle):
    sizes, order, conditions, rules, linked = space

    def within(rule):
        return {name: sorted({pick % sizes[name] for pick in picks}) for name, picks in rule.items()}

    conditions = {name: within(rule) for name, rule in conditions.items()}
    rules = [within(rule) for rule in rules]
    ours = {"order": shuffle, "conditions": conditions, "exclude": rules, "linked": [linked] if linked else None}
    if linked and conditions.get(linked[0]) != conditions.get(linked[1]):
        return
    config = config_of({name: {"values": list(range(size))} for name, size in sizes.items()}, ours)

    wanted = by_hand(sizes, order, conditions, rules, linked)
    got = points(config)

    assert sorted(map(repr, got)) == sorted(map(repr, wanted))
    assert [search.number_of(config, point, "s") for point in got] == list(range(len(wanted)))
    for point in got[:20]:
        assert is_in_space(config, point)
        assert restored(config, kept(config, point)) == point


def test_ten_million_points_are_numbered_without_the_product():
    space = {
        "a_deep": {"min": 1, "max": 1000},
        "kind": {"values": ["mlp", "cnn", "rnn"]},
        "kernel": {"min": 1, "max": 99},
        "seed": {"min": 0, "max": 98},
        "dilated": {"values": [True, False]},
        "cells": {"values": ["lstm", "gru"]},
        "lr": {"values": [0.1, 0.01]},
        "batch": {"values": [32, 64]},
    }
    ours = {
        "order": "shuffled",
        "linked": [["lr", "batch"]],
        "conditions": {"kernel": {"kind": "cnn"}, "dilated": {"kernel": [3, 5]}, "cells": {"kind": "rnn"}},
        "exclude": [{"dilated": True, "seed": [0, 1]}, {"kind": "mlp", "a_deep": 7}],
        "computed": {"hidden": "4 * a_deep + kernel"},
    }
    config = config_of(space, ours)

    mlp, rnn = 999 * 99, 1000 * 99 * 2
    cnn = 1000 * (97 * 99 + 2 * (99 + 97))
    size = 2 * (mlp + rnn + cnn)
    assert search.run_count(config) == size > 10**7
    for number in (*range(0, size, 10007), 1, size - 1):
        point = search.parameters(config, number, "seed")
        assert ("kernel" in point) == ("hidden" in point) == (point["kind"] == "cnn")
        assert search.number_of(config, point, "seed") == number


def test_more_points_than_a_machine_could_list():
    flags = {f"use_{one}": {"values": [False, True]} for one in range(20)}
    sizes = {f"size_{one}": {"min": 1, "max": 9} for one in range(20)}
    conditions = {f"size_{one}": {f"use_{one}": True} for one in range(20)}
    config = config_of(flags | sizes, {"conditions": conditions})

    assert search.run_count(config) == 10**20  # each flag is off, or on with nine sizes
    for number in (0, 1, 10**19 + 12345, 10**20 - 1):
        point = search.parameters(config, number, "s")
        assert all((f"size_{one}" in point) == point[f"use_{one}"] for one in range(20))
        assert search.number_of(config, point, "s") == number


def test_claims_keep_what_exists_and_compute_the_rest_again():
    space = {
        "opt": {"values": ["adam", "s" * 100]},  # kept as its position
        "momentum": {"min": 0.0, "max": 1.0},
        "w": {"min": 1, "max": 4},
        "net": {"parameters": {"depth": {"values": [1, 2]}, "bias": {"value": True}}},
    }
    ours = {"conditions": {"momentum": {"opt": "s" * 100}, "net": {"w": 2}}, "computed": {"h": "w * 2"}}
    config = config_of(space, ours, method="bayes", metric={"name": "loss", "goal": "minimize"})

    assert kept(config, {"opt": "adam", "w": 2, "net": {"depth": 1, "bias": True}, "h": 4}) == {
        "opt": "adam", "w": 2, "net": {"depth": 1}
    }  # fmt: skip
    point = {"h": 6, "momentum": 0.5, "opt": "s" * 100, "w": 3}
    part = kept(config, point)
    assert part == {"momentum": 0.5, "opt": {"$position": 1}, "w": 3}
    assert list(restored(config, part).items()) == list(point.items())
    assert identity(restored(config, part)["h"]) == identity(6)
    assert not is_in_space(config, point | {"net": {"depth": 1, "bias": True}})
    assert not is_in_space(config, point | {"h": 7})
    assert is_in_space(config, point | {"else": 7})


def test_rules_that_would_take_minutes_to_count_are_refused(monkeypatch):
    """What counting remembers is bounded over all axes together: each of these has fewer sets than all of them."""
    monkeypatch.setattr("slurmsweep.search.grid._MOST_RULES", 2_000)
    space = {f"p{one:02}": {"values": [0, 1, 2]} for one in range(12)}
    space |= {f"q{one:02}": {"values": [0, 1]} for one in range(12)}
    near = {"conditions": {f"p{one:02}": {f"p{one - 1:02}": 1} for one in range(1, 12)}}
    far = {
        "conditions": {f"q{one:02}": {f"p{one:02}": [0, 1], f"p{(one * 5 + 3) % 12:02}": [1, 2]} for one in range(12)}
    }
    assert search.run_count(config_of(space, near))
    with pytest.raises(UsageError, match="too many to count"):
        search.run_count(config_of(space, far))


def test_expressions_are_tried_out_as_long_as_that_takes_seconds(monkeypatch):
    space = {"x": {"values": [0, 1]}}
    config = config_of(space, {"computed": {"a": "x + 1", "b": "1 / x"}})
    assert [one.path for one in why_without_value(config)] == ["slurmsweep.computed.b"]
    monkeypatch.setattr("slurmsweep.search.without_value._MOST_CHARACTERS", 15)
    assert not list(why_without_value(config))


def test_a_long_chain_of_conditions_has_few_points_and_only_the_count_decides():
    names = [f"p{number:03}" for number in range(400)]
    space = {name: {"values": [0, 1]} for name in names}
    chain = {"conditions": {name: {before: 1} for before, name in pairwise(names)}}
    fan = {"conditions": {name: {"p000": 1} for name in names[1:]}}

    assert search.run_count(config_of(space, chain)) == 401
    with pytest.raises(UsageError, match=r"more than 10\^100 points"):
        search.run_count(config_of(space, fan))
