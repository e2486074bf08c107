"""Find the point with the highest expected improvement while others are running.

What running trials will report is unknown, so it is imagined several times (*fantasies*: joint samples of the model);
the expected improvement is the mean over them. It is computed as a logarithm: far from the best points it gets too
small for a float, but its slope still shows the way (Ament et al. 2023).
"""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from slurmsweep.search.bayes.encoding import ABSENT

if TYPE_CHECKING:
    from slurmsweep.search.bayes.arrays import Array
    from slurmsweep.search.bayes.encoding import Space
    from slurmsweep.search.bayes.model import Posterior


#: Random rows to begin with, the best rows that are varied, variations of each in a round, and rounds.
DRAWS = 600
KEPT = 6
VARIATIONS = 25
ROUNDS = 7

#: The size of the first steps in length scales, and what a round multiplies it by.
FIRST_STEP = 0.5
SHRINK = 0.6

#: Versions of what the running trials may report.
FANTASIES = 8


def log_improvement(mean: Array, deviation: Array, best: Array) -> Array:
    """Return the logarithm of the expected improvement below ``best``, averaged over versions.

    Args:
        mean: shape (m, versions).
        deviation: shape (m,).
        best: the value to improve on in each version, shape (versions,).

    Returns: shape (m,).
    """
    z = (best - mean) / deviation[:, None]
    each = _log_h(z)
    top = each.max(axis=1)
    gains: Array = np.log(deviation) + top + np.log(np.exp(each - top[:, None]).mean(axis=1))
    return gains


#: Coefficients of the logarithm of the complementary error function, the highest power first (Numerical Recipes 6.2,
#: fractional error below 1.2e-7).
_ERFC = (
    0.17087277,
    -0.82215223,
    1.48851587,
    -1.13520398,
    0.27886807,
    -0.18628806,
    0.09678418,
    0.37409196,
    1.00002368,
    -1.26551223,
)

#: From here on an asymptotic series is more exact than the difference of nearly equal numbers.
_FAR = 10.0


def _log_h(z: Array) -> Array:
    """Return log(phi(z) + z Phi(z)) with phi and Phi of the standard normal distribution."""
    x = np.abs(z)
    t = 1 / (1 + x / np.sqrt(8))
    series = np.zeros_like(t)
    for coefficient in _ERFC:
        series = series * t + coefficient
    mills = np.sqrt(np.pi / 2) * t * np.exp(series)  # (1 - Phi(x)) / phi(x)
    inverse_square = 1 / np.maximum(x, _FAR) ** 2
    far = inverse_square * (1 - 3 * inverse_square * (1 - 5 * inverse_square))
    below = np.log(np.where(x > _FAR, far, np.maximum(1 - x * mills, 1e-30))) - 0.5 * (x * x + np.log(2 * np.pi))
    h: Array = np.where(z > 0, np.log(x + np.exp(below) + 1e-300), below)  # h(x) = x + h(-x)
    return h


class Improvement:
    """The expected improvement on the best point under one model.

    Args:
        posterior: the model, running trials imagined.
    """

    def __init__(self, posterior: Posterior) -> None:
        self.posterior = posterior
        smooth = posterior.predict(posterior.x)[0]
        # with noise, the best observed value is luck: the model's opinion of the point counts
        self._best = smooth.min(axis=0)
        #: The best points of the model, shape (k, d).
        self.leaders: Array = posterior.x[np.argsort(smooth.mean(axis=1), kind="stable")[:KEPT]]

    def ranked(self, rows: Array) -> tuple[Array, Array]:
        """Return rows in falling order of the logarithm of their expected improvement, and that."""
        mean, deviation = self.posterior.predict(rows)
        gains = log_improvement(mean, deviation, self._best)
        order = np.argsort(-gains, kind="stable")
        return rows[order], gains[order]

    def maximised(
        self, space: Space, taken: set[bytes], generator: np.random.Generator, effort: float = 1.0
    ) -> tuple[Array, Array]:
        """Return the best rows that were found, in falling order, and the logarithms of their expected improvement.

        Random rows and variations of the leaders are compared; then the best are varied in ever smaller steps. No row
        is excluded, or in ``taken`` (the bytes of rows); the result may be empty. ``effort`` is a factor of the number
        of random rows and rounds.
        """
        # a coordinate that hardly matters is varied over its whole range
        steps = np.minimum(self.posterior.kernel.lengths, 1.0) * FIRST_STEP
        drawn = np.vstack(
            [space.sample(generator, int(DRAWS * effort)), _varied(space, self.leaders, steps, generator)]
        )
        pool, gains = self.ranked(untaken(drawn, taken))
        for _ in range(int(ROUNDS * effort)):
            pool, gains = pool[:KEPT], gains[:KEPT]
            varied = _varied(space, pool, steps, generator)
            fresh, their_gains = self.ranked(untaken(varied, taken.union(row.tobytes() for row in pool)))
            pool, gains = np.vstack([pool, fresh]), np.concatenate([gains, their_gains])
            order = np.argsort(-gains, kind="stable")
            pool, gains = pool[order], gains[order]
            steps = steps * SHRINK
        return pool, gains


def _varied(space: Space, rows: Array, steps: Array, generator: np.random.Generator) -> Array:
    """Return variations of rows, none excluded: some coordinates moved by normal steps, or drawn again."""
    base = np.repeat(rows, VARIATIONS, axis=0)
    shape = base.shape
    moved = base + generator.standard_normal(shape) * steps * generator.choice([0.2, 0.5, 1.0], (len(base), 1))
    again = generator.random(shape) < np.where(space.unordered, 1.0, 0.1)
    drawn = space.drawn(generator.random(shape))
    moved = np.where(again, drawn, moved)
    # about half of the variations move one or two coordinates, the others many
    share = np.where(generator.random((len(base), 1)) < 0.5, min(1.0, 1.5 / max(1, shape[1])), 0.7)
    share = np.minimum(share, np.where(space.unordered, 0.3, 1.0))
    # a parameter that a row does not have, and a variation of it may, is drawn
    found = space.snapped(np.where(base == ABSENT, drawn, np.where(generator.random(shape) < share, moved, base)))
    return found[space.allowed(found)]


def untaken(rows: Array, taken: set[bytes]) -> Array:
    """Return rows once each without those whose bytes are taken."""
    rows = np.ascontiguousarray(rows)
    places = {row.tobytes(): place for place, row in reversed(list(enumerate(rows)))}
    return rows[sorted(place for key, place in places.items() if key not in taken)]


def imagined(posterior: Posterior, rows: Array, generator: np.random.Generator) -> Posterior:
    """Return the model after running trials at rows, each version of it with other imagined values."""
    normal = NormalDist()
    # evenly spread instead of random: the mean over versions is that of the model
    scores = np.array([normal.inv_cdf((version + 0.5) / FANTASIES) for version in range(FANTASIES)])
    for row in rows:
        posterior = posterior.extended(row, generator.permutation(scores))
    return posterior
