"""Translate points of a parameter space to rows of numbers that a model can compare, and back.

A row has one coordinate for each parameter that is searched, or for each group of linked ones:

- *ordered*: a number from 0 to 1. A continuous parameter has its cumulative distribution there, so that a log-uniform
  parameter is even on its log scale; integers and quantised values stand in the middle of their share; numbers among
  ``values`` stand by their size, on a log scale where they are spaced like powers.
- *unordered* (texts, booleans, mixed lists): the position in the list; it only says equal or not equal.
- A parameter that a point does not have (``slurmsweep: conditions``) has the coordinate ``ABSENT``, whatever a search
  would have drawn for it. So points that are the same trial have the same row.

Old values that the space has no more (trials of a prior sweep): numbers are clipped to the range, numbers between two
of ``values`` stand between them, and a point with any other unknown value has no row, so it is not used.
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from slurmsweep.errors import UsageError
from slurmsweep.search.axes import Axis
from slurmsweep.search.beta import beta_cdf
from slurmsweep.search.flat import flatten, reach, unflatten
from slurmsweep.search.grid import Grid, positions_met
from slurmsweep.search.random import quantile
from slurmsweep.sweepfile.plain import identity
from slurmsweep.sweepfile.presence import Condition, existing, with_computed
from slurmsweep.sweepfile.space import Categorical, Constant, Continuous, IntUniform

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from slurmsweep.search.bayes.arrays import Array, Mask
    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.extensions import Exclusion
    from slurmsweep.sweepfile.presence import Computed
    from slurmsweep.sweepfile.space import Names

    #: Integers; of a parameter whose values are more than numpy's integers, floats.
    Positions = npt.NDArray[Any]

Values = tuple[Any, ...]

#: Dimensions, each with the positions of some of its values: a row meets the rule if it has one of each of them.
_Rule = list[tuple[int, "Positions"]]

#: The coordinate of a parameter that a point does not have; those of values are 0 or more.
ABSENT = -1.0

#: An ordered parameter with more values than this is searched as if it had no steps; its values are rounded at the end.
_MOST_STEPS = 4096

#: Finite spaces with at most so many points are listed: then every point is compared, and used once before any again.
MOST_LISTED = 10_000

#: Distributions without a limit are searched up to this share of their tails.
_TAIL = 1e-4

#: The smallest share of accepted draws; below it, points are chosen among those that the exclusions leave.
_FEW_ACCEPTED = 0.1


#: Up to so many positions are compared one by one, which is faster than a search in them.
_FEW_POSITIONS = 16


class Dimension(NamedTuple):
    """One coordinate of a row.

    Attributes:
        paths: the path of its parameter, or the paths of linked parameters.
        ordered: whether distances between its coordinates mean something.
        size: the number of its values; None for a continuous one.
        grid: the coordinates of its values, ascending; None for a continuous one, or one with very many values.
        shares: the probability of each value and of those before it; None where a coordinate is a probability.
        low, high: the first and the last coordinate.
        values: returns the values at a coordinate, one for each path.
        find: returns the coordinate of values; None for unknown ones.
    """

    paths: tuple[Names, ...]
    ordered: bool
    size: int | None
    grid: Array | None
    shares: Array | None
    low: float
    high: float
    values: Callable[[float], Values]
    find: Callable[[Values], float | None]

    def positions(self, coordinates: Array) -> Positions:
        """Return the positions of the values that are closest to coordinates."""
        if self.grid is not None:
            return np.searchsorted((self.grid[1:] + self.grid[:-1]) / 2, coordinates)
        return np.rint(coordinates * float((self.size or 1) - 1))

    def snapped(self, coordinates: Array) -> Array:
        """Return the closest coordinates that have a value."""
        if self.grid is not None:
            return self.grid[self.positions(coordinates)]
        return np.clip(coordinates, self.low, self.high)

    def drawn(self, shares: Array) -> Array:
        """Return the coordinates below which these shares of all draws of a random search lie."""
        if self.grid is None or self.shares is None:
            return self.snapped(shares)
        return self.grid[np.minimum(np.searchsorted(self.shares, shares, side="right"), len(self.grid) - 1)]


class Space:
    """A parameter space as rows of numbers.

    Args:
        fixed: paths and values of parameters with one value.
        dimensions: the coordinates of a row.
        exclude: the rules for points that are left out.
        conditions: which parameters only some points have; each stands behind those that it names.
        computed: parameters that follow from the others, which are no coordinates.
    """

    def __init__(
        self,
        fixed: Sequence[tuple[Names, Any]],
        dimensions: Sequence[Dimension],
        exclude: Sequence[Exclusion],
        conditions: Sequence[Condition] = (),
        computed: Sequence[Computed] = (),
    ) -> None:
        self._fixed = dict(fixed)
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
        self._axes = {place: _axis(one) for place, one in enumerate(self.dimensions) if one.size is not None}
        self._grid = Grid(tuple(self._axes.values()), left_out, [Condition(path, rule) for path, rule in gates.items()])
        if not self._grid.size():
            raise UsageError("the exclusions leave no point of this sweep; exclude less")
        self._rules = [self._positions(rule) for rule in left_out]
        # linked parameters exist together
        self._gates = {place_of[path]: self._positions(rule) for path, rule in gates.items()}

    @classmethod
    def of(cls, config: SweepConfig) -> Space:
        """Return the space of a sweep. Raises UsageError if its exclusions leave no point."""
        found = dict(flatten(config.parameters))
        group_of = {path: tuple(sorted(group)) for group in config.extensions.linked for path in group}
        fixed: list[tuple[Names, Any]] = []
        dimensions: dict[tuple[Names, ...], Dimension] = {}
        for path, parameter in found.items():
            paths = group_of.get(path, (path,))
            if paths in dimensions:
                continue
            if len(paths) > 1:
                columns = [one.values for linked in paths if isinstance(one := found[linked], Categorical)]
                dimension: Dimension | None = _listed(paths, list(zip(*columns, strict=True)), None)
            elif isinstance(parameter, Categorical):
                dimension = _listed(paths, [(value,) for value in parameter.values], parameter.probabilities)
            elif isinstance(parameter, IntUniform):
                dimension = _integers(path, parameter)
            elif isinstance(parameter, Continuous) and not (parameter.kind.endswith("normal") and not parameter.second):
                dimension = _continuous(path, parameter) if parameter.q is None else _quantised(path, parameter)
            else:
                dimension = None
            if dimension is not None:
                dimensions[paths] = dimension
            else:
                fixed.append((path, parameter.value if isinstance(parameter, Constant) else quantile(parameter, 0.5)))
        single = [one for one in dimensions.values() if one.size == 1]
        fixed += [pair for one in single for pair in zip(one.paths, one.values(one.low), strict=True)]
        several = [one for one in dimensions.values() if one.size != 1]
        rules = config.extensions
        return cls(fixed, several, rules.exclude, rules.conditions, rules.computed)

    def size(self) -> int | None:
        """Return the number of points without excluded ones; None if a parameter is continuous."""
        return self._grid.size() if len(self._axes) == len(self.dimensions) else None

    @property
    def can_be_listed(self) -> bool:
        """Whether :meth:`listed` can list the points: no parameter is continuous or has very many values."""
        return all(one.grid is not None for one in self.dimensions)

    def listed(self) -> Array:
        """Return the rows of all points, shape (:meth:`size`, dimensions), of a space that is small enough."""
        always = [place for place in range(len(self.dimensions)) if place not in self._gates]
        rows = np.full((1, len(self.dimensions)), ABSENT)
        for place in (*always, *self._gates):
            grid = self.dimensions[place].grid
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
        row = []
        for dimension in self.dimensions:
            coordinate = dimension.find(tuple(reach(point, path) for path in dimension.paths))
            row.append(ABSENT if coordinate is None else coordinate)
        positions = (
            [one.positions(np.array(at)) for one, at in zip(self.dimensions, row, strict=True)] if self._gates else ()
        )
        off = {place for place, rule in self._gates.items() if not all(positions[of] in wanted for of, wanted in rule)}
        if any(coordinate == ABSENT and place not in off for place, coordinate in enumerate(row)):
            return None
        return tuple(ABSENT if place in off else coordinate for place, coordinate in enumerate(row))

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
                paths = self.dimensions[place].paths
                coordinate = self.dimensions[place].find(tuple(reach(chosen, path) for path in paths))
                row[place] = row[place] if coordinate is None else coordinate
        return self.canonical(few)

    def allowed(self, rows: Array) -> Mask:
        """Return which rows the exclusions leave, shape (rows,)."""
        allowed = np.ones(len(rows), dtype=np.bool_)
        for rule in self._rules:
            allowed &= ~self._met(rule, rows)
        return allowed

    def _met(self, rule: _Rule, rows: Array) -> Mask:
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
        found: dict[Names, Values] = {}
        pairs = list(rule)
        for path, values in pairs:
            if (needed := needs.get(path, ())) is None:
                return None
            pairs += needed if path in dict(rule) else ()
            keys = set(map(identity, values))
            if path in self._fixed:
                if identity(self._fixed[path]) not in keys:
                    return None
            else:
                found[path] = tuple(value for value in found.get(path, values) if identity(value) in keys)
                if not found[path]:
                    return None
        return tuple(found.items())

    def _positions(self, rule: Exclusion) -> _Rule:
        """Return the positions of each dimension that a rule is about."""
        met = ((place, positions_met(axis, [rule])) for place, axis in self._axes.items())
        return [(place, np.array(sorted(found[0]), dtype=np.float64)) for place, found in met if found]


def _axis(dimension: Dimension) -> Axis:
    """Return a dimension with a number of values as an axis of a grid: so exclusions are counted and never listed."""
    count = dimension.size or 1
    grid = dimension.grid

    def values(position: int) -> Values:
        return dimension.values(float(grid[position]) if grid is not None else float(Fraction(position, count - 1)))

    def find(row: Values) -> int | None:
        coordinate = dimension.find(row)
        if coordinate is None:
            return None
        # a row has a coordinate also for values that are never drawn, and one for many of very large integers
        position = min(count - 1, int(dimension.positions(np.array([coordinate]))[0]))
        return position if tuple(map(identity, values(position))) == tuple(map(identity, row)) else None

    return Axis(dimension.paths, count, values, find)


def _number(value: Any) -> float | None:
    """Return a finite number as float; None for anything else, a boolean too."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _listed(paths: tuple[Names, ...], rows: Sequence[Values], probabilities: Sequence[float] | None) -> Dimension:
    """Return the dimension of a list of values, or of rows of linked values; those without probability are left out."""
    weights: dict[Values, float] = {}
    first: dict[Values, Values] = {}
    for row, weight in zip(rows, probabilities or [1.0 / len(rows)] * len(rows), strict=True):
        if weight > 0:
            key = tuple(map(identity, row))
            first.setdefault(key, row)
            weights[key] = weights.get(key, 0.0) + weight
    order = _order(list(first.values()))
    keys = list(first) if order is None else sorted(first, key=lambda key: _number(first[key][0]) or 0.0)
    grid = np.arange(len(keys), dtype=np.float64) if order is None else order
    coordinate = {key: float(grid[position]) for position, key in enumerate(keys)}
    values = [first[key] for key in keys]
    numbers = None if order is None or len(paths) > 1 else np.array([float(value) for (value,) in values])

    def find(row: Values) -> float | None:
        found = coordinate.get(tuple(map(identity, row)))
        if found is None and numbers is not None and (number := _number(row[0])) is not None:
            return float(np.interp(number, numbers, grid))
        return found

    def at(where: float) -> Values:
        return values[int(np.abs(grid - where).argmin())]

    shares = np.cumsum([weights[key] for key in keys])
    low, high = float(grid[0]), float(grid[-1])
    return Dimension(paths, order is not None, len(keys), grid, shares / shares[-1], low, high, at, find)


