"""Compute the points of a search: pure functions of configuration, number and seed, without a global generator.

A point of a grid or random search depends on the trial's number only, so nothing is stored ahead, and every machine
computes the same point. A point of a bayes search depends on results (:mod:`slurmsweep.search.bayes`), so the claim of
its trial keeps it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.errors import UsageError
from slurmsweep.search.grid import grid_of
from slurmsweep.sweepfile.config import MOST_DIGITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.repeats import Numbering

__all__ = ["faults", "number_of", "numbering", "parameters", "place_of", "point_count", "point_of", "run_count"]


def run_count(config: SweepConfig) -> int | None:
    """Return the number of trials of a sweep (W&B's *Est. Runs*); None for an endless search without ``run_cap``."""
    points = point_count(config)
    return None if points is None else points * config.extensions.runs_each


def numbering(config: SweepConfig) -> Numbering | None:
    """Return which trials are the runs of which point; None where every trial is a point of its own."""
    repeats = config.extensions.repeats
    return repeats.numbering(config.method, point_count(config)) if repeats else None


def point_count(config: SweepConfig) -> int | None:
    """Return the number of points of a sweep, ``run_cap`` included; None for an endless search without it.

    Raises UsageError: there are too many to count, or to number trials by them.
    """
    if config.method != "grid":
        return config.run_cap
    points = grid_of(config).size()
    if points > 10**MOST_DIGITS:
        raise UsageError(f"the parameters are a grid of more than 10^{MOST_DIGITS} points: use method: random")
    return points if config.run_cap is None else min(points, config.run_cap)


def parameters(config: SweepConfig, number: int, seed: str, kept: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the parameters of a trial in W&B's order: its point, and the value that it has as a run of that point.

    Args and errors as :func:`point_of`; an empty point is returned as it is.
    """
    repeats, numbers = config.extensions.repeats, numbering(config)
    if repeats is None or numbers is None:
        return point_of(config, number, seed, kept)
    from slurmsweep.search.repeats import with_run

    place, run = numbers.of(number)
    point = point_of(config, place, seed, kept)
    return with_run(config, point, repeats, run) if point else point


def number_of(config: SweepConfig, point: dict[str, Any], seed: str) -> int | None:
    """Return the number of the trial with these parameters; None if the search is no grid, or it has no such trial."""
    repeats, numbers = config.extensions.repeats, numbering(config)
    if repeats is None or numbers is None:
        return place_of(config, point, seed)
    from slurmsweep.search.repeats import run_of

    place, run, total = place_of(config, point, seed), run_of(point, repeats), point_count(config)
    beyond = place is not None and total is not None and place >= total
    return None if place is None or run is None or beyond else numbers.number(place, run)


def point_of(config: SweepConfig, number: int, seed: str, kept: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a point in W&B's order: flat names sorted, then nested names.

    Args:
        config: of the sweep.
        number: of the point, from 0 on.
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


def place_of(config: SweepConfig, point: dict[str, Any], seed: str) -> int | None:
    """Return the number of a point; None if the search is no grid, or the point is not on it."""
    if config.method != "grid":
        return None
    grid = grid_of(config)
    number = grid.number(point)
    if number is None or config.extensions.order != "shuffled":
        return number
    from slurmsweep.search.permutation import unshuffled

    return unshuffled(number, grid.size(), seed)
