"""Another metric in the place of the sweep's own: what each trial logged under a name, for tables and orders."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from slurmsweep.errors import UsageError
from slurmsweep.metrics.reported import number, reach, read_summary
from slurmsweep.search.flat import flat
from slurmsweep.state.tail import AttemptId
from slurmsweep.sweepfile.sections import Metric

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from slurmsweep.report.summary import SweepSummary, TrialRow
    from slurmsweep.sweepfile.config import SweepConfig

#: Names of metrics that are told where the wanted one is none of them.
_TOLD = 12


def with_metric_named(summary: SweepSummary, rows: Iterable[TrialRow], name: str) -> list[TrialRow]:
    """Return the same trials with the last value of another metric; of trials that run, the value so far.

    Reads what each of these trials logged: for a large sweep some seconds, more on a slow file server.

    Raises:
        UsageError: none of them logged a number of that name.
    """
    found, names = [], dict[str, None]()
    for row in rows:
        logged: dict[str, Any] = {}
        if row.attempt:
            with suppress(OSError):  # a trial whose files cannot be read has no value, as one that logged none
                first = summary.view.first_attempt(row.number)
                logged = read_summary(summary.layout, AttemptId(row.number, row.attempt), first)
        names |= {key: None for key, value in flat(logged) if number(value) is not None}
        found.append(row._replace(metric=number(reach(logged, name)), no_metric=None))
    if found and all(row.metric is None for row in found):
        known = ", ".join(sorted(names)[:_TOLD]) + (", ..." if len(names) > _TOLD else "") or "none"
        raise UsageError(f"none of these trials logged a number named {name!r}; logged were: {known}")
    return found


def judged_by(config: SweepConfig, name: str, goal: str | None = None) -> SweepConfig:
    """Return a configuration with another metric; its goal is that of the sweep file where that names the metric."""
    return config._replace(metric=Metric(name, goal or goal_in_file(config, name) or "minimize"))


def goal_in_file(config: SweepConfig, name: str) -> str | None:
    """Return which values of a metric are good as the sweep file says it; None where it does not name the metric."""
    own = [config.metric.objective] if config.metric else []
    goals: dict[str, str] = {objective.name: objective.goal for objective in (*config.extensions.pareto, *own)}
    return goals.get(name)
