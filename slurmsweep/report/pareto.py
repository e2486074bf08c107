"""Find the points that no other one dominates: the choice that is left when several numbers count."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

K = TypeVar("K")


def non_dominated(points: Mapping[K, Sequence[float]]) -> list[K]:
    """Return the keys of the points that no other one dominates.

    One point dominates another if it is at most as large in each number, and smaller in one.

    Equal points do not dominate each other: all of them are in, or none. Points with a NaN are compared with nothing,
    and are left out.

    O(n log n) comparisons for n points: they are sorted, and each is looked up by bisection among those before it.
    With three numbers the list that is looked into may become as long as the front; keeping it sorted then also moves
    memory, which for 100,000 points is little beside the comparisons (``benchmarks/pareto.py``).

    Args:
        points: one, two or three numbers each, all as many. Smaller is better.

    Raises:
        ValueError: points of other lengths.
    """
    keys: dict[tuple[float, ...], list[K]] = {}
    for key, point in points.items():
        if not any(map(math.isnan, point)):
            keys.setdefault(tuple(point), []).append(key)
    lengths = {len(point) for point in keys}
    if len(lengths) > 1 or not lengths <= {1, 2, 3}:
        raise ValueError(f"points of {sorted(lengths)} numbers")
    found: list[K] = []
    stairs = _Stairs()
    for point in sorted(keys):  # whatever dominates a point comes before it
        second, third = (*point[1:], 0.0, 0.0)[:2]
        if stairs.add(second, third):
            found += keys[point]
    return found


class _Stairs:
    """The non-dominated pairs of those added so far: firsts ascend strictly while seconds descend strictly."""

    def __init__(self) -> None:
        self._firsts: list[float] = []
        self._seconds: list[float] = []

    def add(self, first: float, second: float) -> bool:
        """Add a pair; return False, and change nothing, if a pair that is here is at most as large in both."""
        below = bisect_right(self._firsts, first)
        if below and self._seconds[below - 1] <= second:
            return False
        start = bisect_left(self._firsts, first)
        end = start
        while end < len(self._seconds) and self._seconds[end] >= second:
            end += 1  # each is removed once
        self._firsts[start:end] = [first]
        self._seconds[start:end] = [second]
        return True
