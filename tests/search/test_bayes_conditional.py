"""Parameters that exist only with others, and computed ones, in the search that learns."""

from __future__ import annotations

import numpy as np
import pytest
from bayes_spaces import config_of, space_of

from slurmsweep.search import random
from slurmsweep.search.bayes import Observation, Space, propose
from slurmsweep.search.bayes.encoding import ABSENT
from slurmsweep.search.bayes.model import HEIGHT, GaussianProcess, Kernel
from slurmsweep.search.kept import is_in_space, kept, restored

TRAINING = {
    "optimizer": {"values": ["adam", "sgd", "rmsprop"]},
    "momentum": {"distribution": "uniform", "min": 0.0, "max": 0.99},
    "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1.0},
    "width": {"values": [8, 16, 32]},
}
RULES = {"conditions": {"momentum": {"optimizer": "sgd"}}, "computed": {"hidden": "4 * width"}}

#: A small space: a chain of conditions, a constant at its end, exclusions about what not every point has.
CHAIN = {
    "optimizer": {"values": ["adam", "sgd", "rmsprop"]},
    "momentum": {"values": [0.0, 0.5, 0.9]},
    "nesterov": {"values": [True, False]},
    "flag": {"value": 1},
    "lr": {"values": [1, 2]},
}
CHAIN_RULES = {
    "conditions": {
        "flag": {"nesterov": True},
        "nesterov": {"optimizer": "sgd", "momentum": [0.5, 0.9]},
        "momentum": {"optimizer": ["sgd", "rmsprop"]},
    },
    "exclude": [{"nesterov": True, "lr": 1}, {"optimizer": "adam", "momentum": 0.0}, {"flag": 1, "momentum": 0.9}],
}


def loss(point) -> float:
    """Adam is good, and best is sgd with the right momentum."""
    off = {"adam": 0.1, "sgd": 0.0, "rmsprop": 0.3}[point["optimizer"]]
    best = {"adam": -3, "sgd": -1, "rmsprop": -4}[point["optimizer"]]
    rate = (np.log10(point["lr"]) - best) ** 2
    return float(off + 0.1 * rate + 2 * (point["momentum"] - 0.8) ** 2 if "momentum" in point else off + 0.1 * rate)


def searched(space, trials, seed="s"):
    known = []
    for number in range(trials):
        point = propose(space, "minimize", known, number=number, seed=seed).items[0].point
        known.append(Observation(number, point, loss(point)))
    return known


def test_a_proposed_point_has_the_parameters_that_a_random_one_with_its_values_would_have():
    config = config_of(TRAINING, **RULES)
    space = Space.of(config)

    known = searched(space, 16)

    for one in known:
        assert ("momentum" in one.point) == (one.point["optimizer"] == "sgd")
        assert one.point["hidden"] == 4 * one.point["width"]
        assert restored(config, kept(config, one.point)) == one.point
    names = {tuple(random.point(config, number, "s")) for number in range(20)}
    assert {tuple(one.point) for one in known} == names


def test_a_search_finds_the_best_branch_and_the_best_of_the_parameter_that_only_it_has():
    known = searched(space_of(TRAINING, **RULES), 40)

    best = min(known, key=lambda one: one.value)
    assert best.point["optimizer"] == "sgd"
    assert best.point["momentum"] == pytest.approx(0.8, abs=0.08)


def test_what_a_search_would_draw_for_an_absent_parameter_makes_no_other_row():
    space = space_of(TRAINING, **RULES)
    momentum = next(place for place, one in enumerate(space.dimensions) if one.paths == (("momentum",),))
    drawn = space.drawn(np.random.default_rng(0).random((40, len(space.dimensions))))

    rows = space.canonical(drawn)

    others = drawn.copy()
    others[:, momentum] = 1 - others[:, momentum]
    adam = space.encode({"optimizer": "adam", "lr": 0.1, "width": 8})
    is_off = rows[:, momentum] == ABSENT
    assert 10 < is_off.sum() < 40
    assert (space.canonical(others)[is_off] == rows[is_off]).all()
    assert adam == space.encode({"optimizer": "adam", "lr": 0.1, "width": 8, "momentum": 0.3})
    assert adam[momentum] == ABSENT


