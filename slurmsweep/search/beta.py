"""Quantiles of the beta distribution with the standard library: no numpy on compute nodes for one distribution.

The regularised incomplete beta function by its continued fraction (Abramowitz and Stegun 26.5.8, evaluated by
Lentz's method), inverted by bisection: slower than Newton's method, and never astray.
"""

from __future__ import annotations

import math

_TINY = 1e-300
_ENOUGH = 1e-16


def beta_quantile(x: float, a: float, b: float) -> float:
    """The value v with a share ``x`` of Beta(a, b) below it; 0 <= x <= 1, a > 0, b > 0. Exact to about 1e-15."""
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
    """The share of Beta(a, b) below ``v``, 0 < v < 1."""
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(v) + b * math.log1p(-v),
    )
    # the fraction converges fast on this side of the mean only
    if v < (a + 1) / (a + b + 2):
        return front * _fraction(v, a, b) / a
    return 1 - front * _fraction(1 - v, b, a) / b


def _fraction(v: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function."""
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
