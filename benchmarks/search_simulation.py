"""Asynchronous workers in simulated time, the curve of the best trial, and the comparison of paired curves."""

from __future__ import annotations

import heapq
import math
import random
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Searcher(Protocol):
    """What is asked for points: a process of an engine."""

    def start(self, parameters: dict[str, Any], extensions: dict[str, Any], goal: str, seed: int) -> None:
        """Begin a new search."""

    def ask(self, number: int) -> tuple[dict[str, Any], float]:
        """Return the point of a trial that starts now, and the CPU seconds that it took."""

    def tell(self, number: int, value: float | None) -> None:
        """Tell the value of a trial that ended."""


class Curve(NamedTuple):
    """One search.

    Attributes:
        best: after each trial that ended, the value of the best observed one, without noise where the problem knows
            it; infinite while there is none. Smaller is better: a maximised metric has changed its sign.
        cpu: seconds of each proposal, in the order of the trials.
        failed: how many trials had no finite value.
        length: when the last trial ended, in mean durations of a trial.
    """

    best: list[float]
    cpu: list[float]
    failed: int
    length: float


def simulate(  # noqa: PLR0913, PLR0917 - what a search is
    searcher: Searcher, problem: Any, name: str, seed: int, in_flight: int, trials: int
) -> Curve:
    """Run a search with ``in_flight`` workers: a worker that becomes free asks at once, while the others still run.

    How long a trial runs, and its noise, depend on problem, seed and number of the trial only: they are the same for
    every engine, which makes the curves of one problem and seed a pair. Durations are log-normal with mean 1: a few
    trials take several times as long as most. A trial that raises an error has failed.
    """
    sign = -1.0 if getattr(problem, "goal", "minimize") == "maximize" else 1.0
    durations = random.Random(f"{name}/{seed}")
    extensions = getattr(problem, "extensions", {})
    searcher.start(problem.space, extensions, "maximize" if sign < 0 else "minimize", seed)
    running: list[tuple[float, int]] = []
    points: dict[int, dict[str, Any]] = {}
    incumbent, kept, failed, now = math.inf, math.inf, 0, 0.0
    best: list[float] = []
    cpu: list[float] = []
    for number in range(trials + in_flight):
        if number >= in_flight or number >= trials:
            if not running:
                break
            now, ended = heapq.heappop(running)
            point = points[ended]
            value = sign * evaluate(problem, point, np.random.default_rng([seed, ended]))
            searcher.tell(ended, sign * value if math.isfinite(value) else None)
            failed += not math.isfinite(value)
            if value < incumbent:
                incumbent = value
                kept = sign * problem.true(point) if hasattr(problem, "true") else value
            best.append(kept)
        if number < trials:
            points[number], seconds = searcher.ask(number)
            cpu.append(seconds)
            heapq.heappush(running, (now + durations.lognormvariate(-0.125, 0.5), number))
    return Curve(best, cpu, failed, now)


def evaluate(problem: Any, point: dict[str, Any], rng: np.random.Generator) -> float:
    """Return the value of a trial; NaN if it failed or gave no number."""
    try:
        return float(problem.evaluate(point, rng))
    except (ArithmeticError, ValueError, RuntimeError):
        return math.nan


class Pairs(NamedTuple):
    """How often the first of two was better, equal, worse; ``p`` is of the two-sided sign test without the ties."""

    wins: int
    ties: int
    losses: int

    @property
    def p(self) -> float:
        """Return how likely a split at least as uneven is if both are equally good."""
        return sign_test(self.wins, self.losses)

    def __str__(self) -> str:
        return f"{self.wins}/{self.ties}/{self.losses} p={self.p:.2g}"


def compare(pairs: Iterable[tuple[float, float]]) -> Pairs:
    """Count wins, ties and losses of the first of each pair; the smaller value wins."""
    counts = [0, 0, 0]
    for ours, theirs in pairs:
        same = ours == theirs or math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-12)
        counts[1 if same else 0 if ours < theirs else 2] += 1
    return Pairs(*counts)


def sign_test(wins: int, losses: int) -> float:
    """Return the two-sided p of the sign test: a fair coin that falls as unevenly as this, or more so."""
    n, most = wins + losses, max(wins, losses)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(most, n + 1)) / 2**n)


def ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value, 1 for the smallest; equal values share the mean of their ranks."""
    order = sorted(values)
    return [order.index(value) + (order.count(value) + 1) / 2 for value in values]


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile; infinite values stay in their place."""
    order = sorted(values)

    def at(share: float) -> float:
        place = share * (len(order) - 1)
        low = order[math.floor(place)]
        high = order[math.ceil(place)]
        return low if low == high else low + (place - math.floor(place)) * (high - low)

    return at(0.25), at(0.5), at(0.75)
