"""Linked parameters, exclusions and shuffled order: what is left of the product, each point once, by arithmetic."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurmsweep import search
from slurmsweep.errors import UsageError
from slurmsweep.search.permutation import shuffled, unshuffled
from slurmsweep.sweepfile.config import check


def config_of(parameters, extensions=None, method="grid", **more):
    data = {"method": method, "program": "t.py", "parameters": parameters, **more}
    return check(data | ({"slurmsweep": extensions} if extensions else {}), "test").config


def points(config, seed="s") -> list[dict]:
    return [search.parameters(config, number, seed) for number in range(search.run_count(config))]


ABC = {"a": {"values": [1, 2, 3]}, "b": {"values": ["x", "y"]}, "c": {"values": [True, False]}}


def test_linked_parameters_move_together():
    config = config_of(
        {"lr": {"values": [0.1, 0.2]}, "bs": {"values": [8, 16]}, "z": {"values": [0, 1]}}, {"linked": [["lr", "bs"]]}
    )

    assert points(config) == [
        {"bs": 8, "lr": 0.1, "z": 0}, {"bs": 8, "lr": 0.1, "z": 1}, {"bs": 16, "lr": 0.2, "z": 0}, {"bs": 16, "lr": 0.2, "z": 1},
    ]  # fmt: skip


def test_linked_parameters_may_be_nested_and_repeat_a_value():
    parameters = {"o": {"parameters": {"n": {"values": ["sgd", "adam", "adam"]}}}, "lr": {"values": [1, 1, 2]}}

    assert points(config_of(parameters, {"linked": [["o.n", "lr"]]})) == [
        {"lr": 1, "o": {"n": "sgd"}}, {"lr": 1, "o": {"n": "adam"}}, {"lr": 2, "o": {"n": "adam"}},
    ]  # fmt: skip


def test_excluded_points_are_left_out_and_the_order_is_kept():
    config = config_of(ABC, {"exclude": [{"a": 2}, {"a": [1, 3], "b": "y", "c": True}]})

    whole = points(config_of(ABC))
    kept = [p for p in whole if p["a"] != 2 and not (p["b"] == "y" and p["c"] is True)]
    assert points(config) == kept


def test_exclusions_of_ten_million_points_are_counted_not_listed():
    parameters = {"n": {"min": 0, "max": 10**7 - 1}, "m": {"min": 0, "max": 10**9}, "k": {"values": [1, 2]}}
    config = config_of(parameters, {"exclude": [{"n": 5, "k": 1}, {"m": [0, 10**9], "n": [7, 8]}], "order": "shuffled"})

    total = search.run_count(config)
    assert total == 10**7 * (10**9 + 1) * 2 - (10**9 + 1) - 2 * 2 * 2
    for number in (0, 1, total // 2, total - 1):
        point = search.parameters(config, number, "seed")
        assert not (point["n"] == 5 and point["k"] == 1)
        assert search.number_of(config, point, "seed") == number


def test_a_shuffled_grid_has_the_same_points_in_another_order():
    straight, mixed = points(config_of(ABC)), points(config_of(ABC, {"order": "shuffled"}), "abcd1234")

    assert sorted(map(repr, mixed)) == sorted(map(repr, straight))
    assert mixed != straight
    assert mixed == points(config_of(ABC, {"order": "shuffled"}), "abcd1234")
    assert mixed != points(config_of(ABC, {"order": "shuffled"}), "another1")


@given(st.integers(1, 3000), st.text(max_size=5))
@settings(max_examples=30)
def test_shuffling_is_a_bijection(size, seed):
    places = [shuffled(number, size, seed) for number in range(size)]

    assert sorted(places) == list(range(size))
    assert [unshuffled(place, size, seed) for place in places] == list(range(size))


VALUES = st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True)
RULES = st.lists(
    st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(0, 2), min_size=1, max_size=2), min_size=1), max_size=3
)


@given(st.lists(VALUES, min_size=3, max_size=3), RULES)
def test_any_exclusions_leave_exactly_the_rest(lists, rules):
    axes = dict(zip("abc", lists, strict=True))
    exclude = [
        {name: [axes[name][i % len(axes[name])] for i in picks] for name, picks in rule.items()} for rule in rules
    ]
    config = config_of(
        {name: {"values": values} for name, values in axes.items()}, {"exclude": exclude} if exclude else None
    )

    left = [
        dict(zip("abc", row, strict=True))
        for row in product(*lists)
        if not any(
            all(dict(zip("abc", row, strict=True))[n] in wanted for n, wanted in rule.items()) for rule in exclude
        )
    ]
    assert points(config) == left
    assert [search.number_of(config, point, "s") for point in left] == list(range(len(left)))


def test_points_off_the_grid_have_no_number():
    config = config_of(
        {
            "x": {"values": [1, 2]},
            "n": {"min": 1, "max": 3},
            "q": {"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.1},
        }
    )

    assert search.number_of(config, {"x": 2, "n": 3, "q": 0.3}, "s") == 2 * 20 + 3 * 2 + 1
    for wrong in (
        {"x": 3, "n": 1, "q": 0.1},
        {"x": 1, "n": 4, "q": 0.1},
        {"x": 1, "n": True, "q": 0.1},
        {"x": 1, "n": 1, "q": 0.15},
        {"x": 1},
    ):
        assert search.number_of(config, wrong, "s") is None
    assert search.number_of(config_of({"x": {"values": [1, 2]}}, {"exclude": [{"x": 1}]}), {"x": 1}, "s") is None


def test_random_points_are_linked_and_never_excluded():
    parameters = {"a": {"values": [1, 2, 3]}, "b": {"values": ["x", "y", "z"]}, "c": {"values": [0, 1]}}
    config = config_of(parameters, {"linked": [["a", "b"]], "exclude": [{"a": 2, "c": 0}]}, method="random")

    drawn = [search.parameters(config, number, "s") for number in range(300)]
    assert {(p["a"], p["b"]) for p in drawn} == {(1, "x"), (2, "y"), (3, "z")}
    assert {p["c"] for p in drawn if p["a"] == 2} == {1}


def test_when_nothing_is_left_to_draw_the_message_says_so():
    config = config_of({"x": {"values": [1, 2]}}, {"exclude": [{"x": [1, 2]}]}, method="random")

    with pytest.raises(UsageError, match="exclude less"):
        search.parameters(config, 0, "s")


def test_the_extensions_survive_the_frozen_form():
    config = config_of(ABC, {"linked": [["b", "c"]], "exclude": [{"a": [1, 2], "b": "x"}], "order": "shuffled"})

    assert type(config).from_json(config.to_json()) == config
