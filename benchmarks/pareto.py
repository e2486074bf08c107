"""The Pareto front of many trials: beside sorting them, beside the definition (every pair), and its place in memory.

    python benchmarks/pareto.py [POINTS]

Ratios are of one run. "all in the front" is the worst there is, and rarer than any real sweep.
"""

from __future__ import annotations

import math
import random
import sys
import time
from typing import TYPE_CHECKING

from slurmsweep.report.pareto import non_dominated
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.trial import Attempt
from slurmsweep.state.trial_index import TrialIndex

if TYPE_CHECKING:
    from collections.abc import Callable

#: Points that every pair of can be compared in reasonable time.
FEW = 2000


def seconds(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def by_definition(points: dict[int, tuple[float, ...]]) -> list[int]:
    return [
        key
        for key, point in points.items()
        if not any(other != point and all(map(float.__le__, other, point)) for other in points.values())
    ]


def cloud(count: int, dimensions: int) -> dict[int, tuple[float, ...]]:
    rng = random.Random(count)
    return {number: tuple(rng.random() for _ in range(dimensions)) for number in range(count)}


def front(count: int, dimensions: int) -> dict[int, tuple[float, ...]]:
    """Points of a sphere: none dominates another."""
    return {n: tuple(-v / math.hypot(*point) for v in point) for n, point in cloud(count, dimensions).items()}


def compare(points: dict[int, tuple[float, ...]], title: str) -> None:
    found: list[int] = []
    ours = seconds(lambda: found.extend(non_dominated(points)))
    sorting = seconds(lambda: sorted(points.values()))
    few = dict(list(points.items())[:FEW])
    pairs = seconds(lambda: by_definition(few)) / max(seconds(lambda: non_dominated(few)), 1e-9)
    print(
        f"{title:32} {len(found):7,} in the front; {ours / sorting:5.1f} times as long as sorting ({ours:.2f} s); "
        f"for {len(few):,} of them every pair takes {pairs:,.0f} times as long"
    )


def bytes_a_trial(count: int, metrics: dict[str, float] | None) -> float:
    index = TrialIndex()
    outcome = Outcome(TrialState.FINISHED, exit_code=0, metric=0.5, metrics=metrics, seconds=61.5, ended=2.5)
    for number in range(count):
        owner = Owner("node", 1000, 5, "boot", "", "n1", "c", str(100 + number // 1000), number % 1000)
        index.open(number).attempts[1] = Attempt(1, f"{number:016x}", owner, 1.5, outcome)
    described, columns = index.dump()
    return len(columns) / described["rows"]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    print(f"{count:,} points")
    for dimensions in (2, 3):
        compare(cloud(count, dimensions), f"{dimensions} metrics, at random")
        compare(front(count, dimensions), f"{dimensions} metrics, all in the front")
    for metrics in (None, {"a": 1.0, "b": 2.0}, {"a": 1.0, "b": 2.0, "c": 3.0}):
        print(f"a trial with {len(metrics or ())} further metrics: {bytes_a_trial(5000, metrics):.0f} bytes")


if __name__ == "__main__":
    main()