def _order(rows: Sequence[Values]) -> Array | None:
    """Return ascending coordinates from 0 to 1 for rows sorted by their first value; None if they have no order.

    Linked rows have an order if each column grows, or falls, with the first one.
    """
    columns = [[_number(value) for value in column] for column in zip(*rows, strict=True)]
    table = [[number for number in column if number is not None] for column in columns]
    if any(len(column) < len(rows) for column in table):
        return None
    ordered = np.array(sorted(zip(*table, strict=True)))
    steps = np.diff(ordered / np.maximum(np.abs(ordered).max(axis=0), 1e-300), axis=0)
    if not ((steps[:, 0] > 0).all() and ((steps >= 0).all(axis=0) | (steps <= 0).all(axis=0)).all()):
        return None
    return _spaced(ordered[:, 0]) if len(rows) > 1 else np.zeros(1)


def _spaced(numbers: Array) -> Array:
    """Return coordinates from 0 to 1 for ascending numbers: half by rank, half on the scale that spaces them evenly.

    The scale is linear or logarithmic; 0 stands one mean step below the others on a log scale.
    """
    scales = [numbers / np.abs(numbers).max()]
    above = numbers[1:] if numbers[0] == 0 else numbers
    if above[0] > 0 and len(above) > 1:
        logs = np.log(above)
        step = (logs[-1] - logs[0]) / (len(logs) - 1)
        scales.append(np.concatenate([[logs[0] - step], logs]) if numbers[0] == 0 else logs)
    unevenness = [np.diff(scale).std() / np.diff(scale).mean() for scale in scales]
    best = scales[int(np.argmin(unevenness))]
    coordinates: Array = ((best - best[0]) / (best[-1] - best[0]) + np.linspace(0, 1, len(best))) / 2
    return coordinates


