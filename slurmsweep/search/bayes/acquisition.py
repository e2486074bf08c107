"""Find the point with the highest expected improvement while others are running.

What running trials will report is unknown, so it is imagined several times (*fantasies*: joint samples of the model);
the expected improvement is the mean over them. It is computed as a logarithm: far from the best points it gets too
small for a float, but its slope still shows the way (Ament et al. 2023).
"""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from slurmsweep.search.bayes.encoding import Space
    from slurmsweep.search.bayes.model import Posterior

    Array = npt.NDArray[np.float64]

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
    return np.log(deviation) + top + np.log(np.exp(each - top[:, None]).mean(axis=1))


def _log_h(z: Array) -> Array:
    """Return log(phi(z) + z Phi(z)) with phi and Phi of the standard normal distribution."""
    x = np.abs(z)
    # Mills' ratio (1 - Phi(x)) / phi(x) by the rational Chebyshev form of erfc (Numerical Recipes 6.2, error 1e-7)
    t = 1 / (1 + 0.5 * x / np.sqrt(2))
    series = np.zeros_like(t)
    for coefficient in _ERFC:
        series = series * t + coefficient
    mills = np.sqrt(np.pi / 2) * t * np.exp(series)
    log_phi = -0.5 * x * x - 0.5 * np.log(2 * np.pi)
    tail = np.where(x > 5, (1 - 3 / np.maximum(x, 5) ** 2 * (1 - 5 / np.maximum(x, 5) ** 2)), 0.0)
    below = np.where(x > 5, tail / np.maximum(x, 5) ** 2, np.maximum(1 - x * mills, 1e-30))
    # h(x) = x + h(-x)
    low = log_phi + np.log(below)
    return np.where(z > 0, np.log(x + np.exp(low) + 1e-300), low)


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


def scores(generator: np.random.Generator, versions: int) -> Array:
    """Return one normal number for each version, evenly spread: their mean is 0."""
    normal = NormalDist()
    even = np.array([normal.inv_cdf((place + 0.5) / versions) for place in range(versions)])
    return generator.permutation(even)


def maximise(
    posterior: Posterior,
    best: Array,
    space: Space,
    taken: set[bytes],
    starts: Array,
    generator: np.random.Generator,
    *,
    draws: int = DRAWS,
    rounds: int = ROUNDS,
) -> tuple[Array, Array]:
    """Return rows in falling order of their expected improvement, and its logarithm; no row is in ``taken``.

    Args:
        posterior: the model, running trials imagined.
        best: the value to improve on in each version.
        space: where rows come from.
        taken: bytes of rows that are not wanted again.
        starts: known good rows to vary from the beginning, shape (k, d).
        generator: the source of random numbers.
        draws: random rows to begin with.
        rounds: rounds of variations.
    """
    lengths = posterior.kernel.lengths
    # a coordinate that hardly matters is varied over its whole range
    steps = np.minimum(lengths, 1.0) * FIRST_STEP
    pool = space.sample(generator, draws)
    if len(starts):
        pool = np.vstack([pool, _varied(space, starts, steps, generator)])
    pool, gains = _ranked(posterior, best, _untaken(pool, taken))
    for _ in range(rounds):
        pool, gains = pool[:KEPT], gains[:KEPT]
        fresh = _untaken(_varied(space, pool, steps, generator), taken | {row.tobytes() for row in pool})
        steps = steps * SHRINK
        if len(fresh):
            more, their_gains = _ranked(posterior, best, fresh)
            pool, gains = np.vstack([pool, more]), np.concatenate([gains, their_gains])
            order = np.argsort(-gains, kind="stable")
            pool, gains = pool[order], gains[order]
    return pool, gains


def _varied(space: Space, rows: Array, steps: Array, generator: np.random.Generator) -> Array:
    """Return variations of rows, none excluded: some coordinates moved by normal steps, or drawn again."""
    base = np.repeat(rows, VARIATIONS, axis=0)
    shape = base.shape
    moved = base + generator.standard_normal(shape) * steps * generator.choice([0.2, 0.5, 1.0], (len(base), 1))
    again = generator.random(shape) < np.where(space.unordered, 1.0, 0.1)
    moved = np.where(again, space.drawn(generator.random(shape)), moved)
    # about half of the variations move one or two coordinates, the others many
    share = np.where(generator.random((len(base), 1)) < 0.5, min(1.0, 1.5 / max(1, shape[1])), 0.7)
    share = np.minimum(share, np.where(space.unordered, 0.3, 1.0))
    found = space.snapped(np.where(generator.random(shape) < share, moved, base))
    return found[space.allowed(found)]


def _untaken(rows: Array, taken: set[bytes]) -> Array:
    """Return rows once each without those that are taken."""
    rows = np.ascontiguousarray(rows)
    seen = set(taken)
    kept = []
    for place, row in enumerate(rows):
        key = row.tobytes()
        if key not in seen:
            seen.add(key)
            kept.append(place)
    return rows[kept]


def _ranked(posterior: Posterior, best: Array, rows: Array) -> tuple[Array, Array]:
    mean, deviation = posterior.predict(rows)
    gains = log_improvement(mean, deviation, best)
    order = np.argsort(-gains, kind="stable")
    return rows[order], gains[order]


def imagined(posterior: Posterior, rows: Sequence[Array] | Array, generator: np.random.Generator) -> Posterior:
    """Return the model after running trials at rows, each version of it with other imagined values."""
    versions = posterior.predict(posterior.x[:1])[0].shape[1] if len(posterior.x) else FANTASIES
    for row in rows:
        posterior = posterior.extended(row, scores(generator, versions))
    return posterior
