"""Convert the number of a trial of a grid to its point and back, in W&B's order (``sweeps/grid_search.py``).

Names are sorted by code point at each level of nesting, and the last varies fastest. The product is never listed: ten
million points cost nothing, also with exclusions. Excluded points are counted and not listed: for the remaining axes
only those rules matter that all values chosen so far meet.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from slurmsweep.search.axes import Axis, axes_of
from slurmsweep.search.flat import reach, unflatten
from slurmsweep.sweepfile.plain import identity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.extensions import Exclusion
    from slurmsweep.sweepfile.space import Names

#: The numbers of the rules that all values chosen so far meet.
Rules = frozenset[int]


class Grid:
    """The numbered points of a grid.

    Args:
        axes: the axes, the slowest first.
        exclude: the rules for points that are left out.
    """

    def __init__(self, axes: tuple[Axis, ...], exclude: tuple[Exclusion, ...]) -> None:
        self._axes = axes
        self._all_rules: Rules = frozenset(range(len(exclude)))
        self._met = [_positions_met(axis, exclude) for axis in axes]
        self._counts: dict[tuple[int, Rules], int] = {}

    def size(self) -> int:
        """Return the number of points."""
        return self._count(0, self._all_rules)

    def point(self, number: int) -> dict[str, Any]:
        """Return the point of that number. Raises ValueError unless 0 <= number < :meth:`size`."""
        if not 0 <= number < self.size():
            raise ValueError(f"this grid has {self.size()} points, and none with the number {number}")
        rules = self._all_rules
        chosen: list[tuple[Names, Any]] = []
        for depth, axis in enumerate(self._axes):
            position, number, rules = self._descend(depth, rules, number)
            chosen += zip(axis.paths, axis.values(position), strict=True)
        return unflatten(chosen)

    def number(self, point: dict[str, Any]) -> int | None:
        """Return the number of a point; None if the point is not on the grid, or excluded."""
        rules, number = self._all_rules, 0
        for depth, axis in enumerate(self._axes):
            values = tuple(reach(point, path) for path in axis.paths)
            position = axis.find(values)
            if position is None:
                return None
            for first, last, met in self._runs(depth, rules):
                number += max(0, min(last, position) - first) * self._count(depth + 1, met)
            rules = self._still_met(depth, rules, position)
        return None if rules else number

    def _count(self, depth: int, rules: Rules) -> int:
        """Return the number of points of the axes from ``depth`` on, if the values before them meet ``rules``."""
        if depth == len(self._axes):
            return 0 if rules else 1
        if (depth, rules) not in self._counts:
            self._count_from(depth, rules)
        return self._counts[depth, rules]

    def _count_from(self, first: int, rules: Rules) -> None:
        """Count the points from the last axis back to the first one: axes may be too many for a recursion."""
        possible = [{rules}]  # the rules that may still be met at each axis
        for depth in range(first, len(self._axes) - 1):
            after = {self._unmet(depth, one) for one in possible[-1]}
            after |= {self._still_met(depth, one, p) for one in possible[-1] for p in self._special(depth, one)}
            possible.append(after)
        for depth in range(len(self._axes) - 1, first - 1, -1):
            for one in possible[depth - first]:
                special = self._special(depth, one)
                ordinary = (self._axes[depth].size - len(special)) * self._count(depth + 1, self._unmet(depth, one))
                counted = sum(self._count(depth + 1, self._still_met(depth, one, p)) for p in special)
                self._counts[depth, one] = ordinary + counted

    def _descend(self, depth: int, rules: Rules, number: int) -> tuple[int, int, Rules]:
        """Return the position on the axis, the number among the points behind it, and the rules that it still meets."""
        for first, last, met in self._runs(depth, rules):
            each = self._count(depth + 1, met)
            behind = (last - first) * each
            if number < behind:
                return first + number // each, number % each, met
            number -= behind
        raise AssertionError("a number below the count is always found")

    def _runs(self, depth: int, rules: Rules) -> Iterator[tuple[int, int, Rules]]:
        """Yield runs of positions, from ``first`` to before ``last``, with the rules that they still meet."""
        ordinary = self._unmet(depth, rules)
        edges = [-1, *self._special(depth, rules), self._axes[depth].size]
        for before, here in pairwise(edges):
            yield before + 1, here, ordinary
            if here < self._axes[depth].size:
                yield here, here + 1, self._still_met(depth, rules, here)

    def _special(self, depth: int, rules: Rules) -> list[int]:
        """Return the sorted positions that meet a rule about this axis."""
        met = self._met[depth]
        return sorted({position for rule in rules if rule in met for position in met[rule]})

    def _unmet(self, depth: int, rules: Rules) -> Rules:
        """Return the rules that every other position meets: those that are not about this axis."""
        return frozenset(rule for rule in rules if rule not in self._met[depth])

    def _still_met(self, depth: int, rules: Rules, position: int) -> Rules:
        met = self._met[depth]
        return frozenset(rule for rule in rules if rule not in met or position in met[rule])


def _positions_met(axis: Axis, exclude: tuple[Exclusion, ...]) -> dict[int, frozenset[int]]:
    """Return the positions that meet each rule about the axis, by the number of the rule."""
    met = {}
    for number, rule in enumerate(exclude):
        wanted = {path: {identity(value): value for value in values} for path, values in rule if path in axis.paths}
        if wanted:
            met[number] = frozenset(_matching(axis, wanted))
    return met


def _matching(axis: Axis, wanted: dict[Names, dict[Any, Any]]) -> Iterator[int]:
    if len(axis.paths) == 1:  # it may have a billion positions: look the values up
        found = (axis.find((value,)) for value in wanted[axis.paths[0]].values())
        yield from (position for position in found if position is not None)
        return
    for position in range(axis.size):
        row = dict(zip(axis.paths, axis.values(position), strict=True))
        if all(identity(row[path]) in values for path, values in wanted.items()):
            yield position


#: The latest configurations with their grids.
_GRIDS: deque[tuple[SweepConfig, Grid]] = deque(maxlen=8)


def grid_of(config: SweepConfig) -> Grid:
    """Return the grid of a configuration; for the latest eight configurations it is made once.

    A configuration is found by identity, because a comparison of contents could mean a million values.
    """
    for known, grid in list(_GRIDS):
        if known is config:
            return grid
    grid = Grid(axes_of(config.parameters, config.extensions), config.extensions.exclude)
    _GRIDS.append((config, grid))
    return grid