def _integers(path: Names, parameter: IntUniform) -> Dimension:
    low, count = parameter.low, parameter.high - parameter.low + 1
    grid = np.arange(count) / (count - 1) if count <= _MOST_STEPS else None

    def find(row: Values) -> float | None:
        if type(row[0]) is not int and _number(row[0]) is None:  # an integer may be larger than any float
            return None
        place: int = min(count - 1, max(0, round(row[0]) - low))
        return place / (count - 1)

    def at(where: float) -> Values:
        return (low + min(count - 1, max(0, round(Fraction(where) * (count - 1)))),)

    shares = None if grid is None else np.arange(1, count + 1) / count
    return Dimension((path,), True, count, grid, shares, 0.0, 1.0, at, find)


def _continuous(path: Names, parameter: Continuous) -> Dimension:
    cumulative = _cumulative(parameter)
    limits = {"uniform": (parameter.first, parameter.second)}
    if parameter.kind.endswith("_values"):
        limits[parameter.kind] = (parameter.first, parameter.second)
    tail = _TAIL if parameter.kind in ("normal", "log_normal", "beta") else 0.0

    def find(row: Values) -> float | None:
        number = _number(row[0])
        return None if number is None else min(1.0 - tail, max(tail, cumulative(number)))

    def at(where: float) -> Values:
        value = quantile(parameter, min(1.0 - tail, max(tail, where)))
        if parameter.kind in limits:  # rounding may leave the range by a digit
            low, high = limits[parameter.kind]
            value = min(float(high), max(float(low), value))
        return (value,)

    return Dimension((path,), True, None, None, None, tail, 1.0 - tail, at, find)