def test_every_point_of_a_small_space_is_listed_once_and_comes_back():
    space = space_of(CHAIN, **CHAIN_RULES)
    every = [{"optimizer": "adam", "lr": lr} for lr in (1, 2)]
    every += [{"optimizer": "rmsprop", "momentum": m, "lr": lr} for m in (0.0, 0.5, 0.9) for lr in (1, 2)]
    every += [{"optimizer": "sgd", "momentum": 0.0, "lr": lr} for lr in (1, 2)]
    every += [{"optimizer": "sgd", "momentum": m, "nesterov": False, "lr": lr} for m in (0.5, 0.9) for lr in (1, 2)]
    every += [{"optimizer": "sgd", "momentum": 0.5, "nesterov": True, "flag": 1, "lr": 2}]

    rows = space.listed()
    points = [space.decode(row) for row in rows]

    assert space.size() == len(rows) == len(every)
    assert all(point in every for point in points)
    assert all(point in points for point in every)
    assert [space.encode(point) for point in points] == [tuple(row) for row in rows]


def test_no_point_of_a_small_space_twice_until_all_are_used():
    space = space_of(CHAIN, **CHAIN_RULES)
    known = []
    for number in range(space.size() + 1):
        item = propose(space, "minimize", known, number=number, seed="s", alternatives=2).items[0]
        known.append(Observation(number, item.point, item.point["lr"] + item.point.get("momentum", 0.4)))

    assert len({str(one.point) for one in known[:-1]}) == space.size()
    assert item.why.phase == "repeat"


def test_a_large_space_has_no_duplicates_either():
    letters = {name: {"values": [f"v{i}" for i in range(12)]} for name in "abcd"}
    rules = {name: {"a": ["v0", "v1"]} for name in "bcd"}
    space = space_of(letters, conditions=rules)
    assert space.size() == 10 + 2 * 12**3

    known = []
    for number in range(24):
        point = propose(space_of({**letters, "e": {"values": [1, 2, 3, 4]}}, conditions=rules), "minimize", known,
                        number=number, seed="s").items[0].point  # fmt: skip
        known.append(Observation(number, point, float(point["a"] != "v0") + 0.1 * point["e"]))

    assert len({str(one.point) for one in known}) == 24
    assert any("b" in one.point for one in known)


def test_points_of_a_sweep_without_the_condition_count_and_those_without_the_parameter_only_where_it_is_absent():
    """They are the trials of prior sweeps."""
    config = config_of(TRAINING, **RULES)
    everything = {"optimizer": "adam", "momentum": 0.5, "lr": 0.1, "width": 8}
    lacking = {"optimizer": "sgd", "lr": 0.1, "width": 8}
    space, without = Space.of(config), space_of(TRAINING)

    assert space.encode(everything) == space.encode({**lacking, "optimizer": "adam"})
    assert space.encode(lacking) is None
    assert without.encode(lacking) is None
    assert without.encode(everything) is not None
    assert not is_in_space(config, lacking)


def test_linked_parameters_exist_together():
    parameters = {"kind": {"values": ["a", "b"]}, "x": {"values": [1, 2, 3]}, "y": {"values": [7, 9, 8]}}
    rule = {"kind": "b"}
    space = space_of(parameters, linked=[["x", "y"]], conditions={"x": rule, "y": rule})

    points = [space.decode(row) for row in space.listed()]

    assert space.size() == 4
    assert {"kind": "a"} in points
    assert {"kind": "b", "x": 2, "y": 9} in points


def test_a_nested_group_exists_with_a_model_of_its_name():
    groups = {f"{kind}": {"parameters": {"depth": {"min": 1, "max": 9}}} for kind in ("forest", "boosting")}
    parameters = {"model": {"values": ["forest", "boosting"]}, **groups}
    space = space_of(parameters, conditions={kind: {"model": kind} for kind in groups})

    points = [space.decode(row) for row in space.listed()]

    assert len(points) == space.size() == 18
    assert all(list(point) == ["model", point["model"]] for point in points)


