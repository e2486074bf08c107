"""What each trial is worth to a search that learns: its own result, or what W&B's ``impute`` says in its place.

Source of the rules: ``sweeps/bayes_search.py`` 0.3.0. One thing differs: W&B takes 0.0 where a failed run has no
value of its own (``impute: best`` or ``latest``), this takes the worst value. Zero would be the best of all losses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurmsweep.sweepfile.sections import Metric


class LoggedResult(NamedTuple):
    """What a trial has logged of the metric. Each number is finite, or None where nothing was logged.

    Attributes:
        has_ended: no more values come.
        counts: it ended in such a way that its own values count.
        latest: the last value.
        lowest, highest: of all values.
    """

    has_ended: bool
    counts: bool
    latest: float | None = None
    lowest: float | None = None
    highest: float | None = None


def worth(results: Sequence[LoggedResult], metric: Metric) -> list[float | None]:
    """Return the value of each trial, as logged; None for one whose value is open, or where no trial has any.

    A trial that counts has the best value that it logged. One that does not, because it failed, has what ``impute``
    says: the worst value of all trials that ended, or its own best or latest one. One that runs has a value only where
    ``impute_while_running`` says so, by the same words.
    """
    minimizes = metric.goal == "minimize"
    bad = [one.highest if minimizes else one.lowest for one in results if one.has_ended]
    ended = [value for value in bad if value is not None]
    worst = None if not ended else max(ended) if minimizes else min(ended)

    def by(rule: str, one: LoggedResult) -> float | None:
        own = {"best": one.lowest if minimizes else one.highest, "latest": one.latest}.get(rule)
        return worst if own is None else own

    def value(one: LoggedResult) -> float | None:
        if not one.has_ended:
            return None if metric.impute_while_running == "false" else by(metric.impute_while_running, one)
        return by("best" if one.counts else metric.impute, one)

    return [value(one) for one in results]
