"""Which trials go first, so that few of them show what all will need: spread over the values of every parameter."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from itertools import combinations, islice
from typing import TYPE_CHECKING, Any

from slurmsweep.sizing.estimate import flat

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: Canaries where nobody said: a share of the trials, within bounds.
_SHARE = 0.05
_FEWEST = 5
_MOST = 20

#: Levels that a parameter's values are taken as: each value its own where it has no more, else fifths.
_LEVELS = 5

#: Parameters that are looked at in pairs; of more, those that come first.
_MOST_PARAMETERS = 12

_Levels = tuple[int, ...]
_Places = tuple[tuple[int, int], ...]


def canaries_wanted(trials: int, points: Sequence[Mapping[str, Any]]) -> int:
    """How many where nobody said: 5 % of the trials, two for each level of a parameter, within 5 and 20.

    Never more than half of the trials: with so few there is nothing to save.
    """
    levels = max((len(set(column)) for column in _levels(points)), default=1)
    return max(1, min(max(round(_SHARE * trials), 2 * levels, _FEWEST), _MOST, trials // 2))


def spread(points: Sequence[Mapping[str, Any]], count: int) -> list[int]:
    """Indexes of ``count`` points, chosen so that each level of each parameter is seen as evenly as possible.

    Among equally good ones those at the ends of numeric parameters go first: what takes longest is usually there.

    Args:
        points: as drawn, nested or flat.
        count: at most as many as there are points.
    """
    columns = _levels(points)
    rows = list(zip(*columns, strict=True)) if columns else [()] * len(points)
    alone, pairs = Counter[_Places](), Counter[_Places]()
    left = list(range(len(points)))
    chosen: list[int] = []
    while left and len(chosen) < count:
        best = min(left, key=lambda index: _cost(rows[index], alone, pairs))
        left.remove(best)
        chosen.append(best)
        alone.update(_places(rows[best], 1))
        pairs.update(_places(rows[best], 2))
    return sorted(chosen)


def _cost(levels: _Levels, alone: Counter[_Places], pairs: Counter[_Places]) -> tuple[int, int, int]:
    """How often its levels were seen; how often two of them together; then how far from an end they lie.

    Without the second, two parameters would go up together, and nobody could tell which of them it is.
    """
    inside = sum(min(level, _LEVELS - 1 - level) for level in levels if level < _LEVELS)
    return sum(alone[p] for p in _places(levels, 1)), sum(pairs[p] for p in _places(levels, 2)), inside


def _places(levels: _Levels, size: int) -> Iterator[_Places]:
    """One or two parameters, with their levels."""
    return combinations(enumerate(levels), size)


def _levels(points: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """For each parameter that varies, the level of each point."""
    rows = [flat(point) for point in points]
    columns = ([row.get(name) for row in rows] for name in (rows[0] if rows else ()))
    varied = (values for values in columns if len(set(map(repr, values))) > 1)
    return [_levels_of(values) for values in islice(varied, _MOST_PARAMETERS)]


def _levels_of(values: Sequence[Any]) -> list[int]:
    """Numbers by rank: 0 the least, 4 the largest; each value of another kind its own level, in order of appearance."""
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        distinct = sorted(set(values))
        if len(distinct) <= _LEVELS:
            scale = (_LEVELS - 1) / (len(distinct) - 1)
            return [round(distinct.index(value) * scale) for value in values]
        ordered = sorted(values)
        return [min(_LEVELS - 1, (bisect_right(ordered, value) - 1) * _LEVELS // len(values)) for value in values]
    names = {name: number for number, name in enumerate(dict.fromkeys(map(repr, values)))}
    return [_LEVELS + names[repr(value)] for value in values]
