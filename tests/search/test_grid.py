"""Grid points: W&B's order, each once, by arithmetic."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmsweep import search
from slurmsweep.errors import SweepFileError
from slurmsweep.sweepfile.config import check

VECTORS = json.loads((Path(__file__).parent.parent / "data" / "wandb_vectors.json").read_text())["vectors"]
ORDERS = [pytest.param(v, id=v["id"]) for v in VECTORS if v["kind"] == "grid_order" and not v.get("existing_runs")]


def grid(parameters, **more):
    return check({"method": "grid", "program": "t.py", "parameters": parameters, **more}, "test").config


def points(config) -> list[dict]:
    return [search.parameters(config, number, "seed") for number in range(search.run_count(config))]


@pytest.mark.parametrize("vector", ORDERS)
def test_points_come_in_wandbs_order(vector):
    if "raised" in vector["expect"]:
        with pytest.raises(SweepFileError):
            grid(vector["config"]["parameters"])
        return
    made = points(grid(vector["config"]["parameters"]))

    assert made == vector["expect"]["order"]
    assert [list(point) for point in made] == [list(point) for point in vector["expect"]["order"]]


def test_ten_million_points_are_never_listed():
    config = grid({"a": {"min": 0, "max": 10**9 - 1}, "b": {"values": list(range(10))}})

    assert search.run_count(config) == 10**10
    assert search.parameters(config, 10**10 - 1, "seed") == {"a": 10**9 - 1, "b": 9}
    assert search.parameters(config, 12_345, "seed") == {"a": 1234, "b": 5}


@pytest.mark.parametrize("number", [0, 2**53 + 1, 10**17 + 1, 10**18])
@pytest.mark.parametrize(
    "parameter", [{"min": 0, "max": 10**18}, {"distribution": "q_uniform", "min": 7, "max": 10**19, "q": 3}]
)
def test_a_point_is_found_again_also_among_more_integers_than_floats_can_tell_apart(parameter, number):
    config = grid({"a": parameter})
    point = search.parameters(config, number, "seed")

    assert search.number_of(config, point, "seed") == number
    assert search.number_of(config, {"a": -1}, "seed") is None


@pytest.mark.parametrize("value", [10**400, -(10**400), float("inf"), float("nan"), 2.5, True, "1", None, [1], {}])
def test_a_value_that_a_range_has_not_is_on_no_grid(value):
    for parameter in ({"min": 0, "max": 9}, {"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.25}):
        assert search.number_of(grid({"a": parameter}), {"a": value}, "seed") is None


def test_steps_carry_no_noise_and_are_as_many_as_wandbs():
    made = points(grid({"d": {"distribution": "q_uniform", "min": 1, "max": 1.6, "q": 0.1}}))

    # numpy.arange(1, 1.6, 0.1) leaves the end out in principle, and admits it by rounding: W&B's count is kept
    assert made == [{"d": value} for value in (1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6)]
    assert points(grid({"d": {"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25}}))[-1] == {"d": 0.75}


def test_duplicates_are_visited_once_and_keep_what_differs():
    assert points(grid({"x": {"values": [1, 1.0, "1", True, 1]}})) == [{"x": 1}, {"x": "1"}, {"x": True}]
    assert points(grid({"x": {"values": [[2, 3], [2, 3], {"a": 1, "b": 2}, {"b": 2, "a": 1}]}})) == [
        {"x": [2, 3]},
        {"x": {"b": 2, "a": 1}},
    ]


def test_constants_alone_are_one_point():
    assert points(grid({"a": {"value": 1}, "b": {"value": [2]}})) == [{"a": 1, "b": [2]}]


def test_run_cap_cuts_the_count():
    assert search.run_count(grid({"x": {"min": 1, "max": 10}}, run_cap=4)) == 4
    assert search.run_count(grid({"x": {"min": 1, "max": 10}}, run_cap=40)) == 10


#: What a command line can carry: no NUL, no half of a surrogate pair.
SHOWN = st.characters(exclude_characters="\0", exclude_categories=["Cs"])

AXES = st.dictionaries(
    st.from_regex(r"[a-z]{1,3}", fullmatch=True),
    st.lists(
        st.one_of(st.integers(), st.text(SHOWN, max_size=3), st.booleans(), st.none()),
        min_size=1,
        max_size=4,
    ),
    min_size=1,
    max_size=4,
)


@given(AXES)
def test_every_number_is_a_point_of_its_own(axes):
    config = grid({name: {"values": values} for name, values in axes.items()})

    made = [repr(point) for point in points(config)]

    assert len(set(made)) == len(made) == search.run_count(config)
