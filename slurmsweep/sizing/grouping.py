"""Trials of different needs in few groups, each asking what its neediest needs: the grouping that wastes least."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: What a further group must save of all that is asked: an array more is a call more, and a line more to look at.
_WORTH_A_GROUP = 0.1

#: Distinct needs that are told apart.
_FINEST = 100


def bounds(needs: Mapping[int, int], most: int) -> list[int]:
    """What the groups ask, ascending; the last one is the largest need.

    Args:
        needs: number of trials by need.
        most: groups at most.
    """
    steps = _coarse(needs)
    found = [steps[-1][0]]
    for groups in range(2, min(most, len(steps)) + 1):
        finer = _best_split(steps, groups)
        if _asked(steps, found) - _asked(steps, finer) < _WORTH_A_GROUP * _asked(steps, found):
            break
        found = finer
    return found


def group_of(need: int, limits: Sequence[int]) -> int:
    """What a trial of that need is given: the least of ``limits`` that covers it."""
    return limits[min(bisect_left(limits, need), len(limits) - 1)]


def _coarse(needs: Mapping[int, int]) -> list[tuple[int, int]]:
    """Needs and how many have them, ascending; at most _FINEST, each then the largest of those it stands for."""
    ordered = sorted(needs.items())
    width = -(-len(ordered) // _FINEST)
    chunks = (ordered[start : start + width] for start in range(0, len(ordered), width))
    return [(chunk[-1][0], sum(count for _, count in chunk)) for chunk in chunks]


def _asked(steps: Iterable[tuple[int, int]], limits: Sequence[int]) -> int:
    return sum(count * group_of(need, limits) for need, count in steps)


def _best_split(steps: Sequence[tuple[int, int]], groups: int) -> list[int]:
    """Dynamic programming over where the groups end: the least that is asked for the first n steps by k groups."""
    before = [0]
    for _, count in steps:
        before.append(before[-1] + count)
    best: list[tuple[int, tuple[int, ...]]] = [(steps[n - 1][0] * before[n], (n,)) for n in range(1, len(steps) + 1)]
    for _ in range(groups - 1):
        best = [
            min(
                [best[n - 1]]
                + [
                    (best[m - 1][0] + steps[n - 1][0] * (before[n] - before[m]), (*best[m - 1][1], n))
                    for m in range(1, n)
                ]
            )
            for n in range(1, len(steps) + 1)
        ]
    return [steps[end - 1][0] for end in best[-1][1]]
