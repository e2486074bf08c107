"""Compute the points of a search: pure functions of configuration, number and seed, without a global generator.

A point of a grid or random search depends on the trial's number only, so nothing is stored ahead, and every machine
computes the same point. A point of a bayes search depends on results (:mod:`slurmsweep.search.bayes`), so the claim of
its trial keeps it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.search.grid import grid_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slurmsweep.sweepfile.config import SweepConfig

__all__ = ["faults", "number_of", "parameters", "run_count"]


def run_count(config: SweepConfig) -> int | None:
    """Return the number of trials of a sweep (W&B's *Est. Runs*); None for an endless search without ``run_cap``."""
    if config.method != "grid":
        return config.run_cap
    points = grid_of(config).size()
    return points if config.run_cap is None else min(points, config.run_cap)


def parameters(config: SweepConfig, number: int, seed: str, kept: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the point of a trial in W&B's order: flat names sorted, then nested names.

    Args:
        config: of the sweep.
        number: of the trial, from 0 on.
        seed: any text, usually the sweep's id.
        kept: what the trial's claim kept of the point (:func:`.kept.kept`): where the search learns, and of a trial
            that a random search took over from another sweep.

    Returns:
        The point; an empty one where the search learns and chose none for this trial yet.

    Raises:
        UsageError: the exclusions leave nothing to draw.
        ValueError: the grid has no point of that number.
    """
    if config.method == "grid":
        grid = grid_of(config)
        if config.extensions.order == "shuffled" and 0 <= number < grid.size():
            from slurmsweep.search.permutation import shuffled

            number = shuffled(number, grid.size(), seed)
        return grid.point(number)
    if config.method == "random" and kept is None:
        from slurmsweep.search import random

        return random.point(config, number, seed)
    from slurmsweep.search.kept import restored

    return {} if kept is None else restored(config, kept)


def faults(config: SweepConfig, point: Mapping[str, Any]) -> list[str]:
    """Return why computed parameters that a point of this sweep should have are not in it; usually nothing."""
    if not config.extensions.computed:
        return []
    from slurmsweep.search.flat import flatten, found
    from slurmsweep.sweepfile import presence

    values = found(point, [path for path, _ in flatten(config.parameters)])
    wrong = presence.faults(values, config.extensions.computed)
    return [f"the parameter {'.'.join(path)} has no value: {why}" for path, why in wrong]


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
