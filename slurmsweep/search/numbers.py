"""Arithmetic with the same digits on every machine, and numbers as a person would write them.

``exp`` and ``log`` of the C library differ in the last digit between machines, those of :mod:`decimal` do not. A point
computed on a login node must be the point that ran on a compute node.
"""

from __future__ import annotations

from decimal import Context, Decimal

#: Far more digits than a float has (17), and a wider range; other code cannot change it, unlike the thread's context.
_EXACT = Context(prec=50)


def ceil_div(a: int, b: int) -> int:
    """Return ``a / b`` rounded up, exactly also for integers that no float can hold."""
    return -(-a // b)


def multiple(count: int, q: float, offset: float = 0) -> float:
    """Return ``offset + count * q`` as a person would write it: 1.3 and not 1.3000000000000003."""
    return float(_EXACT.add(Decimal(repr(offset)), _EXACT.multiply(Decimal(count), Decimal(repr(q)))))


def exp(x: float) -> float:
    """Return the float closest to e to the power of ``x``."""
    return float(_EXACT.exp(Decimal(x)))


def log(x: float) -> float:
    """Return the float closest to the natural logarithm of ``x`` > 0."""
    return float(_EXACT.ln(Decimal(x)))