def _quantised(path: Names, parameter: Continuous) -> Dimension:
    """Return the dimension of a quantised parameter, whose values have the share of draws that are rounded to them."""
    cumulative, q = _cumulative(parameter), parameter.q or 1.0
    tail = _TAIL if parameter.kind in ("normal", "log_normal", "beta") else 0.0
    plain = parameter._replace(q=None)
    first, last = (round(quantile(plain, share) / q) for share in (tail, 1.0 - tail))
    if last - first >= _MOST_STEPS:
        found = _continuous(path, plain)
        return found._replace(values=lambda where: (quantile(parameter, min(1.0 - tail, max(tail, where))),))
    edges = [0.0, *(cumulative((step + 0.5) * q) for step in range(first, last)), 1.0]
    edges = [min(1.0, max(0.0, edge)) for edge in edges]
    middles = [(a + b) / 2 for a, b in pairwise(edges) if b - a > 1e-12]  # a value that is never drawn has no share
    by_value = {quantile(parameter, middle): middle for middle in middles}
    grid = np.array(sorted(by_value.values()))
    values = [(quantile(parameter, float(middle)),) for middle in grid]
    numbers = np.array([float(value) for (value,) in values])

    def find(row: Values) -> float | None:
        number = _number(row[0])
        return None if number is None else float(np.interp(number, numbers, grid))

    def at(where: float) -> Values:
        return values[int(np.abs(grid - where).argmin())]

    return Dimension((path,), True, len(grid), grid, None, float(grid[0]), float(grid[-1]), at, find)


def _share(transformed: Callable[[float], float], low: float, high: float) -> Callable[[float], float]:
    return lambda value: (transformed(value) - low) / (high - low)


def _ln(value: float) -> float:
    """Return the natural logarithm, and of numbers that no such distribution has a very low one."""
    return math.log(value) if value > 0 else -800.0


def _cumulative(p: Continuous) -> Callable[[float], float]:
    """Return the function from a value to the share of draws below it; of values out of range it is out of 0 to 1."""
    first, second = p.first, p.second
    if p.kind == "uniform":
        return _share(float, first, second)
    if p.kind == "log_uniform":
        return _share(_ln, first, second)
    if p.kind == "inv_log_uniform":
        return _share(_ln, -second, -first)
    if p.kind.endswith("_values"):
        return _share(_ln, _ln(first), _ln(second))
    if p.kind == "beta":
        return lambda value: beta_cdf(value, first, second) if 0 < value < 1 else float(value >= 1)
    normal = NormalDist(first, second)
    return normal.cdf if p.kind == "normal" else lambda value: normal.cdf(_ln(value))
