"""Choose which trials go first, so that few of them show what all others will need.

Each parameter is cut into at most five levels. Canaries are taken one by one; the next one is the trial whose levels,
and then whose pairs of levels, occur least among those already taken. So each level of each parameter occurs about
equally often, and two parameters do not rise together, which would hide which of them costs the time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from itertools import combinations, islice
from typing import TYPE_CHECKING, Any

from slurmsweep.search.flat import flat
from slurmsweep.sweepfile.plain import is_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Number of canaries unless the user gives one: this share of the trials, within bounds.
_SHARE, _FEWEST, _MOST = 0.05, 5, 20

#: Number of levels of a numeric parameter (a level for each value where it has no more, else fifths by rank), and of
#: parameters that are looked at: the first ones.
_LEVELS, _MOST_PARAMETERS = 5, 12

#: One or two parameters, by their place in the point, each with a level.
_Places = tuple[tuple[int, int], ...]


def canaries_wanted(trials: int, points: Sequence[Mapping[str, Any]]) -> int:
    """Return how many canaries to run: 5 % of the trials, two for each level of a parameter, within 5 and 20.

    Never more than half of the trials: with so few there is nothing to save.
    """
    levels = max((len(set(column)) for column in _levels(points)), default=1)
    return max(1, min(max(round(_SHARE * trials), 2 * levels, _FEWEST), _MOST, trials // 2))


def choose_canaries(points: Sequence[Mapping[str, Any]], count: int) -> list[int]:
    """Return the indexes of ``count`` points that show each level of each parameter about equally often.

    Among equally good points those at the ends of numeric parameters go first: the longest trials are usually there.
    Points are as drawn, nested or flat; all are taken where ``count`` is not smaller than their number.
    """
    columns = _levels(points)
    rows = list(zip(*columns, strict=True)) if columns else [()] * len(points)
    singles, pairs = Counter[_Places](), Counter[_Places]()

    def cost(index: int) -> tuple[int, int, int]:
        """Return how often the point's levels, and its pairs of levels, were taken; then how far inside they lie."""
        levels = list(enumerate(rows[index]))
        inside = sum(min(level, _LEVELS - 1 - level) for _, level in levels if level < _LEVELS)
        seen = sum(singles[place] for place in combinations(levels, 1))
        return seen, sum(pairs[place] for place in combinations(levels, 2)), inside

    left = list(range(len(points)))
    chosen: list[int] = []
    while left and len(chosen) < count:
        best = min(left, key=cost)
        left.remove(best)
        chosen.append(best)
        singles.update(combinations(enumerate(rows[best]), 1))
        pairs.update(combinations(enumerate(rows[best]), 2))
    return sorted(chosen)


def _levels(points: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Return the level of each point, by parameter; parameters with one value are left out."""
    rows = [dict(flat(point)) for point in points]
    columns = ([row.get(name) for row in rows] for name in (rows[0] if rows else ()))
    varied = (values for values in columns if len(set(map(repr, values))) > 1)
    return [_levels_of(values) for values in islice(varied, _MOST_PARAMETERS)]


def _levels_of(values: Sequence[Any]) -> list[int]:
    """Return the levels of one parameter.

    Numbers by rank, 0 the smallest and 4 the largest; else a level of its own, 5 or more, for each value.
    """
    if all(map(is_number, values)):
        distinct = sorted(set(values))
        if len(distinct) <= _LEVELS:
            scale = (_LEVELS - 1) / (len(distinct) - 1)
            return [round(distinct.index(value) * scale) for value in values]
        ordered = sorted(values)
        return [min(_LEVELS - 1, (bisect_right(ordered, value) - 1) * _LEVELS // len(values)) for value in values]
    names = {name: number for number, name in enumerate(dict.fromkeys(map(repr, values)))}
    return [_LEVELS + names[repr(value)] for value in values]
