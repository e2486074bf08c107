"""Decide which points of a race can no longer be the best one, so that the rest of their runs is not needed; pure.

Two rules, by what a point is worth:

``median``, ``min``, ``max``, ``worst``: a point is out where it is no better than another one even if all of its runs
that are left were infinitely good, and those of the other one infinitely bad. That is proven, and never wrong.

``mean``: what the mean of all runs will be is predicted from those that are there. For normal values it lies around
their mean, with the standard deviation ``s * sqrt((n - k) / (n * k))`` after ``k`` of ``n`` runs, and so does the
difference of two points: Student's t, with the degrees of freedom of ``s``. ``s`` is the spread between runs of one
point, of all points together; a point with a larger one counts with its own. A point is out where its prediction is
worse than that of the leading point with a confidence that leaves the chance ``race`` for all decisions of the sweep
together (Bonferroni: points times decisions on each).
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from slurmsweep.search.beta import beta_quantile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slurmsweep.sweepfile.repeats import Repeats

#: Degrees of freedom from which on the spread between runs counts as known: below, no point is put out by its mean.
_LEAST_FREEDOM = 2


def out_of_race(repeats: Repeats, goal: str, values: Mapping[int, Sequence[float]], points: int) -> set[int]:
    """Return the points that cannot be the best one any more and have runs left.

    Args:
        repeats: of the sweep, with a race.
        goal: ``minimize`` or ``maximize``.
        values: by point, those of its runs that have ended.
        points: how many there are in the sweep.
    """
    runs, sign = len(repeats.values), -1.0 if goal == "maximize" else 1.0
    known = {point: [sign * value for value in one] for point, one in values.items() if one}
    open_points = [point for point, one in known.items() if len(one) < runs]
    if len(known) < 2 or not open_points:
        return set()
    if repeats.combine == "mean":
        return _predicted(known, open_points, repeats, points)

    def at(point: int, rest: float) -> float:
        filled = [sign * value for value in known[point]] + [sign * rest] * (runs - len(known[point]))
        return sign * repeats.worth(filled, goal)

    least = min(at(point, math.inf) for point in known)
    return {point for point in open_points if at(point, -math.inf) >= least}


def _predicted(
    known: Mapping[int, Sequence[float]], open_points: Sequence[int], repeats: Repeats, points: int
) -> set[int]:
    """Return the open points whose mean of all runs will not be the smallest, with the confidence of the race."""
    runs, (squares, freedom) = len(repeats.values), spread_between_runs(known.values())
    if freedom < _LEAST_FREEDOM:
        return set()
    pooled = squares / freedom
    means = {point: statistics.fmean(one) for point, one in known.items()}
    # how far the mean of all runs may be from the mean of those that are there
    unsure = {
        point: max(pooled, statistics.variance(one) if len(one) > 1 else 0.0) * (runs - len(one)) / (runs * len(one))
        for point, one in known.items()
    }
    quantile = _student(1 - (repeats.race or 0.0) / (points * (runs - 1)), freedom)
    leader = min(known, key=lambda point: means[point] + quantile * math.sqrt(unsure[point]))
    return {
        point
        for point in open_points
        if point != leader and means[point] - means[leader] > quantile * math.sqrt(unsure[point] + unsure[leader])
    }


def spread_between_runs(values: Iterable[Sequence[float]]) -> tuple[float, int]:
    """Return the sum of squares between runs of the same points, and its degrees of freedom."""
    squares, freedom = 0.0, 0
    for one in values:
        if len(one) > 1:
            squares += statistics.variance(one) * (len(one) - 1)
            freedom += len(one) - 1
    return squares, freedom


def _student(share: float, freedom: int) -> float:
    """Return the value below which that share, of more than a half, of Student's t distribution lies."""
    x = beta_quantile(2 * (1 - share), freedom / 2, 0.5)
    return math.sqrt(freedom * (1 - x) / x) if x > 0 else math.inf
