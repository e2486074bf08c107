"""Total Sobol indices of a Gaussian process: how much of the differences between trials each coordinate takes part in.

The process is the one that ``method: bayes`` searches with. Its mean is a function that can be asked at any point, so
the indices are averages over the space, not over where a search happened to look. Sources: M. J. W. Jansen, "Analysis
of variance designs for model output" (1999), for the total index; R. Liu and A. B. Owen, "Estimating mean
dimensionality of analysis of variance decompositions" (2006), for what two coordinates only do together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from slurmsweep.search.bayes.model import GaussianProcess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurmsweep.search.bayes.arrays import Array, Mask
    from slurmsweep.search.bayes.encoding import Dimension


#: Refits to resampled trials; the range goes from the 10 % to the 90 % quantile of their indices.
RESAMPLES = 20

#: Trials that choose the length scales at most, and trials of the mean at most.
MOST_CHOOSING, MOST_USED = 200, 500

#: The coordinate of an ordered parameter that a point does not have (a conditional one that is off), and of an
#: unordered one.
OFF, OFF_CODE = -0.3, -1.0

#: Points at which the mean is asked: for the indices themselves, for those of a resample, for the effect of one value.
_POINTS, _POINTS_AGAIN, _POINTS_OF_EFFECT = 1024, 512, 128

#: Places of an ordered coordinate at which its effect is compared.
_PLACES = 9

#: Coordinates that are looked at in pairs: the largest, and only those with so much of the differences.
_MOST_PAIRED, _LEAST_PAIRED = 5, 0.05


class Indices(NamedTuple):
    """Shares of the variance of the process's mean.

    Attributes:
        total: of each coordinate, alone and together with others, shape (d,).
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
        best: the coordinate of each parameter where the mean, averaged over all others, is smallest, shape (d,).
    """

    indices: Indices
    resampled: list[Indices]
    explained: float
    best: Array


def encoded(dimensions: Sequence[Dimension], values: Sequence[Sequence[tuple[object, ...] | None]]) -> Array:
    """Return rows of coordinates, shape (n, d), for the values of points: None where a point has no such parameter.

    NaN stands for a value that its parameter does not have.
    """
    rows = np.empty((len(values), len(dimensions)))
    for place, dimension in enumerate(dimensions):
        off = OFF if dimension.ordered else OFF_CODE
        for row, point in zip(rows, values, strict=True):
            given = point[place]
            found = off if given is None else dimension.find(given)
            row[place] = np.nan if found is None else found
    return rows


def sensitivity(dimensions: Sequence[Dimension], x: Array, y: Array, *, everywhere: bool) -> Sensitivity:
    """Return the indices of a Gaussian process after trials: the same for the same arguments, on one machine.

    Args:
        dimensions: the coordinates, each with two values or more among the trials.
        x: coordinates of trials, shape (n, d), without NaN; at most 500 rows.
        y: what is to be explained, shape (n,), small is good.
        everywhere: average over the parameters' distributions; else over the values that these trials have.
    """
    rng = np.random.Generator(np.random.PCG64(len(y)))
    unordered = np.array([not one.ordered for one in dimensions], dtype=np.bool_)
    first, second = (_drawn(dimensions, x, rng, everywhere=everywhere) for _ in range(2))
    order = rng.permutation(len(y))
    process = _Mean(x[order], unordered, y[order])
    indices = _indices(process, first, second, None)
    resampled = []
    for _ in range(RESAMPLES):
        again = rng.integers(len(y), size=len(y))
        if np.ptp(y[again]) > 0:
            refit = _Mean(x[again], unordered, y[again])
            resampled.append(_indices(refit, first[:_POINTS_AGAIN], second[:_POINTS_AGAIN], list(indices.pairs)))
    best = np.array([_best(process, first[:_POINTS_OF_EFFECT], place, x) for place in range(len(dimensions))])
    return Sensitivity(indices, resampled, process.explained(), best)


class _Mean:
    """The mean of a Gaussian process after observations; rows in an order that serves to choose length scales."""

    def __init__(self, x: Array, unordered: Mask, y: Array) -> None:
        self.process = GaussianProcess.fit(x, unordered, y, np.arange(min(len(y), MOST_CHOOSING)))
        self.x = x
        self.z = (y - self.process.centre) / self.process.scale
        kernel = self.process.kernel
        self.inverse = np.linalg.inv(kernel.between(x, x) + (kernel.noise + 1e-8) * np.eye(len(x)))
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


def _drawn(dimensions: Sequence[Dimension], x: Array, rng: np.random.Generator, *, everywhere: bool) -> Array:
    """Return points, shape (1024, d), whose coordinates are independent of each other.

    Values of unordered parameters that no trial had are left out: nothing is known of them. A parameter is off as
    often as it was.
    """
    columns = []
    for place, dimension in enumerate(dimensions):
        seen = x[:, place]
        column = rng.choice(seen, _POINTS)
        if everywhere:
            drawn = dimension.drawn(rng.random(_POINTS))
            known = np.isin(drawn, seen) if not dimension.ordered else np.ones(_POINTS, dtype=np.bool_)
            on = column != (OFF if dimension.ordered else OFF_CODE)
            column = np.where(on & known, drawn, column)
        columns.append(column)
    return np.stack(columns, axis=1)


def _indices(mean: _Mean, first: Array, second: Array, pairs: list[tuple[int, int]] | None) -> Indices:
    """Return the indices from two independent sets of points; of these pairs, or of those that may matter."""
    base = mean.at(first)
    variance = max(float((base.var() + mean.at(second).var()) / 2), 1e-12)
    moved = {place: mean.at(_exchanged(first, second, place)) for place in range(first.shape[1])}
    total = np.array([((base - one) ** 2).mean() / (2 * variance) for one in moved.values()])
    if pairs is None:
        large = [int(place) for place in np.argsort(-total, kind="stable")[:_MOST_PAIRED]]
        large = sorted(place for place in large if total[place] >= _LEAST_PAIRED)
        pairs = [(a, b) for a in large for b in large if a < b]
    found = {}
    for a, b in pairs:
        both = mean.at(_exchanged(first, second, a, b))
        found[a, b] = float(((base - moved[a] - moved[b] + both) ** 2).mean() / (4 * variance))
    return Indices(np.minimum(total, 1.0), found)


def _exchanged(first: Array, second: Array, *places: int) -> Array:
    rows = first.copy()
    rows[:, places] = second[:, places]
    return rows


def _best(mean: _Mean, rows: Array, place: int, x: Array) -> float:
    """Return the coordinate that trials had, where the mean over all other coordinates is smallest."""
    seen = np.unique(x[:, place])
    if len(seen) > _PLACES and not mean.process.kernel.unordered[place]:
        seen = seen[np.linspace(0, len(seen) - 1, _PLACES).round().astype(int)]
    effects = []
    for one in seen:
        moved = rows.copy()
        moved[:, place] = one
        effects.append(float(mean.at(moved).mean()))
    return float(seen[int(np.argmin(effects))])
