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
    from collections.abc import Callable, Iterable, Iterator, Sequence

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
    return tuple(_axis(paths, forms) for paths, forms in grouped(parameters, extensions.linked))


def grouped(
    parameters: dict[str, Parameter], linked: Iterable[tuple[Names, ...]]
) -> Iterator[tuple[tuple[Names, ...], tuple[Parameter, ...]]]:
    """Yield the path and the form of each parameter, those of linked ones together, in W&B's order."""
    form_of = dict(flatten(parameters))
    group_of = {path: tuple(sorted(group)) for group in linked for path in group}
    for paths in dict.fromkeys(group_of.get(path, (path,)) for path in form_of):
        yield paths, tuple(form_of[path] for path in paths)


def rows_of(forms: Iterable[Parameter]) -> list[Values]:
    """Return the values of a parameter, or of linked ones, with lists: a row for each position in them."""
    return list(zip(*(form.values for form in forms if isinstance(form, Categorical)), strict=True))


def _axis(paths: tuple[Names, ...], forms: tuple[Parameter, ...]) -> Axis:
    form = forms[0]
    if isinstance(form, Constant):
        return _listed(paths, [(form.value,)])
    if isinstance(form, Categorical):
        return _listed(paths, rows_of(forms))
    if isinstance(form, IntUniform):
        return _stepped(paths, form.low, 1, form.high - form.low + 1)
    if isinstance(form, Continuous) and form.q is not None:
        low, high, q = form.first, form.second, form.q
        # the length of numpy.arange(low, high, q): `high` is no value, unless numpy's own rounding includes it, as in
        # 1 to 1.3 by 0.1, which has four values in both
        if isinstance(low, int) and isinstance(high, int) and isinstance(q, int):
            return _stepped(paths, low, q, ceil_div(high - low, q))
        return _stepped(paths, low, q, math.ceil((high - low) / q))
    raise TypeError(f"{'.'.join(paths[0])}: {form} has no list of values")  # config.check refused it


def _listed(paths: tuple[Names, ...], rows: Sequence[Values]) -> Axis:
    """Return an axis of rows, each once: of [1, 1.0] the first one stays, as it is written."""
    by_identity: dict[Any, Values] = {}
    for row in rows:
        by_identity.setdefault(tuple(map(identity, row)), row)
    distinct = tuple(by_identity.values())
    position = {key: index for index, key in enumerate(by_identity)}
    return Axis(paths, len(distinct), distinct.__getitem__, lambda row: position.get(tuple(map(identity, row))))


def _stepped(paths: tuple[Names, ...], low: float, q: float, count: int) -> Axis:
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

    return Axis(paths, count, values, find)
