"""Compute the points of a search: pure functions of configuration, number and seed, without a global generator.

A point of a grid or random search depends on the trial's number only, so nothing is stored ahead, and every machine
computes the same point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.errors import UsageError
from slurmsweep.search.grid import grid_of

if TYPE_CHECKING:
    from slurmsweep.sweepfile.config import SweepConfig

__all__ = ["number_of", "parameters", "run_count"]


def run_count(config: SweepConfig) -> int | None:
    """Return the number of trials of a sweep (W&B's *Est. Runs*); None for an endless search without ``run_cap``."""
    if config.method != "grid":
        return config.run_cap
    points = grid_of(config).size()
    return points if config.run_cap is None else min(points, config.run_cap)


def parameters(config: SweepConfig, number: int, seed: str) -> dict[str, Any]:
    """Return the point of a trial in W&B's order: flat names sorted, then nested names.

    The number of a trial begins at 0; the seed is any text, usually the sweep's id.

    Raises:
        UsageError: the method is bayes, or the exclusions leave nothing to draw.
        ValueError: the grid has no point of that number.
    """
    if config.method == "grid":
        grid = grid_of(config)
        if config.extensions.order == "shuffled" and 0 <= number < grid.size():
            from slurmsweep.search.permutation import shuffled

            number = shuffled(number, grid.size(), seed)
        return grid.point(number)
    if config.method == "random":
        from slurmsweep.search import random

        return random.point(config, number, seed)
    problem = "its points depend on results, and this version cannot propose them: use random"
    raise UsageError(f"method {config.method}: {problem}")


def number_of(config: SweepConfig, point: dict[str, Any], seed: str) -> int | None:
    """Return the number of the trial with this point; None if the search is no grid, or the point is not on it."""
    if config.method != "grid":
        return None
    grid = grid_of(config)
    number = grid.number(point)
    if number is None or config.extensions.order != "shuffled":
        return number
    from slurmsweep.search.permutation import unshuffled

    return unshuffled(number, grid.size(), seed)