def test_a_parameter_that_no_point_can_have_is_no_dimension():
    parameters = {
        "a": {"values": [1, 2]},
        "b": {"values": [1, 2]},
        "c": {"min": 0.0, "max": 1.0},
        "x": {"min": 0, "max": 9},
    }
    space = space_of(parameters, conditions={"b": {"a": 1}, "c": {"b": 2, "a": 2}})

    assert [one.paths for one in space.dimensions] == [(("a",),), (("b",),), (("x",),)]
    assert space.size() == 30


def test_few_points_that_exclusions_leave_are_sampled_with_what_they_have():
    others = [f"v{i}" for i in range(1, 60)]
    parameters = {name: {"values": ["v0", *others]} for name in "abc"} | {"x": {"min": 0.0, "max": 1.0}}
    rules = {"exclude": [{name: others} for name in "abc"], "conditions": {"x": {"a": "v0"}, "b": {"a": "v1"}}}
    space = space_of(parameters, **rules)

    rows = space.sample(np.random.default_rng(0), 200)

    assert space.allowed(rows).all()
    points = [space.decode(row) for row in rows]
    assert {tuple(point) for point in points} == {("a", "c", "x")}
    assert len({point["x"] for point in points}) > 20


def test_absent_coordinates_tell_nothing_and_are_at_one_distance_whatever_others_have():
    kernel = Kernel(np.array([False, True]), np.array([0.4, 0.7]), 1.0, 1e-3, trends=True)
    absent, low, middle, high = np.array([[ABSENT, 0.0], [0.1, 0.0], [0.5, 0.0], [0.9, 0.0]])[:, None]

    plain = kernel._replace(trends=False)
    assert plain.between(absent, absent)[0, 0] == pytest.approx(plain.between(low, low)[0, 0])
    assert plain.between(absent, low)[0, 0] == pytest.approx(plain.between(absent, high)[0, 0])
    assert plain.between(absent, middle)[0, 0] == pytest.approx(plain.between(np.array([[HEIGHT, 0.0]]), 0 * low)[0, 0])
    rows = np.random.default_rng(1).random((60, 2))
    rows[::3, 0], rows[:, 1] = ABSENT, np.round(rows[:, 1])
    assert np.linalg.eigvalsh(kernel.between(rows, rows)).min() > -1e-9


def test_where_a_parameter_is_absent_the_model_has_one_value():
    rng = np.random.default_rng(3)
    kind = rng.integers(0, 2, 40).astype(float)
    x = np.stack([np.where(kind == 1, rng.random(40), ABSENT), kind], axis=1)
    y = np.where(kind == 1, (x[:, 0] - 0.3) ** 2, 0.2)

    model = GaussianProcess.fit(x, np.array([False, True]), y)

    means, _ = model.predict(np.array([[ABSENT, 0.0], [0.3, 1.0], [0.9, 1.0]]))
    assert means == pytest.approx([0.2, 0.0, 0.36], abs=0.02)


def test_first_free_compares_what_both_points_have():
    space = space_of(TRAINING, **RULES)
    known = searched(space, 10)
    proposals = propose(space, "minimize", known, number=10, seed="s", alternatives=4)
    points = [item.point for item in proposals.items]

    assert proposals.first_free([points[0]]) == 1
    assert proposals.first_free(points) is None
    assert proposals.first_free([{**points[0], "optimizer": "rmsprop", "lr": 1e-5}]) == 0


def test_the_same_arguments_have_the_same_answer_in_any_order():
    known = [*searched(space_of(TRAINING, **RULES), 12)]
    known[3] = known[3]._replace(value=None, running=True)

    first = propose(space_of(TRAINING, **RULES), "minimize", known, number=12, seed="s", alternatives=3)
    again = propose(space_of(TRAINING, **RULES), "minimize", known[::-1], number=12, seed="s", alternatives=3)

    assert first.items == again.items
