"""What a search learns from: the points of a sweep's trials, each with its result as far as there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.learning.rungs import rung_ended_at
from slurmsweep.search.bayes import Observation
from slurmsweep.search.imputation import LoggedResult, worth
from slurmsweep.search.kept import restored
from slurmsweep.search.rungs import on_one_scale
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import STOPPED_EARLY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.trial import Trial
    from slurmsweep.sweepfile.config import SweepConfig


def observations(config: SweepConfig, view: SweepView) -> list[Observation]:
    """Return what is known of each trial that has a point, in the order of their claims.

    What each is worth says :mod:`slurmsweep.search.imputation`. A trial that was stopped early counts with its last
    value; where the sweep file has a ``summary`` all trials count with the value that it makes. Trials that ended at
    different rungs are put on one scale (:func:`slurmsweep.search.rungs.on_one_scale`). Of a running trial the journal
    knows no value, so ``impute_while_running`` gives it that of the others.
    """
    trials = [view.trials[number] for number in view.chosen]
    results = _compared(config, trials, [_result(config, trial) for trial in trials])
    values = worth(results, config.metric) if config.metric else [None] * len(results)
    return [
        Observation(trial.number, restored(config, chosen.values), value, not result.has_ended)
        for trial, chosen, result, value in zip(trials, view.chosen.values(), results, values, strict=True)
    ]


def _result(config: SweepConfig, trial: Trial) -> LoggedResult:
    outcome = trial.current.outcome if trial.current else None
    if outcome is None or not trial.state.has_ended():
        return LoggedResult(has_ended=False, counts=False)
    if outcome.cause == STOPPED_EARLY:
        return _of(outcome.metric)
    if config.metric and config.metric.summary:  # single logged values are on another scale than a mean
        return _of(outcome.metric)._replace(counts=outcome.state is TrialState.FINISHED)
    lowest = outcome.metric if outcome.lowest is None else outcome.lowest
    highest = outcome.metric if outcome.highest is None else outcome.highest
    return LoggedResult(True, outcome.state is TrialState.FINISHED, outcome.metric, lowest, highest)


def _of(value: float | None) -> LoggedResult:
    return LoggedResult(True, True, value, value, value)


def _compared(config: SweepConfig, trials: Sequence[Trial], results: list[LoggedResult]) -> list[LoggedResult]:
    """Return the results as they compare with each other where trials ended at different rungs."""
    rungs, metric = config.extensions.rungs, config.metric
    if rungs is None or metric is None:
        return results
    ended = {}
    for index, result in enumerate(results):
        if result.counts and result.latest is not None:
            ended[index] = (rung_ended_at(rungs, trials[index]), result.latest)
    scaled = on_one_scale(ended, metric.goal)
    return [_of(scaled[index]) if index in scaled else result for index, result in enumerate(results)]
