"""Metrics as the values that a model fits: finite, small is good, and without the pull of very bad ones."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]


class Targets(NamedTuple):
    """The values that a model fits.

    Attributes:
        y: the values, shape (n,): the better half is linear in the metric, the worse half goes by rank.
        metric: the metric with its worst finite value for failed trials, ascending; shape (n,).
        fitted: the values of ``y`` in the same order.
        sign: -1 for a metric to be maximised, else 1.
    """

    y: Array
    metric: Array
    fitted: Array
    sign: float

    def in_metric(self, value: float) -> float:
        """Return the metric that a value stands for; beyond the known ones on the line through the nearest ones."""
        low, high = self.fitted[0], self.fitted[-1]
        if low < value < high or len(self.fitted) < 2 or low == high:
            return self.sign * float(np.interp(value, self.fitted, self.metric))
        if value <= low:
            middle = len(self.fitted) // 2
            a, b = (0, middle) if self.fitted[middle] > low else (0, -1)
        else:
            return self.sign * float(self.metric[-1])
        slope = (self.metric[b] - self.metric[a]) / (self.fitted[b] - self.fitted[a])
        return self.sign * float(self.metric[a] + slope * (value - self.fitted[a]))


def targets_of(values: Sequence[float | None], goal: str) -> Targets | None:
    """Return what a model fits for the values of ended trials; None if no value is finite.

    A value that is None or not finite (the trial failed) counts as the worst finite one.
    """
    sign = -1.0 if goal == "maximize" else 1.0
    raw = np.array([np.nan if value is None else sign * value for value in values], dtype=np.float64)
    finite = np.isfinite(raw)
    if not finite.any():
        return None
    metric = np.where(finite, raw, raw[finite].max())
    order = np.argsort(metric, kind="stable")
    # halves: differences of 1e308 and -1e308 are finite
    half = metric / 2
    median = float(np.median(half[finite]))
    good = half - median
    scale = _scale(good)
    y = np.where(good < 0, good / scale, 0.0) + np.where(good > 0, _by_rank(half, good > 0), 0.0)
    return Targets(y, metric[order], y[order], sign)


def _scale(deviations: Array) -> float:
    """Return the root mean square of negative deviations from the median, without overflow; 1 if there is none."""
    below = -deviations[deviations < 0]
    if not len(below):
        return 1.0
    largest = float(below.max())
    return max(largest * float(np.sqrt(np.mean((below / largest) ** 2))), 1e-300)


def _by_rank(values: Array, bad: npt.NDArray[np.bool_]) -> Array:
    """Return the normal scores of the bad values, ties alike; others have no meaning."""
    unique, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    normal = NormalDist()
    score = np.array([normal.inv_cdf(float(share)) for share in middle / len(values)])
    at_median = float(score[unique <= values[~bad].max()].max()) if (~bad).any() else 0.0
    scores: Array = np.maximum(0.0, score - max(0.0, at_median))[inverse.reshape(-1)]
    return scores
