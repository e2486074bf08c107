"""The metrics of attempts whose agent has not recorded it: those that run, and those whose agent died with them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from slurmsweep.agent.measuring import Measured, measure, measure_ended
from slurmsweep.state.head import Slot
from slurmsweep.state.lifecycle import TrialState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slurmsweep.observe.snapshot import Observation
    from slurmsweep.report.view import SweepView, TrialView
    from slurmsweep.state.layout import Layout
    from slurmsweep.state.store import SweepStore
    from slurmsweep.sweepfile.config import SweepConfig


def measured_on_disk(config: SweepConfig, layout: Layout, slot: Slot) -> Measured:
    """What a script has left so far of a sweep's metrics; nothing where its files cannot be read."""
    with suppress(OSError):
        return measure(config, layout, slot)
    return Measured()


def with_last_metric(store: SweepStore, seen: dict[Slot, Observation]) -> dict[Slot, Observation]:
    """The same observations; ends that nobody but a witness tells of get the metrics that their script left."""
    return {slot: _with_metric(store, slot, one) for slot, one in seen.items()}


def _with_metric(store: SweepStore, slot: Slot, seen: Observation) -> Observation:
    if seen.outcome is None or seen.outcome.metric is not None or seen.outcome.by == "agent":
        return seen
    measured = measure_ended(store.manifest.config, store.layout, slot)
    left = seen.outcome._replace(metric=measured.metric.value, metrics=measured.metrics, no_metric=measured.why or None)
    return seen._replace(outcome=left)


def with_metric_so_far(store: SweepStore, view: SweepView, trials: Iterable[TrialView]) -> list[TrialView]:
    """The same trials; those that run, or whose end is not recorded, with the metrics that their script left so far.

    Costs a few requests to the file server for each such trial, and none for the others.
    """
    return [_so_far(store, view, trial) for trial in trials]


def _so_far(store: SweepStore, view: SweepView, trial: TrialView) -> TrialView:
    slot = Slot(trial.number, trial.attempt)
    is_open = trial.state is TrialState.RUNNING or slot in view.ended
    if not is_open or trial.metric is not None:
        return trial
    look = measured_on_disk if trial.state is TrialState.RUNNING else measure_ended
    measured = look(store.manifest.config, store.layout, slot)
    return trial._replace(metric=measured.metric.value, metrics=measured.metrics, no_metric=measured.why or None)
