"""Shuffle the numbers below n without a list of them: each place is computed.

A Feistel network permutes the numbers below a power of four. A result of n or more is permuted again until it is below
n (cycle walking); at least one in four is at once. The same seed gives the same order on every machine.
"""

from __future__ import annotations

import hashlib

_ROUNDS = 6


def shuffled(number: int, size: int, seed: str) -> int:
    """Return the number at place ``number`` of the shuffled order; 0 <= number < size. A bijection for each seed."""
    half = _half_bits(size)
    while True:
        left, right = number >> half, number & ((1 << half) - 1)
        for turn in range(_ROUNDS):
            left, right = right, left ^ _mix(right, turn, half, seed)
        number = left << half | right
        if number < size:
            return number


def unshuffled(number: int, size: int, seed: str) -> int:
    """Return the place of ``number`` in the shuffled order: the inverse of :func:`shuffled`."""
    half = _half_bits(size)
    while True:
        left, right = number >> half, number & ((1 << half) - 1)
        for turn in reversed(range(_ROUNDS)):
            left, right = right ^ _mix(left, turn, half, seed), left
        number = left << half | right
        if number < size:
            return number


def _half_bits(size: int) -> int:
    """Return half of the bits that hold every number below ``size``, at least 1."""
    return max(1, ((size - 1).bit_length() + 1) // 2)


def _mix(value: int, turn: int, half: int, seed: str) -> int:
    digest = hashlib.blake2b(f"{seed}/{turn}/{value}".encode(), digest_size=max(8, (half + 7) // 8)).digest()
    return int.from_bytes(digest, "big") & ((1 << half) - 1)
