"""Arithmetic that gives the same digits on every machine, and numbers as a person would write them.

The C library's ``exp`` and ``log`` differ in the last digit between machines; :mod:`decimal` does not. A point computed
on a login node must be the one that ran on a compute node.
"""

from __future__ import annotations

from decimal import Context, Decimal

#: Far more digits than a float has (17), and a range beyond it; not the thread's own context, which others may change.
_EXACT = Context(prec=50)


def ceil_div(a: int, b: int) -> int:
    """Return the quotient rounded up, exactly: ``a`` may be beyond all floats."""
    return -(-a // b)


def multiple(count: int, q: float, offset: float = 0) -> float:
    """``offset + count * q`` as a person would write it: 1.3 and not 1.3000000000000003."""
    return float(_EXACT.add(Decimal(repr(offset)), _EXACT.multiply(Decimal(count), Decimal(repr(q)))))


def exp(x: float) -> float:
    """E to the power of ``x``, the float next to it."""
    return float(_EXACT.exp(Decimal(x)))


def log(x: float) -> float:
    """The natural logarithm of ``x`` > 0, the float next to it."""
    return float(_EXACT.ln(Decimal(x)))
