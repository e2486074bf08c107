"""Total Sobol indices of a Gaussian process: how much of the differences between trials each coordinate takes part in.

The process is the one that ``method: bayes`` searches with. Its mean is a function that can be asked at any point, so
the indices are averages over the space, not over where a search happened to look. Sources: M. J. W. Jansen, "Analysis
of variance designs for model output" (1999), for the total index; R. Liu and A. B. Owen, "Estimating mean
dimensionality of analysis of variance decompositions" (2006), for what two coordinates only do together.

A parameter that only some points have (``slurmsweep: conditions``) is compared among those: its index is its share of
the differences between points that have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from slurmsweep.search.bayes.encoding import ABSENT
from slurmsweep.search.bayes.model import GaussianProcess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurmsweep.search.bayes.arrays import Array, Mask
    from slurmsweep.search.bayes.encoding import Space
    from slurmsweep.search.bayes.model import Kernel


#: Refits to resampled trials; the range goes from the 10 % to the 90 % quantile of their indices.
RESAMPLES = 20

#: Trials that choose the length scales, at most; for the mean all count.
MOST_CHOOSING = 200

#: Points at which the mean is asked: for the indices themselves, for those of a resample, for the effect of one value.
_POINTS, _POINTS_AGAIN, _POINTS_OF_EFFECT = 1024, 512, 128

#: Places of an ordered coordinate at which its effect is compared.
_PLACES = 9

#: Coordinates that are looked at in pairs: the largest, and only those with so much of the differences.
_MOST_PAIRED, _LEAST_PAIRED = 5, 0.05


class Indices(NamedTuple):
    """Shares of the variance of the process's mean.

    Attributes:
        total: of each coordinate, alone and together with others, among the points that have it; shape (d,).
        pairs: by two positions: what they only do together.
    """

    total: Array
    pairs: dict[tuple[int, int], float]


class Sensitivity(NamedTuple):
    """What a Gaussian process says of each coordinate.

    Attributes:
        indices: of all trials.
        resampled: of resamples, with the same pairs.
        explained: the share of the variance of the values that the process foretells, each value from all others
            (leave-one-out); below 0 where it foretells nothing.
        best: the coordinate of each parameter where the mean, averaged over all others, is smallest, shape (d,); none
            is ``ABSENT``.
    """

    indices: Indices
    resampled: list[Indices]
    explained: float
    best: Array


class _Shape(NamedTuple):
    """Which of some coordinates a point has: what the conditions of a space say of them.

    Attributes:
        space: the parameter space.
        places: of the coordinates that are looked at, among those of the space.
        others: a row of the space, with the values of all that are not looked at.
    """

    space: Space
    places: list[int]
    others: Array

    def canonical(self, rows: Array) -> Array:
        """Return rows, shape (n, d), with ``ABSENT`` for each coordinate that the point does not have."""
        whole = np.repeat(self.others[None], len(rows), axis=0)
        whole[:, self.places] = rows
        return self.space.canonical(whole)[:, self.places]

    def drawn(self, x: Array, rng: np.random.Generator, *, everywhere: bool) -> Array:
        """Return draws of each coordinate, shape (1024, d), independent of each other, also where a point lacks it.

        Values of unordered parameters that no trial had are left out: nothing is known of them.
        """
        columns = []
        for place, column in zip(self.places, x.T, strict=True):
            seen = column[column != ABSENT]
            found = rng.choice(seen, _POINTS)
            if everywhere:
                dimension = self.space.dimensions[place]
                drawn = dimension.drawn(rng.random(_POINTS))
                known = np.isin(drawn, seen) if not dimension.ordered else np.ones(_POINTS, dtype=np.bool_)
                found = np.where(known, drawn, found)
            columns.append(found)
        return np.stack(columns, axis=1)


def sensitivity(space: Space, places: Sequence[int], x: Array, y: Array, *, everywhere: bool) -> Sensitivity:
    """Return the indices of a Gaussian process after trials: the same for the same arguments, on one machine.

    Args:
        space: the parameter space.
        places: the coordinates that are looked at: each has two values or more among the trials. The others have one.
        x: rows of trials, shape (n, dimensions of the space); at most 500.
        y: what is to be explained, shape (n,), small is good.
        everywhere: average over the parameters' distributions; else over the values that these trials have.
    """
    rng = np.random.Generator(np.random.PCG64(len(y)))
    shape = _Shape(space, list(places), x.max(axis=0))
    x = x[:, shape.places]
    unordered = space.unordered[shape.places]
    first, second = (shape.drawn(x, rng, everywhere=everywhere) for _ in range(2))
    order = rng.permutation(len(y))
    process = _Mean(x[order], unordered, y[order])
    indices = _indices(process, shape, first, second, None)
    resampled = []
    for _ in range(RESAMPLES):
        again = rng.integers(len(y), size=len(y))
        if np.ptp(y[again]) > 0:
            refit = _Mean(x[again], unordered, y[again], near=process.process.kernel)
            some = first[:_POINTS_AGAIN], second[:_POINTS_AGAIN]
            resampled.append(_indices(refit, shape, *some, list(indices.pairs)))
    best = np.array([_best(process, shape, first[:_POINTS_OF_EFFECT], place, x) for place in range(len(places))])
    return Sensitivity(indices, resampled, process.explained(), best)


class _Mean:
    """The mean of a Gaussian process after observations; rows in an order that serves to choose length scales."""

    def __init__(self, x: Array, unordered: Mask, y: Array, near: Kernel | None = None) -> None:
        self.process = GaussianProcess.fit(x, unordered, y, np.arange(min(len(y), MOST_CHOOSING)), near=near)
        self.x = x
        self.z = (y - self.process.centre) / self.process.scale
        self.inverse = self.process.posterior.precision()
        self.weights = self.inverse @ self.z

    def at(self, rows: Array) -> Array:
        """Return the mean at rows of shape (m, d), in units of standardised values."""
        found: Array = self.process.kernel.between(rows, self.x) @ self.weights
        return found

    def explained(self) -> float:
        """Return the share of the variance that leave-one-out predictions explain.

        Source: C. E. Rasmussen and C. K. I. Williams, "Gaussian Processes for Machine Learning", equation 5.12.
        """
        error = self.weights / np.diag(self.inverse)
        n = len(self.z)
        mean_error = (self.z.sum() - self.z) / (n - 1) - self.z  # of the mean of all others
        return float(1 - (error @ error) / max(1e-300, float(mean_error @ mean_error)))


class _Asked(NamedTuple):
    """Points, and what the mean is there.

    Attributes:
        has: which coordinates each point has, shape (n, d).
        mean: shape (n,).
    """

    has: Mask
    mean: Array


def _indices(mean: _Mean, shape: _Shape, first: Array, second: Array, pairs: list[tuple[int, int]] | None) -> Indices:
    """Return the indices from two independent sets of draws; of these pairs, or of those that may matter."""

    def asked(rows: Array) -> _Asked:
        found = shape.canonical(rows)
        return _Asked(found != ABSENT, mean.at(found))

    base, other = asked(first), asked(second)

    def variance(*places: int) -> float:
        """Return the variance among the points that have these coordinates."""
        parts = [one.mean[one.has[:, places].all(axis=1)] for one in (base, other)]
        return max(float(sum(part.var() if len(part) else 0.0 for part in parts) / 2), 1e-12)

    moved = [asked(_exchanged(first, second, place)) for place in range(first.shape[1])]
    total = np.zeros(len(moved))
    for place, one in enumerate(moved):
        has = base.has[:, place]
        if has.any():
            total[place] = ((base.mean - one.mean)[has] ** 2).mean() / (2 * variance(place))
    if pairs is None:
        large = [int(place) for place in np.argsort(-total, kind="stable")[:_MOST_PAIRED]]
        large = sorted(place for place in large if total[place] >= _LEAST_PAIRED)
        pairs = [(a, b) for a in large for b in large if a < b]
    found = {}
    for a, b in pairs:
        corners = base, moved[a], moved[b], asked(_exchanged(first, second, a, b))
        # where one of them ends the other, as a condition says, it is no finding that they act together
        has = np.logical_and.reduce([one.has[:, place] for one in corners for place in (a, b)])
        together = corners[0].mean - corners[1].mean - corners[2].mean + corners[3].mean
        found[a, b] = float((together[has] ** 2).mean() / (4 * variance(a, b))) if has.any() else 0.0
    return Indices(np.minimum(total, 1.0), found)


def _exchanged(first: Array, second: Array, *places: int) -> Array:
    rows = first.copy()
    rows[:, places] = second[:, places]
    return rows


def _best(mean: _Mean, shape: _Shape, rows: Array, place: int, x: Array) -> float:
    """Return the coordinate that trials had, where the mean over all other coordinates is smallest."""
    seen = np.unique(x[:, place])
    seen = seen[seen != ABSENT]
    if len(seen) > _PLACES and not mean.process.kernel.unordered[place]:
        seen = seen[np.linspace(0, len(seen) - 1, _PLACES).round().astype(int)]
    effects = []
    for one in seen:
        moved = rows.copy()
        moved[:, place] = one
        moved = shape.canonical(moved)
        there = moved[moved[:, place] != ABSENT]
        effects.append(float(mean.at(there).mean()) if len(there) else 0.0)
    return float(seen[int(np.argmin(effects))])
