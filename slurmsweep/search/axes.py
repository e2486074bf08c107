"""The axes of a grid: values of one parameter, or of several linked parameters, by their position and back.

Ranges are computed and not listed, because an axis may have 10^18 values.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.search.flat import flatten
from slurmsweep.search.numbers import ceil_div, multiple
from slurmsweep.sweepfile.plain import identity, is_finite
from slurmsweep.sweepfile.space import Categorical, Constant, Continuous, IntUniform

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slurmsweep.sweepfile.extensions import Extensions
    from slurmsweep.sweepfile.space import Names, Parameter

Values = tuple[Any, ...]


class Axis(NamedTuple):
    """One dimension of a grid.

    Attributes:
        paths: the path of its parameter, or the paths of linked parameters.
        size: the number of positions.
        values: returns the values at a position, one for each path.
        find: returns the position of values; None if they are not on the axis.
    """

    paths: tuple[Names, ...]
    size: int
    values: Callable[[int], Values]
    find: Callable[[Values], int | None]

    def only(self, position: int) -> Axis:
        """Return the axis with that one of its positions."""
        values = self.values(position)
        return Axis(self.paths, 1, lambda _: values, lambda row: 0 if self.find(row) == position else None)


def axes_of(parameters: dict[str, Parameter], extensions: Extensions) -> tuple[Axis, ...]:
    """Return all axes in W&B's order; a group of linked parameters takes the place of its first name."""
    found = dict(flatten(parameters))
    group_of = {path: group for group in extensions.linked for path in group}
    axes: dict[tuple[Names, ...], Axis] = {}
    for path, parameter in found.items():
        paths = tuple(sorted(group_of.get(path, (path,))))
        if paths not in axes:
            if len(paths) == 1:
                axes[paths] = _axis(path, parameter)
            else:
                columns = [linked.values for one in paths if isinstance(linked := found[one], Categorical)]
                axes[paths] = _listed(paths, list(zip(*columns, strict=True)))
    return tuple(axes.values())


def _axis(path: Names, parameter: Parameter) -> Axis:
    if isinstance(parameter, Constant):
        return _listed((path,), [(parameter.value,)])
    if isinstance(parameter, Categorical):
        return _listed((path,), [(value,) for value in parameter.values])
    if isinstance(parameter, IntUniform):
        return _stepped(path, parameter.low, 1, parameter.high - parameter.low + 1)
    if isinstance(parameter, Continuous) and parameter.q is not None:
        low, high, q = parameter.first, parameter.second, parameter.q
        # the length of numpy.arange(low, high, q): `high` is no value, unless numpy's own rounding includes it, as in
        # 1 to 1.3 by 0.1, which has four values in both
        if isinstance(low, int) and isinstance(high, int) and isinstance(q, int):
            return _stepped(path, low, q, ceil_div(high - low, q))
        return _stepped(path, low, q, math.ceil((high - low) / q))
    raise TypeError(f"{'.'.join(path)}: {parameter} has no list of values")  # config.check refused it


def _listed(paths: tuple[Names, ...], rows: Sequence[Values]) -> Axis:
    """Return an axis of rows, each once: of [1, 1.0] the first one stays, as it is written."""
    by_identity: dict[Any, Values] = {}
    for row in rows:
        by_identity.setdefault(tuple(map(identity, row)), row)
    distinct = tuple(by_identity.values())
    position = {key: index for index, key in enumerate(by_identity)}
    return Axis(paths, len(distinct), distinct.__getitem__, lambda row: position.get(tuple(map(identity, row))))


def _stepped(path: Names, low: float, q: float, count: int) -> Axis:
    """Return the axis ``low``, ``low + q``, ...: integers if both are, else floats without rounding noise."""
    has_integers = isinstance(low, int) and isinstance(q, int)

    def values(index: int) -> Values:
        return (low + index * q if has_integers else multiple(index, q, low),)

    def find(row: Values) -> int | None:
        (value,) = row
        kind, number = identity(value)
        if has_integers and kind == "int":
            index = int((number - low) // q)  # no float holds every integer that an axis may have
        elif not has_integers and is_finite(value):
            index = round((value - low) / q)
        else:
            return None
        return index if 0 <= index < count and identity(values(index)[0]) == (kind, number) else None

    return Axis((path,), count, values, find)
