"""Multiples of a step without the noise of binary fractions."""

from __future__ import annotations

from decimal import Decimal


def multiple(count: int, q: float, offset: float = 0) -> float | int:
    """``offset + count * q`` as a person would write it: 1.3 and not 1.3000000000000003.

    An integer where step and offset are integers, as W&B casts (``sweeps/params.py``); else a float.
    """
    if isinstance(q, int) and isinstance(offset, int):
        return offset + count * q
    exact = Decimal(repr(offset)) + count * Decimal(repr(q))
    return float(exact)
