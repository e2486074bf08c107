"""The front is what the definition says: of every point of it, no other one is as good in each number and better in one."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmsweep.report.pareto import non_dominated


def dominates(one, other) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and any(a < b for a, b in zip(one, other, strict=True))


def by_definition(points) -> set:
    sound = {key: point for key, point in points.items() if not any(map(math.isnan, point))}
    return {key for key, point in sound.items() if not any(dominates(other, point) for other in sound.values())}


# few distinct values make ties and duplicates; the others make long fronts
values = st.integers(0, 4).map(float) | st.sampled_from([-0.0, math.inf, -math.inf, math.nan]) | st.floats()


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@given(st.data())
def test_the_front_is_that_of_the_definition(dimensions, data):
    rows = data.draw(st.lists(st.tuples(*[values] * dimensions), max_size=30))
    points = dict(enumerate(rows))

    found = non_dominated(points)

    assert set(found) == by_definition(points)
    assert len(found) == len(set(found))


@pytest.mark.parametrize("dimensions", [2, 3])
@given(st.data())
def test_fronts_of_a_small_lattice_are_those_of_the_definition(dimensions, data):
    points = dict(enumerate(data.draw(st.lists(st.tuples(*[st.integers(0, 3)] * dimensions), max_size=40))))

    assert set(non_dominated(points)) == by_definition(points)


def test_equal_points_are_all_in_and_ties_in_one_number_are_not():
    points = {"a": (1.0, 2.0), "b": (1.0, 2.0), "c": (1.0, 3.0), "d": (0.0, 9.0), "e": (2.0, 2.0)}

    assert sorted(non_dominated(points)) == ["a", "b", "d"]


def test_a_point_with_nan_is_never_in_and_takes_nothing_out():
    assert non_dominated({1: (math.nan, 0.0), 2: (1.0, 1.0)}) == [2]
    assert non_dominated({1: (math.nan, math.nan)}) == non_dominated({}) == []


@pytest.mark.parametrize("points", [{1: (1.0, 2.0), 2: (1.0,)}, {1: ()}, {1: (1.0,) * 4}])
def test_points_that_cannot_be_compared_are_an_error(points):
    with pytest.raises(ValueError, match="numbers"):
        non_dominated(points)


def test_a_front_of_all_points_is_found_whole():
    rng = random.Random(1)
    xs = [rng.random() for _ in range(20_000)]

    assert len(non_dominated({number: (x, -x) for number, x in enumerate(xs)})) == 20_000
    assert len(non_dominated({number: (x, -x, 0.0) for number, x in enumerate(xs)})) == 20_000


class Counted(float):
    """A number that counts how often it is compared."""

    compared = 0
    __hash__ = float.__hash__

    def __lt__(self, other):
        Counted.compared += 1
        return float.__lt__(self, other)

    def __le__(self, other):
        Counted.compared += 1
        return float.__le__(self, other)

    def __ge__(self, other):
        Counted.compared += 1
        return float.__ge__(self, other)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_comparisons_grow_no_faster_than_n_log_n(dimensions):
    def compared(count) -> int:
        rng = random.Random(count)
        # on a sphere: nearly all of them are in the front, the worst there is
        angles = [(rng.uniform(0, math.pi / 2), rng.uniform(0, math.pi / 2)) for _ in range(count)]
        points = {
            number: tuple(Counted(-v) for v in (math.cos(a), math.sin(a) * math.cos(b), math.sin(a) * math.sin(b))[:dimensions])
            for number, (a, b) in enumerate(angles)
        }  # fmt: skip
        Counted.compared = 0
        non_dominated(points)
        return Counted.compared

    few, many = compared(500), compared(8000)
    assert many < few * 16 * 2  # 16 times as many points, each 1.5 times as many comparisons; n² would be 256 times
