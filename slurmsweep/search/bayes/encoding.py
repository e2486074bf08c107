"""Translate points of a parameter space to rows of numbers that a model can compare, and back.

A row has one coordinate for each parameter that is searched, or for each group of linked ones (:mod:`.dimensions`). A
parameter that a point does not have (``slurmsweep: conditions``) has the coordinate ``ABSENT``, whatever a search would
have drawn for it. So points that are the same trial have the same row.

A point with a value that has no coordinate (trials of a prior sweep) has no row, so it is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from slurmsweep.errors import UsageError
from slurmsweep.search.axes import grouped
from slurmsweep.search.bayes.dimensions import dimension_of
from slurmsweep.search.flat import unflatten
from slurmsweep.search.grid import Grid, positions_met
from slurmsweep.search.random import quantile
from slurmsweep.sweepfile.presence import Condition, both, existing, holds, with_computed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slurmsweep.search.bayes.arrays import Array, Mask
    from slurmsweep.search.bayes.dimensions import Dimension, Positions
    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.extensions import Exclusion
    from slurmsweep.sweepfile.presence import Computed
    from slurmsweep.sweepfile.space import Names

    #: Dimensions, each with the positions of some of its values: a row meets the rule if it has one of each of them.
    Rule = list[tuple[int, Positions]]

#: The coordinate of a parameter that a point does not have; those of values are 0 or more.
ABSENT = -1.0

#: Finite spaces with at most so many points are listed: then every point is compared, and used once before any again.
_MOST_LISTED = 10_000

#: The smallest share of accepted draws; below it, points are chosen among those that the exclusions leave.
_FEW_ACCEPTED = 0.1

#: Up to so many positions are compared one by one, which is faster than a search in them.
_FEW_POSITIONS = 16


class Space:
    """A parameter space as rows of numbers.

    Args:
        fixed: the values of parameters with one value.
        dimensions: the coordinates of a row.
        exclude: the rules for points that are left out.
        conditions: which parameters only some points have; each stands behind those that it names.
        computed: parameters that follow from the others, which are no coordinates.
    """

    def __init__(
        self,
        fixed: Mapping[Names, Any],
        dimensions: Sequence[Dimension],
        exclude: Sequence[Exclusion],
        conditions: Sequence[Condition],
        computed: Sequence[Computed],
    ) -> None:
        self._fixed = fixed
        needs: dict[Names, Exclusion | None] = {}
        for path, rule in conditions:
            needs[path] = self._expanded(rule, needs)
        self.dimensions = tuple(one for one in dimensions if needs.get(one.paths[0], ()) is not None)
        self.unordered: Mask = np.array([not one.ordered for one in self.dimensions], dtype=np.bool_)
        self._conditions = tuple(conditions)
        self._computed = tuple(computed)
        place_of = {path: place for place, one in enumerate(self.dimensions) for path in one.paths}
        gates = {path: rule for path, rule in needs.items() if rule is not None and path in place_of}
        left_out = [found for rule in exclude if (found := self._expanded(rule, needs)) is not None]
        self._axes = {place: one.axis() for place, one in enumerate(self.dimensions) if one.size is not None}
        self._grid = Grid(tuple(self._axes.values()), left_out, [Condition(path, rule) for path, rule in gates.items()])
        if not self._grid.size():
            raise UsageError("the exclusions leave no point of this sweep; exclude less")
        self._rules = [self._positions(rule) for rule in left_out]
        # linked parameters exist together
        self._gates = {place_of[path]: self._positions(rule) for path, rule in gates.items()}

    @classmethod
    def of(cls, config: SweepConfig) -> Space:
        """Return the space of a sweep. Raises UsageError if its exclusions leave no point."""
        fixed: dict[Names, Any] = {}
        dimensions: list[Dimension] = []
        for paths, forms in grouped(config.parameters, config.extensions.linked):
            dimension = dimension_of(paths, forms)
            if dimension is None:
                fixed[paths[0]] = quantile(forms[0], 0.5)
            elif dimension.size == 1:
                fixed |= zip(paths, dimension.values(dimension.low), strict=True)
            else:
                dimensions.append(dimension)
        rules = config.extensions
        return cls(fixed, dimensions, rules.exclude, rules.conditions, rules.computed)

    def size(self) -> int | None:
        """Return the number of points without excluded ones; None if a parameter is continuous."""
        return self._grid.size() if len(self._axes) == len(self.dimensions) else None

    def listed(self) -> Array | None:
        """Return the rows of all points, shape (:meth:`size`, dimensions); None of a space that is not small."""
        size, grids = self.size(), [one.grid for one in self.dimensions]
        if size is None or size > _MOST_LISTED or any(grid is None for grid in grids):
            return None
        always = [place for place in range(len(self.dimensions)) if place not in self._gates]
        rows = np.full((1, len(self.dimensions)), ABSENT)
        for place in (*always, *self._gates):
            grid = grids[place]
            if grid is not None:
                # one row for each value, but only one for all of them where the parameter is absent
                has = self._met(self._gates.get(place, []), rows)
                counts = np.where(has, len(grid), 1)
                column = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
                rows = np.repeat(rows, counts, axis=0)
                rows[:, place] = np.where(np.repeat(has, counts), grid[column], ABSENT)
        return rows[self.allowed(rows)]

    def encode(self, point: Mapping[str, Any]) -> tuple[float, ...] | None:
        """Return the row of a point; None if it has a value that this space has not, or lacks one.

        Values of parameters that such a point does not have in this space (trials of a prior sweep) do not count.
        """
        row = [one.coordinate(point) for one in self.dimensions]

        def meets(rule: Rule) -> bool:
            at = ((self.dimensions[place], row[place], positions) for place, positions in rule)
            return all(here is not None and one.positions(np.array(here)) in positions for one, here, positions in at)

        off = {place for place, rule in self._gates.items() if not meets(rule)}
        if any(coordinate is None and place not in off for place, coordinate in enumerate(row)):
            return None
        return tuple(ABSENT if at is None or place in off else at for place, at in enumerate(row))

    def decode(self, row: Sequence[float] | Array) -> dict[str, Any]:
        """Return the point of a row, nested and ordered as :func:`slurmsweep.search.random.point` makes it."""
        values = dict(self._fixed)
        for dimension, coordinate in zip(self.dimensions, row, strict=True):
            if coordinate != ABSENT:
                values |= zip(dimension.paths, dimension.values(float(coordinate)), strict=True)
        values = with_computed(existing(values, self._conditions), self._computed)
        return unflatten(sorted(values.items(), key=lambda pair: pair[0]))

    def snapped(self, rows: Array) -> Array:
        """Return the closest rows that have a point, shape as given."""
        columns = [one.snapped(rows[:, place]) for place, one in enumerate(self.dimensions)]
        return self.canonical(np.stack(columns, axis=1)) if columns else rows

    def drawn(self, shares: Array) -> Array:
        """Return draws of each parameter from its distribution, also of those that a point then does not have.

        :meth:`canonical` makes rows of them, which may be excluded ones. ``shares``, shape (draws, dimensions), are
        uniform numbers from 0 to 1.
        """
        columns = [one.drawn(shares[:, place]) for place, one in enumerate(self.dimensions)]
        return np.stack(columns, axis=1) if columns else shares

    def canonical(self, rows: Array) -> Array:
        """Return rows with ``ABSENT`` for each parameter that the point of a row does not have."""
        if not self._gates:
            return rows
        found = rows.copy()
        for place, rule in self._gates.items():
            found[~self._met(rule, rows), place] = ABSENT
        return found

    def sample(self, generator: np.random.Generator, count: int) -> Array:
        """Return rows drawn from the parameters' distributions, at most ``count`` and none excluded; at least one."""
        drawn = self.drawn(generator.random((count, len(self.dimensions))))
        rows = self.canonical(drawn)
        if not self._rules:
            return rows
        allowed = rows[self.allowed(rows)]
        if len(allowed) >= _FEW_ACCEPTED * count:
            return allowed
        few = drawn[: max(1, count // 4)]
        for row in few:
            size = self._grid.size()  # may be larger than any of numpy's integers
            chosen = self._grid.point(int.from_bytes(generator.bytes(size.bit_length() // 8 + 8), "big") % size)
            for place in self._axes:
                coordinate = self.dimensions[place].coordinate(chosen)
                row[place] = row[place] if coordinate is None else coordinate
        return self.canonical(few)

    def allowed(self, rows: Array) -> Mask:
        """Return which rows the exclusions leave, shape (rows,)."""
        allowed = np.ones(len(rows), dtype=np.bool_)
        for rule in self._rules:
            allowed &= ~self._met(rule, rows)
        return allowed

    def _met(self, rule: Rule, rows: Array) -> Mask:
        """Return which rows meet a rule, shape (rows,)."""
        met = np.ones(len(rows), dtype=np.bool_)
        for place, positions in rule:
            here = self.dimensions[place].positions(rows[:, place])
            few = len(positions) <= _FEW_POSITIONS
            met &= (here[:, None] == positions).any(axis=1) if few else np.isin(here, positions)
        return met

    def _expanded(self, rule: Exclusion, needs: Mapping[Names, Exclusion | None]) -> Exclusion | None:
        """Return a rule without fixed values, which it always meets, and with what its parameters need to exist.

        A point without a parameter meets no rule about it. None for a rule that no point meets.
        """
        whole = rule
        for path, _ in rule:
            needed = needs.get(path, ())
            if needed is None:
                return None
            whole = both(whole, needed)
        found = []
        for path, values in whole:
            if path not in self._fixed:
                found.append((path, values))
            elif not holds(((path, values),), self._fixed):
                return None
        return tuple(found) if all(values for _, values in found) else None

    def _positions(self, rule: Exclusion) -> Rule:
        """Return the positions of each dimension that a rule is about."""
        found: Rule = []
        for place, axis in self._axes.items():
            dimension, met = self.dimensions[place], positions_met(axis, rule)
            if met is not None:
                coordinates = np.array([dimension.at(position) for position in sorted(met)])
                found.append((place, dimension.positions(coordinates)))
        return found
