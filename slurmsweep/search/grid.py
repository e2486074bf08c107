"""Convert the number of a trial of a grid to its point and back, in W&B's order (``sweeps/grid_search.py``).

Names are sorted by code point at each level of nesting, and the last varies fastest. The product is never listed: ten
million points cost nothing, also with exclusions and conditions. Excluded points are counted and not listed: for the
remaining axes only those rules matter that all values chosen so far meet.

A parameter that exists only with others stands right behind the last of them: only there is known whether it exists,
and nothing has to be remembered for longer than that. Where it does not exist its axis has one position without value.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from slurmsweep.errors import UsageError
from slurmsweep.search.axes import Axis, axes_of
from slurmsweep.search.flat import found, unflatten
from slurmsweep.sweepfile.plain import identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.extensions import Exclusion
    from slurmsweep.sweepfile.presence import Computed, Condition
    from slurmsweep.sweepfile.space import Names

#: The numbers of the rules that all values chosen so far meet.
Rules = frozenset[int]

#: Rules in all sets of rules at all axes, beyond which counting would take minutes and gigabytes: rules about axes far
#: from each other, by dozens.
_MOST_RULES = 10_000_000


class Grid:
    """The numbered points of a grid.

    Args:
        axes: the axes, the slowest first.
        exclude: the rules for points that are left out.
        conditions: of parameters that exist only with others.
        computed: parameters that are computed from those of the axes.
    """

    def __init__(
        self,
        axes: Sequence[Axis],
        exclude: Sequence[Exclusion],
        conditions: Sequence[Condition] = (),
        computed: Sequence[Computed] = (),
    ) -> None:
        gates = {path: rule for path, rule in conditions if any(path in axis.paths for axis in axes)}
        self._axes = _behind_what_they_need(axes, gates) if gates else tuple(axes)
        self._computed = computed
        numbers = {path: len(exclude) + number for number, path in enumerate(gates)}
        # linked parameters exist together, so the condition of the first one is that of the axis
        self._gates = [numbers.get(axis.paths[0]) for axis in self._axes]
        self._all_rules: Rules = frozenset((*range(len(exclude)), *(gate for gate in self._gates if gate is not None)))
        rules = (*exclude, *gates.values())
        #: for each axis, the positions that meet a rule about it, by the number of the rule
        self._met: list[dict[int, frozenset[int]]] = []
        for axis in self._axes:
            about = ((number, positions_met(axis, rule)) for number, rule in enumerate(rules))
            self._met.append({number: met for number, met in about if met is not None})
        self._counts: dict[tuple[int, Rules], int] = {}

    def size(self) -> int:
        """Return the number of points. Raises UsageError if counting them is too much work."""
        return self._count(0, self._all_rules)

    def point(self, number: int) -> dict[str, Any]:
        """Return the point of that number. Raises ValueError unless 0 <= number < :meth:`size`."""
        if not 0 <= number < self.size():
            raise ValueError(f"this grid has {self.size()} points, and none with the number {number}")
        rules = self._all_rules
        chosen: list[tuple[Names, Any]] = []
        for depth, axis in enumerate(self._axes):
            is_there = self._is_there(depth, rules)
            position, number, rules = self._descend(depth, rules, number)
            if is_there:
                chosen += zip(axis.paths, axis.values(position), strict=True)
        if self._computed:
            from slurmsweep.sweepfile.presence import with_computed  # few sweeps have one

            chosen = list(with_computed(dict(chosen), self._computed).items())
        return unflatten(chosen)

    def number(self, point: dict[str, Any]) -> int | None:
        """Return the number of a point; None if the point is not on the grid, or excluded."""
        rules, number = self._all_rules, 0
        chosen: dict[Names, Any] = {}
        for depth, axis in enumerate(self._axes):
            told = found(point, axis.paths)
            if self._is_there(depth, rules):
                position = axis.find(tuple(told.get(path) for path in axis.paths))
            else:
                position = None if told else 0
            if position is None:
                return None
            after = rules
            for first, last, met in self._runs(depth, rules):
                number += max(0, min(last, position) - first) * self._count(depth + 1, met)
                after = met if first <= position < last else after
            rules = after
            chosen |= told
        if self._computed:
            from slurmsweep.sweepfile.presence import agrees  # few sweeps have one

            if not agrees(found(point, [one.path for one in self._computed]), chosen, self._computed):
                return None
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
        held = 0
        for depth in range(first, len(self._axes) - 1):
            following: set[Rules] = set()
            for one in possible[-1]:
                new = {met for _, _, met in self._runs(depth, one)} - following
                held += sum(map(len, new)) + len(new)
                following |= new
                if held > _MOST_RULES:
                    raise UsageError("the exclusions and conditions of this grid are too many to count its points")
            possible.append(following)
        for depth in range(len(self._axes) - 1, first - 1, -1):
            for one in possible[depth - first]:
                runs = self._runs(depth, one)
                self._counts[depth, one] = sum((end - start) * self._count(depth + 1, met) for start, end, met in runs)

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
        """Yield runs of positions, from ``first`` to before ``last``, with the rules that they still meet.

        The rule that says whether the axis is there is not among them: it has said so. An axis that is not there has
        one position, which meets no rule about it.
        """
        gate = self._gates[depth]
        if gate is not None:
            if gate not in rules:
                yield 0, 1, self._unmet(depth, rules)
                return
            rules -= {gate}
        ordinary, size = self._unmet(depth, rules), self._axes[depth].size
        about = {rule: met for rule, met in self._met[depth].items() if rule in rules}
        special = sorted({position for met in about.values() for position in met})
        for before, here in pairwise([-1, *special, size]):
            if before + 1 < here:
                yield before + 1, here, ordinary
            if here < size:
                yield here, here + 1, ordinary.union(rule for rule, met in about.items() if here in met)

    def _is_there(self, depth: int, rules: Rules) -> bool:
        """Return whether the axis has its values where the ones before it meet ``rules``."""
        gate = self._gates[depth]
        return gate is None or gate in rules

    def _unmet(self, depth: int, rules: Rules) -> Rules:
        """Return the rules that every other position meets: those that are not about this axis."""
        return frozenset(rule for rule in rules if rule not in self._met[depth])


def _behind_what_they_need(axes: Sequence[Axis], gates: dict[Names, Exclusion]) -> tuple[Axis, ...]:
    """Return the axes in their order, but each one with a condition right behind the last one that it needs."""
    place = {path: number for number, axis in enumerate(axes) for path in axis.paths}
    needs = [{place[other] for other, _ in gates.get(axis.paths[0], ()) if other in place} for axis in axes]
    ordered: dict[int, None] = {}
    ready = [number for number in reversed(range(len(axes))) if not needs[number]]
    waiting = [number for number in reversed(range(len(axes))) if needs[number]]
    while ready:
        number = ready.pop()
        ordered[number] = None
        ready += [one for one in waiting if number in needs[one] and needs[one] <= ordered.keys()]
    return tuple(axes[number] for number in ordered)


def positions_met(axis: Axis, rule: Exclusion) -> frozenset[int] | None:
    """Return the positions on an axis that meet a rule; None for a rule that is not about the axis."""
    wanted = {path: values for path, values in rule if path in axis.paths}
    if not wanted:
        return None
    if len(axis.paths) == 1:  # it may have a billion positions: look the values up
        found = (axis.find((value,)) for value in wanted[axis.paths[0]])
        return frozenset(position for position in found if position is not None)
    keys = [set(map(identity, wanted[path])) if path in wanted else None for path in axis.paths]
    rows = (zip(axis.values(position), keys, strict=True) for position in range(axis.size))
    return frozenset(
        position for position, row in enumerate(rows) if all(key is None or identity(one) in key for one, key in row)
    )


#: The latest configurations with their grids.
_GRIDS: deque[tuple[SweepConfig, Grid]] = deque(maxlen=8)


def grid_of(config: SweepConfig) -> Grid:
    """Return the grid of a configuration; for the latest eight configurations it is made once.

    A configuration is found by identity, because a comparison of contents could mean a million values.
    """
    for known, grid in list(_GRIDS):
        if known is config:
            return grid
    ours = config.extensions
    grid = Grid(axes_of(config.parameters, ours), ours.exclude, ours.conditions, ours.computed)
    _GRIDS.append((config, grid))
    return grid
