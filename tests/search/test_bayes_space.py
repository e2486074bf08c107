"""Points to rows of numbers and back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from bayes_spaces import FORMS, config_of, space_of

from slurmsweep.errors import UsageError
from slurmsweep.search import random
from slurmsweep.search.bayes import Space
from slurmsweep.search.kept import is_in_space, kept
from slurmsweep.state.chosen import ChosenPoint


def uniform(count, space, seed=0):
    return np.random.default_rng(seed).random((count, len(space.dimensions)))


@pytest.mark.parametrize("form", FORMS)
def test_every_row_is_a_point_of_that_type_which_has_this_row(form):
    parameter, kind = FORMS[form]
    space = space_of({"p": parameter})

    for row in space.drawn(uniform(50, space)):
        point = space.decode(row)
        again = space.encode(point)
        assert isinstance(point["p"], kind)
        assert kind is not int or type(point["p"]) is int
        assert again == pytest.approx(tuple(row), abs=1e-8)
        assert space.decode(again)["p"] == (pytest.approx(point["p"]) if kind is float else point["p"])


@pytest.mark.parametrize("form", FORMS)
def test_what_random_search_draws_has_a_row_and_comes_back(form):
    config = config_of({"p": FORMS[form][0]})
    space = Space.of(config)

    for number in range(60):
        drawn = random.point(config, number, "seed")
        assert is_in_space(config, drawn)
        ChosenPoint(kept(config, drawn)).check(config)
        back = space.decode(space.encode(drawn))
        if isinstance(drawn["p"], float) or form == "many integers":
            tail = form in {"normal", "log_normal", "beta"}
            assert back["p"] == pytest.approx(drawn["p"], rel=0.2 if tail else 1e-6, abs=1e-8)
        else:
            assert back == drawn


@pytest.mark.parametrize("form", ["q_uniform", "q_log_uniform_values", "q_normal", "q_beta", "q_uniform by fractions"])
def test_a_quantised_row_is_a_value_that_random_search_can_draw(form):
    config = config_of({"p": FORMS[form][0]})
    drawn = {random.quantile(config.parameters["p"], x) for x in np.linspace(1e-4, 1 - 1e-4, 2_001)}
    space = Space.of(config)

    assert {space.decode(row)["p"] for row in space.listed()} == drawn


def test_the_ends_of_a_range_are_not_left_by_rounding():
    space = space_of({"lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 0.3}})

    assert [space.decode([0.0]), space.decode([1.0])] == [{"lr": 1e-5}, {"lr": 0.3}]


def test_numbers_among_values_stand_by_size_and_on_a_log_scale_where_they_are_powers():
    space = space_of({"batch": {"values": [64, 16, 32, 128, 256]}, "lr": {"values": [0, 1e-4, 1e-3, 1e-2]}})

    assert [space.encode({"batch": b, "lr": 0})[0] for b in (16, 32, 64, 128, 256)] == pytest.approx(
        [0, 0.25, 0.5, 0.75, 1]
    )
    assert [space.encode({"batch": 16, "lr": lr})[1] for lr in (0, 1e-4, 1e-3, 1e-2)] == pytest.approx(
        [0, 1 / 3, 2 / 3, 1]
    )
    assert not space.unordered.any()


def test_texts_and_booleans_have_no_order():
    space = space_of({"a": {"values": ["x", "y"]}, "b": {"values": [True, False]}, "c": {"values": [1, "auto"]}})

    assert space.unordered.all()


def test_a_value_without_probability_is_never_drawn():
    space = space_of({"p": {"values": [1, 2, 3], "probabilities": [0.2, 0.0, 0.8]}})

    drawn = [space.decode(row)["p"] for row in space.drawn(uniform(2000, space))]

    assert set(drawn) == {1, 3}
    assert 300 < drawn.count(1) < 500


def test_nested_parameters_come_in_the_order_of_random_search():
    parameters = {
        "z": {"min": 0.0, "max": 1.0},
        "optimizer": {"parameters": {"name": {"values": ["adam", "sgd"]}, "lr": {"min": 0.0, "max": 1.0}}},
        "a": {"value": [1, 2]},
    }
    config = config_of(parameters)
    drawn = random.point(config, 0, "seed")
    space = Space.of(config)

    back = space.decode(space.encode(drawn))

    assert repr(back) == repr(drawn)


def test_linked_parameters_are_one_dimension():
    parameters = {"lr": {"values": [0.1, 0.01, 0.001]}, "batch": {"values": [512, 128, 32]}, "x": {"min": 0, "max": 1}}
    space = space_of(parameters, linked=[["lr", "batch"]])

    pairs = {(p["lr"], p["batch"]) for p in map(space.decode, space.listed())}

    assert pairs == {(0.1, 512), (0.01, 128), (0.001, 32)}
    assert len(space.dimensions) == 2
    assert not space.unordered.any()


def test_excluded_points_are_not_listed_counted_or_sampled():
    parameters = {"a": {"values": ["x", "y"]}, "b": {"min": 0, "max": 4}, "c": {"value": 1}}
    space = space_of(parameters, exclude=[{"a": "x", "b": [0, 1, 2, 3], "c": 1}, {"b": 4, "a": "y"}])

    listed = [space.decode(row) for row in space.listed()]

    assert space.size() == len(listed) == 5
    assert {(p["a"], p["b"]) for p in listed} == {("x", 4), ("y", 0), ("y", 1), ("y", 2), ("y", 3)}
    assert space.allowed(space.sample(np.random.default_rng(0), 100)).all()


def test_few_points_that_exclusions_leave_in_a_huge_space_are_sampled():
    others = [f"v{i}" for i in range(1, 60)]
    parameters = {name: {"values": ["v0", *others]} for name in "abcd"} | {"x": {"min": 0.0, "max": 1.0}}
    parameters["n"] = {"min": 0, "max": 10**12}
    space = space_of(parameters, exclude=[{name: others} for name in "abcd"])

    rows = space.sample(np.random.default_rng(0), 400)

    assert len(rows) >= 50
    assert space.allowed(rows).all()
    assert {space.decode(row)["a"] for row in rows} == {"v0"}
    assert len({space.decode(row)["n"] for row in rows}) > 40


def test_exclusions_that_leave_nothing_are_an_error():
    with pytest.raises(UsageError, match="leave no point"):
        space_of({"a": {"values": [1, 2]}, "x": {"min": 0.0, "max": 1.0}}, exclude=[{"a": [1, 2]}])


def test_old_values_are_clipped_put_between_or_not_used():
    space = space_of({"a": {"min": 0.0, "max": 1.0}, "n": {"values": [10, 20]}, "o": {"values": ["a", "b"]}})

    assert space.encode({"a": 7, "n": 15, "o": "b"}) == (1.0, 0.5, 1.0)
    assert space.encode({"a": -7, "n": 1000, "o": "a"}) == (0.0, 1.0, 0.0)
    assert space.encode({"a": 0.5, "n": 10, "o": "c"}) is None
    assert space.encode({"a": "text", "n": 10, "o": "a"}) is None
    assert space.encode({"a": math.nan, "n": 10, "o": "a"}) is None
    assert space.encode({"a": 0.5}) is None


def test_integers_beyond_all_floats_have_rows_and_may_be_kept_by_claims():
    config = config_of({"a": {"min": -(10**400), "max": 10**400}})
    space = Space.of(config)

    point = space.decode((0.75,))

    assert abs(point["a"] - 10**400 // 2) <= 1
    assert space.encode(point) == (0.75,)
    assert is_in_space(config, point)
    ChosenPoint(kept(config, point)).check(config)


def test_a_huge_finite_space_is_counted_exactly():
    space = space_of({"a": {"min": 0, "max": 10**40 - 1}, "b": {"values": ["x", "y"]}}, exclude=[{"a": 5, "b": "x"}])

    assert space.size() == 2 * 10**40 - 1


def test_an_exclusion_of_a_value_that_is_never_drawn_leaves_all_others():
    parameters = {
        "a": {"values": [1, 10, 100], "probabilities": [0.5, 0, 0.5]},
        "b": {"values": ["x", "y"]},
    }
    space = space_of(parameters, exclude=[{"a": 10}, {"a": 100}])

    assert space.size() == len(space.listed()) == 2
    assert {space.decode(row)["a"] for row in space.sample(np.random.default_rng(0), 9)} == {1}


@pytest.mark.parametrize("value", [5, 2**53, 10**29, 10**30])
def test_an_exclusion_of_one_of_very_many_integers_leaves_all_others(value):
    for most in (10**30, 10**400):
        space = space_of({"i": {"min": 0, "max": most}}, exclude=[{"i": value}])
        rows = np.append(np.linspace(0, 1, 101), value / most)[:, None]

        assert list(space.allowed(rows)) == [space.decode(row)["i"] != value for row in rows]
