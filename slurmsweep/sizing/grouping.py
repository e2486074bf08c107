"""Put trials of different needs into few groups, so that as little as possible is asked for in vain.

All trials of a group ask for what the neediest of them needs. Where the groups end is found by dynamic programming
over the sorted needs; a further group is made only where it saves a tenth of all that is asked.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: Share of all that is asked that a further group must save: each group is one more array to submit and to look at.
_WORTH_A_GROUP = 0.1

#: Number of distinct needs that are told apart; of more, neighbours count as the largest of them.
_FINEST = 100


def group_limits(needs: Mapping[int, int], most: int) -> list[int]:
    """Return what each of at most so many groups asks for, ascending; ``needs`` has the number of trials by need."""
    ordered = sorted(needs.items())
    width = math.ceil(len(ordered) / _FINEST)
    chunks = (ordered[start : start + width] for start in range(0, len(ordered), width))
    steps = [(chunk[-1][0], sum(count for _, count in chunk)) for chunk in chunks]
    found = [steps[-1][0]]
    for groups in range(2, min(most, len(steps)) + 1):
        finer = _best_split(steps, groups)
        if _asked(steps, found) - _asked(steps, finer) < _WORTH_A_GROUP * _asked(steps, found):
            break
        found = finer
    return found


def limit_for(need: int, limits: Sequence[int]) -> int:
    """Return the least of the ascending ``limits`` that covers a need; the largest of them if none does."""
    return limits[min(bisect_left(limits, need), len(limits) - 1)]


def _asked(steps: Iterable[tuple[int, int]], limits: Sequence[int]) -> int:
    """Return the sum of what all trials ask for."""
    return sum(count * limit_for(need, limits) for need, count in steps)


def _best_split(steps: Sequence[tuple[int, int]], groups: int) -> list[int]:
    """Return the limits of ``groups`` groups that ask for the least in all."""
    before = [0]
    for _, count in steps:
        before.append(before[-1] + count)
    # best[n - 1]: the least that the first n steps can ask for in k groups, and where these end; k grows by one a turn
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
