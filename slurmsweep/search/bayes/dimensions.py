"""The coordinates of a row: how the values of one parameter, or of linked ones, become numbers, and back.

- *ordered*: a number from 0 to 1. A continuous parameter has its cumulative distribution there, so that a log-uniform
  parameter is even on its log scale; integers and quantised values stand in the middle of their share; numbers among
  ``values`` stand by their size, on a log scale where they are spaced like powers.
- *unordered* (texts, booleans, mixed lists): the position in the list; it only says equal or not equal.

Old values that the space has no more (trials of a prior sweep): numbers are clipped to the range, and numbers between
two of ``values`` stand between them; any other unknown value has no coordinate.
"""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from itertools import pairwise
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from slurmsweep.search.axes import Axis, rows_of
from slurmsweep.search.beta import beta_cdf
from slurmsweep.search.flat import reach
from slurmsweep.search.random import quantile
from slurmsweep.sweepfile.plain import identity, is_finite
from slurmsweep.sweepfile.space import Categorical, Continuous, IntUniform

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from slurmsweep.search.axes import Values
    from slurmsweep.search.bayes.arrays import Array
    from slurmsweep.sweepfile.space import Names, Parameter

    #: Integers; of a parameter with very many values, floats.
    Positions = npt.NDArray[Any]

#: An ordered parameter with more values than this is searched as if it had no steps; its values are rounded at the end.
_MOST_STEPS = 4096

#: Distributions without a limit are searched up to this share of their tails.
_TAIL = 1e-4


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

    def coordinate(self, point: Mapping[str, Any]) -> float | None:
        """Return the coordinate of a point; None where it has an unknown value, or none."""
        return self.find(tuple(reach(point, path) for path in self.paths))

    def positions(self, coordinates: Array) -> Positions:
        """Return the positions of the values that are closest to coordinates, of a parameter with a number of them."""
        if self.grid is not None:
            return np.searchsorted((self.grid[1:] + self.grid[:-1]) / 2, coordinates)
        return np.rint(coordinates * float(min((self.size or 1) - 1, sys.float_info.max)))

    def at(self, position: int) -> float:
        """Return the coordinate of the value at a position."""
        return float(Fraction(position, (self.size or 2) - 1) if self.grid is None else self.grid[position])

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

    def axis(self) -> Axis:
        """Return the axis of a grid with the same values: a grid counts what exclusions leave, and lists nothing."""
        count = self.size or 1

        def find(row: Values) -> int | None:
            coordinate = self.find(row)
            if coordinate is None:
                return None
            if self.grid is None:
                position = round(Fraction(coordinate) * (count - 1))
            else:
                position = int(self.positions(np.array(coordinate)))
            # values that are never drawn have a coordinate, too, and many very large integers have the same one
            has_it = tuple(map(identity, self.values(self.at(position)))) == tuple(map(identity, row))
            return position if has_it else None

        return Axis(self.paths, count, lambda position: self.values(self.at(position)), find)


def dimension_of(paths: tuple[Names, ...], forms: tuple[Parameter, ...]) -> Dimension | None:
    """Return the dimension of a parameter, or of linked ones; None for a constant."""
    form = forms[0]
    if isinstance(form, Categorical):
        return _listed(paths, rows_of(forms), form.probabilities)
    if isinstance(form, IntUniform):
        return _integers(paths, form)
    if not isinstance(form, Continuous) or (form.kind.endswith("normal") and not form.second):
        return None
    return _continuous(paths, form) if form.q is None else _quantised(paths, form)


def _number(value: Any) -> float | None:
    """Return a finite number as float; None for anything else, a boolean too."""
    return float(value) if is_finite(value) else None


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
    between = None if order is None or len(paths) > 1 else _between(values, grid)

    def find(row: Values) -> float | None:
        found = coordinate.get(tuple(map(identity, row)))
        return between(row) if found is None and between is not None else found

    shares = np.cumsum([weights[key] for key in keys])
    return _of_table(paths, values, grid, find)._replace(ordered=order is not None, shares=shares / shares[-1])


def _of_table(
    paths: tuple[Names, ...], values: Sequence[Values], grid: Array, find: Callable[[Values], float | None]
) -> Dimension:
    """Return an ordered dimension that has these values at the coordinates of the grid."""

    def at(where: float) -> Values:
        return values[int(np.abs(grid - where).argmin())]

    return Dimension(paths, True, len(values), grid, None, float(grid[0]), float(grid[-1]), at, find)


def _between(values: Sequence[Values], grid: Array) -> Callable[[Values], float | None]:
    """Return the function that puts any number between the ascending numbers that stand on the grid."""
    numbers = np.array([float(value) for (value,) in values])

    def find(row: Values) -> float | None:
        number = _number(row[0])
        return None if number is None else float(np.interp(number, numbers, grid))

    return find


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


def _integers(paths: tuple[Names, ...], parameter: IntUniform) -> Dimension:
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
    return Dimension(paths, True, count, grid, shares, 0.0, 1.0, at, find)


def _searched(parameter: Continuous, share: float) -> float:
    """Return a share of draws, within those up to which the distribution is searched."""
    tail = _TAIL if parameter.kind in ("normal", "log_normal", "beta") else 0.0
    return min(1.0 - tail, max(tail, share))


def _continuous(paths: tuple[Names, ...], parameter: Continuous) -> Dimension:
    cumulative = _cumulative(parameter)
    has_limits = parameter.kind == "uniform" or parameter.kind.endswith("_values")

    def find(row: Values) -> float | None:
        number = _number(row[0])
        return None if number is None else _searched(parameter, cumulative(number))

    def at(where: float) -> Values:
        value = quantile(parameter, _searched(parameter, where))
        if has_limits:  # rounding may leave the range by a digit
            value = min(float(parameter.second), max(float(parameter.first), value))
        return (value,)

    low, high = _searched(parameter, 0.0), _searched(parameter, 1.0)
    return Dimension(paths, True, None, None, None, low, high, at, find)


def _quantised(paths: tuple[Names, ...], parameter: Continuous) -> Dimension:
    """Return the dimension of a quantised parameter, whose values have the share of draws that are rounded to them."""
    cumulative, q = _cumulative(parameter), parameter.q or 1.0
    plain = parameter._replace(q=None)
    first, last = (round(quantile(plain, _searched(plain, share)) / q) for share in (0.0, 1.0))
    if last - first >= _MOST_STEPS:
        found = _continuous(paths, plain)
        return found._replace(values=lambda where: (quantile(parameter, _searched(parameter, where)),))
    edges = [0.0, *(cumulative((step + 0.5) * q) for step in range(first, last)), 1.0]
    edges = [min(1.0, max(0.0, edge)) for edge in edges]
    middles = [(a + b) / 2 for a, b in pairwise(edges) if b - a > 1e-12]  # a value that is never drawn has no share
    by_value = {quantile(parameter, middle): middle for middle in middles}
    grid = np.array(sorted(by_value.values()))
    values = [(quantile(parameter, float(middle)),) for middle in grid]
    return _of_table(paths, values, grid, _between(values, grid))


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
