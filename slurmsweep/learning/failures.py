"""Find the values that make trials fail: told only where chance would hardly do the same.

Each cause by itself, beside all other trials: out of memory has other reasons than an exit code.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from functools import partial
from itertools import accumulate
from operator import eq
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.learning.results import ABSENT, Factor, label

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slurmsweep.learning.results import TrialResult

#: The largest probability, times the number of tests, that counts as evidence.
EVIDENCE = 0.05

#: The most steps of the exact rank test; for more there is the normal approximation.
_MOST_STEPS = 3_000_000

#: Bounds of an ordered parameter that are compared, at most.
_MOST_BOUNDS = 200


class FailureFinding(NamedTuple):
    """Values of one parameter with which more trials fail than with others.

    Attributes:
        parameter: its name.
        values: which: ``sgd``, ``at least 0.1``, ``at most 8``, ``absent``.
        cause: of these failures; those with another cause count as trials that did not fail so.
        failed, trials: of those with such a value.
        elsewhere_failed, elsewhere_trials: of all others, of a conditional parameter those that have it.
        test: of one value against the others, or of whether failures have larger or smaller values.
        p: how likely so clear a difference is where the parameter makes none, times the number of tests.
    """

    parameter: str
    values: str
    cause: str
    failed: int
    trials: int
    elsewhere_failed: int
    elsewhere_trials: int
    test: str
    p: float


class FailureEvidence(NamedTuple):
    """What failed, and what it may depend on.

    Attributes:
        trials: how many were looked at.
        failed: how many of them failed.
        causes: of all of them, by frequency.
        tests: how many were made.
        findings: those with evidence, the clearest first.
    """

    trials: int
    failed: int
    causes: dict[str, int]
    tests: int
    findings: tuple[FailureFinding, ...]


class _Test(NamedTuple):
    """One test: the results that it compares, its name, its probability, and the values that it is about."""

    factor: Factor
    results: Sequence[TrialResult]
    name: str
    p: float
    values: str
    meant: Callable[[Any], bool]

    def finding(self, cause: str) -> FailureFinding:
        """Return how many trials failed by this cause with the values, and how many with others."""
        inside = [one for one in self.results if self.meant(self.factor.level(one.point))]
        failed = sum(one.failure == cause for one in inside)
        elsewhere = sum(one.failure == cause for one in self.results) - failed
        counts = failed, len(inside), elsewhere, len(self.results) - len(inside)
        return FailureFinding(self.factor.name, self.values, cause, *counts, self.name, self.p)


def failures(factors: Sequence[Factor], results: Sequence[TrialResult]) -> FailureEvidence:
    """Return which values make trials fail.

    Unordered values are tested one by one against all others, by Fisher's exact test; ordered ones by whether failures
    have larger or smaller values than others (Wilcoxon's rank-sum test). Limit: failures in the middle of an ordered
    parameter are not found.
    """
    causes = dict(Counter(one.failure for one in results if one.failure).most_common())
    tests, found = 0, []
    for cause in causes:
        made = [test for factor in factors for test in _tests(factor, cause, factor.concerned(results))]
        tests += len(made)
        found += [test.finding(cause) for test in made]
    # of two values one is as clear as the other: only the worse one is told
    worse = (one for one in found if one.failed * one.elsewhere_trials > one.elsewhere_failed * one.trials)
    clear = [one._replace(p=one.p * tests) for one in worse if one.p * tests < EVIDENCE]
    clear.sort(key=lambda one: (one.p, one.parameter))
    return FailureEvidence(len(results), sum(causes.values()), causes, tests, tuple(clear))


def _tests(factor: Factor, cause: str, results: Sequence[TrialResult]) -> list[_Test]:
    """Return the tests of one factor for one cause: of each unordered value and of absence, and one of all numbers."""
    levels = [factor.level(one.point) for one in results]
    bad = [one.failure == cause for one in results]
    singles = {level: factor.label(one.point) for level, one in zip(levels, results, strict=True)}
    if len(singles) < 2 or all(bad):
        return []
    tests = []
    if factor.ordered:
        pairs = [(level, one) for level, one in zip(levels, bad, strict=True) if isinstance(level, float)]
        singles = {level: text for level, text in singles.items() if level == ABSENT}
        if len({level for level, _ in pairs}) > 1 and len({one for _, one in pairs}) > 1:
            tests.append(_ordered_test(factor, results, pairs))
    for level, text in singles.items():
        inside = [one for here, one in zip(levels, bad, strict=True) if here == level]
        p = fisher(sum(inside), len(inside), sum(bad), len(bad))
        tests.append(_Test(factor, results, "Fisher's exact test", p, text, partial(eq, level)))
    return tests


def _ordered_test(factor: Factor, results: Sequence[TrialResult], pairs: list[tuple[float, bool]]) -> _Test:
    """Return the rank test of levels and failures, with the bound that separates failures best from the others."""
    levels, bad = [level for level, _ in pairs], [failed for _, failed in pairs]
    p, larger = rank_sum(levels, bad)
    bounds = sorted(set(levels))
    bounds = (bounds[1:] if larger else bounds[:-1])[:: -(-len(bounds) // _MOST_BOUNDS)]

    ascending = sorted(pairs)
    ordered = [level for level, _ in ascending]
    below = [0, *accumulate(failed for _, failed in ascending)]  # failures among so many of the lowest levels

    def chance(bound: float) -> float:
        """Return how likely so many failures are on this side of a bound by chance."""
        at = bisect_left(ordered, bound) if larger else bisect_right(ordered, bound)
        failed, inside = (below[-1] - below[at], len(bad) - at) if larger else (below[at], at)
        return fisher(failed, inside, below[-1], len(bad))

    best = min(bounds, key=chance)
    words = "at least" if larger else "at most"

    def is_meant(level: Any) -> bool:
        return isinstance(level, float) and (level >= best if larger else level <= best)

    return _Test(factor, results, "rank test", p, f"{words} {label(best)}", is_meant)


def fisher(inside: int, trials: int, failed: int, total: int) -> float:
    """Return how likely ``inside`` or more of ``failed`` failures are among ``trials`` of ``total`` by chance.

    R. A. Fisher's exact test, one-sided.
    """
    least = max(inside, trials + failed - total)

    def log(hits: int) -> float:
        return _choices(failed, hits) + _choices(total - failed, trials - hits) - _choices(total, trials)

    return min(1.0, math.fsum(math.exp(log(hits)) for hits in range(least, min(trials, failed) + 1)))


def _choices(n: int, k: int) -> float:
    """Return the logarithm of the number of ways to choose k of n."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def rank_sum(levels: Sequence[float], chosen: Sequence[bool]) -> tuple[float, bool]:
    """Return how likely so large or so small a sum of ranks of the chosen is by chance, and whether it is large.

    F. Wilcoxon's test, two-sided, equal values with their mean rank: exact where that takes little, else by the normal
    distribution with corrections for ties and for continuity (E. L. Lehmann, "Nonparametrics", 1.4).
    """
    counts = Counter(levels)
    doubled, below = {}, 0
    for level in sorted(counts):
        doubled[level] = 2 * below + counts[level] + 1  # twice the mean rank is a whole number
        below += counts[level]
    n, k = len(levels), sum(chosen)
    ranks = [doubled[level] for level in levels]
    seen, middle = sum(rank for rank, one in zip(ranks, chosen, strict=True) if one), k * (n + 1)
    k = min(k, n - k)  # the others' sum is as far from its own middle
    if n * k * k * 2 * n <= _MOST_STEPS:
        return _exact(ranks, k, abs(seen - middle)), seen > middle
    ties = sum(count**3 - count for count in counts.values())
    variance = k * (n - k) / 3 * (n + 1 - ties / (n * (n - 1)))  # of twice the sum
    z = max(0.0, abs(seen - middle) - 1) / math.sqrt(variance)
    return math.erfc(z / math.sqrt(2)), seen > middle


def _exact(ranks: Sequence[int], k: int, distance: int) -> float:
    """Return the share of choices of k ranks whose sum is at least this far from the middle."""
    ways: list[Counter[int]] = [Counter({0: 1})] + [Counter() for _ in range(k)]
    for rank in ranks:
        for chosen in range(k, 0, -1):
            for total, count in ways[chosen - 1].items():
                ways[chosen][total + rank] += count
    middle = k * (len(ranks) + 1)
    far = sum(count for total, count in ways[k].items() if abs(total - middle) >= distance)
    return far / math.comb(len(ranks), k)
