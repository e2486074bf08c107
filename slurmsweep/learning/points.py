"""The points of a sweep whose points run several times: what each is worth, and which of them are out of the race."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

from slurmsweep import search

if TYPE_CHECKING:
    from slurmsweep.state.replay import SweepView
    from slurmsweep.sweepfile.config import SweepConfig


class PointValues(NamedTuple):
    """What the runs of a point ended with.

    Attributes:
        number: of the point.
        values: by trial, of the runs that ended with a value.
        worth: of the point; None until all of its runs have a value.
    """

    number: int
    values: dict[int, float]
    worth: float | None

    @property
    def spread(self) -> float | None:
        """The standard deviation between the runs; None of fewer than two."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None


def point_values(config: SweepConfig, view: SweepView) -> dict[int, PointValues]:
    """Return by number the points of which a run has ended with a value of the metric, in no certain order."""
    repeats, numbers, metric = config.extensions.repeats, search.numbering(config), config.metric
    if repeats is None or numbers is None or metric is None:
        return {}
    values: dict[int, dict[int, float]] = {}
    for number, value in view.trials.valued():
        values.setdefault(numbers.of(number)[0], {})[number] = value
    points = {}
    for point, found in values.items():
        worth = repeats.worth(found.values(), metric.goal) if len(found) == numbers.runs else None
        points[point] = PointValues(point, found, worth)
    return points


def ranked_points(config: SweepConfig, view: SweepView) -> list[PointValues]:
    """Return the points of which every run has a value, best first, equal ones by number."""
    sign = -1.0 if config.metric and config.metric.goal == "maximize" else 1.0
    done = [one for one in point_values(config, view).values() if one.worth is not None]
    return sorted(done, key=lambda one: (sign * (one.worth or 0.0), one.number))


def not_needed(config: SweepConfig, view: SweepView) -> list[int]:
    """Return the trials that were never claimed and cannot change which point is best, ascending.

    A person who asks for one of them by number gets it: it has been claimed then.
    """
    repeats, numbers, metric, points = (
        config.extensions.repeats, search.numbering(config), config.metric, search.point_count(config)
    )  # fmt: skip
    if repeats is None or repeats.race is None or numbers is None or metric is None or points is None:
        return []
    from slurmsweep.search.race import out_of_race

    values = {point: list(one.values.values()) for point, one in point_values(config, view).items()}
    out = out_of_race(repeats, metric.goal, values, points)
    return sorted(n for point in out for n in numbers.trials(point) if n not in view.trials)
