"""Which point comes next: pure functions of configuration, number and seed. No I/O, no state, no global generator.

A point of a grid or random search is a function of the trial's number, so nothing is stored ahead and any machine
computes the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.errors import UsageError
from slurmsweep.search.grid import grid_of

if TYPE_CHECKING:
    from slurmsweep.sweepfile.config import SweepConfig

__all__ = ["number_of", "parameters", "run_count"]


def run_count(config: SweepConfig) -> int | None:
    """W&B's *Est. Runs*: the number of trials a sweep has; None for a search without an end and without ``run_cap``."""
    if config.method != "grid":
        return config.run_cap
    points = grid_of(config).size()
    return points if config.run_cap is None else min(points, config.run_cap)


def parameters(config: SweepConfig, number: int, seed: str) -> dict[str, Any]:
    """The point of a trial, in the order W&B emits: flat names sorted, then nested ones.

    Args:
        config: checked; its method is grid or random.
        number: 0.. ; below :func:`run_count` for a grid.
        seed: any text; the sweep's id. A grid in W&B's order does not use it.

    Raises:
        UsageError: the method is bayes; or exclusions leave nothing to draw.
        ValueError: a grid has no point of that number.
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
    raise UsageError(
        f"method {config.method}: its points depend on results, and this version cannot propose them: use random",
    )


def number_of(config: SweepConfig, point: dict[str, Any], seed: str) -> int | None:
    """The trial that has this point; None where the search is no grid, or the point not on it."""
    if config.method != "grid":
        return None
    grid = grid_of(config)
    number = grid.number(point)
    if number is None or config.extensions.order != "shuffled":
        return number
    from slurmsweep.search.permutation import unshuffled

    return unshuffled(number, grid.size(), seed)
