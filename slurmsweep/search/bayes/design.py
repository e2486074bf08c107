"""The first points: spread over the space before any result is known, a function of seed and number only.

So agents that start together, which know nothing of each other, do not choose nearly the same point.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from slurmsweep.search.bayes.arrays import Array


#: Up to so many dimensions the additive sequence covers a space more evenly than random points do.
_MOST_EVEN = 16

#: The part of the ranges, around their middle, that every other one of the first points covers.
WIDTH = 0.85


def generator(seed: str, number: int, purpose: str) -> np.random.Generator:
    """Return a generator of random numbers that depends on its arguments only."""
    digest = hashlib.blake2b(f"{purpose}/{number}/{seed}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))


def spread(dimensions: int, seed: str, number: int) -> Array:
    """Return the point of that number, shape (dimensions,), of an evenly spread sequence in the unit cube.

    The first point is the middle, since ranges are chosen around what is likely. Of the others, those with an odd
    number keep a distance from the ends of ranges, and those with an even number cover all of them. It is the additive
    recurrence by powers of the generalised golden ratio (M. Roberts 2018, "R-sequence"), shifted by the seed; in many
    dimensions, where its points line up, independent random points.
    """
    if not number:
        return np.full(dimensions, 0.5)
    width = WIDTH if number % 2 else 1.0
    if dimensions > _MOST_EVEN:
        return 0.5 + width * (generator(seed, number, "spread").random(dimensions) - 0.5)
    ratio = 2.0
    for _ in range(60):
        ratio = (1 + ratio) ** (1 / (dimensions + 1))
    shift = generator(seed, 0, "spread").random(dimensions)
    steps: Array = ratio ** -np.arange(1.0, dimensions + 1)
    return 0.5 + width * ((shift + number * steps) % 1.0 - 0.5)
