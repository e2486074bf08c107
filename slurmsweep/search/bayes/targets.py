"""Metrics as the values that a model fits: finite, small is good, and without the pull of very bad ones."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurmsweep.search.bayes.arrays import Array


class Targets(NamedTuple):
    """The values that a model fits.

    Attributes:
        y: the values, shape (n,): the better half is linear in the metric, the worse half goes by rank.
        metric: the metric, failed trials with the worst finite value, best first; shape (n,).
        fitted: the values of ``y`` in the same order.
        unit: by how much ``y`` differs where the metric differs by 1, in the better half.
    """

    y: Array
    metric: Array
    fitted: Array
    unit: float

    def in_metric(self, value: float) -> float:
        """Return the metric that a value stands for; beyond the best one on the line of the better half."""
        best = self.fitted[0]
        other = int(np.searchsorted(self.fitted, best, side="right"))
        if value >= best or other == len(self.fitted):
            return float(np.interp(value, self.fitted, self.metric))
        slope = (self.metric[other] - self.metric[0]) / (self.fitted[other] - best)
        return float(self.metric[0] + slope * (value - best))


def targets_of(values: Sequence[float], goal: str) -> Targets | None:
    """Return what a model fits for the values of ended trials; None if no value is finite.

    A value that is not finite (the trial failed) counts as the worst finite one.
    """
    sign = -1.0 if goal == "maximize" else 1.0
    raw = sign * np.array(values, dtype=np.float64)
    finite = np.isfinite(raw)
    if not finite.any():
        return None
    metric = np.where(finite, raw, raw[finite].max())
    half = metric / 2  # whose differences are finite
    known = np.sort(half[finite])
    deviation = (
        half - (known[len(known) // 2] + known[(len(known) - 1) // 2]) / 2
    )  # np.median loads numpy.ma, for 50 ms
    scores = _normal_scores(half)
    at_median = scores[deviation <= 0].max()
    spread = _spread(deviation)
    y = np.where(deviation <= 0, deviation / spread, scores - at_median)
    order = np.argsort(metric, kind="stable")
    return Targets(y, sign * metric[order], y[order], 0.5 / spread)


def _spread(deviation: Array) -> float:
    """Return the root mean square of negative deviations, without overflow; 1 if there is none."""
    below = -deviation[deviation < 0]
    largest = float(below.max()) if len(below) else 0.0
    return largest * float(np.sqrt(np.mean((below / largest) ** 2))) if largest else 1.0


def _normal_scores(values: Array) -> Array:
    """Return the normal quantiles of the ranks of values; ties have the same, between theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    shares = (np.cumsum(counts) - counts / 2) / len(values)
    normal = NormalDist()
    quantiles = np.array([normal.inv_cdf(float(share)) for share in shares])
    return quantiles[inverse.reshape(-1)]
