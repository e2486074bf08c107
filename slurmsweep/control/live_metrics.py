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


def measured_on_disk(config: SweepConfig, layout: Layout, attempt_id: AttemptId) -> Measured:
    """What a script has left so far of a sweep's metrics; nothing where its files cannot be read."""
    with suppress(OSError):
        return measure(config, layout, attempt_id)
    return Measured()


def with_metric_so_far(store: SweepStore, summary: SweepSummary, trials: Iterable[TrialRow]) -> list[TrialRow]:
    """The same trials; those that run, or whose end is not recorded, with the metrics that their script left so far.

    Costs a few requests to the file server for each such trial, and none for the others.
    """
    return [_so_far(store, summary, trial) for trial in trials]


def _so_far(store: SweepStore, summary: SweepSummary, trial: TrialRow) -> TrialRow:
    attempt_id = AttemptId(trial.number, trial.attempt)
    is_open = trial.state is TrialState.RUNNING or attempt_id in summary.ended
    if not is_open or trial.metric is not None:
        return trial
    look = measured_on_disk if trial.state is TrialState.RUNNING else measure_ended
    measured = look(store.manifest.config, store.layout, attempt_id)
    return trial._replace(metric=measured.metric.value, metrics=measured.metrics, no_metric=measured.why or None)
