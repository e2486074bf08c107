"""The metrics of attempts whose agent has not recorded it: those that run, and those whose agent died with them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from slurmsweep.metrics.objective_values import Measured, measure, measure_ended
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slurmsweep.report.summary import SweepSummary, TrialRow
    from slurmsweep.state.paths import Layout
    from slurmsweep.state.store import SweepStore
    from slurmsweep.sweepfile.config import SweepConfig


def measured_on_disk(config: SweepConfig, layout: Layout, attempt_id: AttemptId, first: int = 1) -> Measured:
    """Return what a script has left so far of a sweep's metrics; nothing where its files cannot be read."""
    with suppress(OSError):
        return measure(config, layout, attempt_id, first)
    return Measured()


def with_metric_so_far(store: SweepStore, summary: SweepSummary, trials: Iterable[TrialRow]) -> list[TrialRow]:
    """Return the same trials; those without a recorded end with the metrics that their script left so far.

    Costs a few requests to the file server for each such trial, and none for the others.
    """
    rows = []
    for trial in trials:
        attempt_id, runs = AttemptId(trial.number, trial.attempt), trial.state is TrialState.RUNNING
        if trial.metric is None and (runs or attempt_id in summary.ended):
            read = measured_on_disk if runs else measure_ended
            first = summary.view.first_attempt(trial.number)
            found = read(store.manifest.config, store.layout, attempt_id, first)
            rows.append(trial._replace(metric=found.metric.value, metrics=found.metrics, no_metric=found.why or None))
        else:
            rows.append(trial)
    return rows
