"""Which point comes next: pure functions of configuration, number and seed. No I/O, no state, no global generator.

A point of a grid or random search is a function of the trial's number, so nothing is stored ahead and any machine
computes the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.errors import UsageError
from slurmsweep.search import grid, random

if TYPE_CHECKING:
    from slurmsweep.sweepfile.config import SweepConfig

__all__ = ["parameters", "run_count"]


def run_count(config: SweepConfig) -> int | None:
    """W&B's *Est. Runs*: the number of trials a sweep has; None for a search without an end and without ``run_cap``."""
    if config.method != "grid":
        return config.run_cap
    points = grid.size(config.parameters)
    return points if config.run_cap is None else min(points, config.run_cap)


def parameters(config: SweepConfig, number: int, seed: str) -> dict[str, Any]:
    """The point of a trial, in the order W&B emits: flat names sorted, then nested ones.

    Args:
        config: checked; its method is grid or random.
        number: 0.. ; below :func:`run_count` for a grid.
        seed: any text; the sweep's id. A grid does not use it.

    Raises:
        UsageError: the method is bayes.
        ValueError: a grid has no point of that number.
    """
    if config.method == "grid":
        return grid.point(config.parameters, number)
    if config.method == "random":
        return random.point(config.parameters, number, seed)
    raise UsageError(
        f"method {config.method}: its points depend on results, and this version cannot propose them: use random"
    )
