"""Quantiles of the beta distribution by the standard library: compute nodes need no numpy for one distribution.

The regularised incomplete beta function is computed by its continued fraction (Abramowitz and Stegun 26.5.8, Lentz's
method) and inverted by bisection, which is slower than Newton's method but always converges.
"""

from __future__ import annotations

import math

_TINY = 1e-300
_ENOUGH = 1e-16


def beta_quantile(x: float, a: float, b: float) -> float:
    """Return the value v with a share ``x`` of Beta(a, b) below v; 0 <= x <= 1, a > 0, b > 0. Exact to about 1e-15."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    low, high = 0.0, 1.0
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return middle
        if beta_cdf(middle, a, b) < x:
            low = middle
        else:
            high = middle


def beta_cdf(v: float, a: float, b: float) -> float:
    """Return the share of Beta(a, b) below ``v``, 0 < v < 1."""
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(v) + b * math.log1p(-v))
    # the fraction converges fast only on this side of the mean
    if v < (a + 1) / (a + b + 2):
        return front * _fraction(v, a, b) / a
    return 1 - front * _fraction(1 - v, b, a) / b


def _fraction(v: float, a: float, b: float) -> float:
    """Return the continued fraction of the incomplete beta function."""
    c, d = 1.0, 1 / _away_from_zero(1 - (a + b) * v / (a + 1))
    result = d
    for m in range(1, 10_000):
        for term in (
            m * (b - m) * v / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * v / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away_from_zero(1 + term * d)
            c = _away_from_zero(1 + term / c)
            result *= d * c
        if abs(d * c - 1) < _ENOUGH:
            break
    return result


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
