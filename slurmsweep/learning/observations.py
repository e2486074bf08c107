"""What a search learns from: the points of a sweep's trials, each with its result as far as there is one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from slurmsweep import search
from slurmsweep.learning.rungs import rung_of_end
from slurmsweep.search.bayes import Observation
from slurmsweep.search.imputation import LoggedResult, worth
from slurmsweep.search.kept import restored
from slurmsweep.search.race import spread_between_runs
from slurmsweep.search.rungs import on_one_scale
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import NOT_NEEDED, STOPPED_EARLY
from slurmsweep.state.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slurmsweep.state.chosen import ChosenPoint
    from slurmsweep.state.replay import SweepView
    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.repeats import Repeats

#: The variance of a combination of runs, times their number, where the variance of a run is 1 (normal values). That of
#: an extreme one is left to the model to learn.
_NOISE = {"mean": 1.0, "median": math.pi / 2}


def observations(config: SweepConfig, view: SweepView) -> Iterator[Observation]:
    """Yield what is known of each trial that has a point, in the order of their claims.

    What each is worth says :mod:`slurmsweep.search.imputation`. A trial that was stopped early counts with its last
    value; where the sweep file has a ``summary`` all trials count with the value that it makes. Trials that ended at
    different rungs are put on one scale (:func:`slurmsweep.search.rungs.on_one_scale`). Of a running trial the journal
    knows no value, so ``impute_while_running`` gives it that of the others. A point that runs several times is one
    observation (:func:`_of_points`).
    """
    if config.extensions.repeats:
        yield from _of_points(config, view)
        return
    results = _on_one_scale(config, view, [_result(config, view.trials[number]) for number in view.chosen])
    values = worth(results, config.metric) if config.metric else [None] * len(results)
    for (number, chosen), result, value in zip(view.chosen.items(), results, values, strict=True):
        yield Observation(number, restored(config, chosen.values), value, not result.has_ended)


def _of_points(config: SweepConfig, view: SweepView) -> list[Observation]:
    """Return one observation for each point that runs several times, under the number of the point.

    It has ended when all runs have. Then it is worth what its runs are worth together, those that a race left out not
    counted; it failed where one of them ended without a value. How sure that is comes from the spread between runs of
    one point, of all points together: so the model need not learn it from a few points.
    """
    repeats, numbers, metric = config.extensions.repeats, search.numbering(config), config.metric
    if repeats is None or numbers is None or metric is None:
        return []
    chosen: dict[int, ChosenPoint] = {}
    for number, given in view.chosen.items():
        chosen.setdefault(numbers.of(number)[0], given)
    results, runs_of = [], {}
    for point in chosen:
        trials = [view.trials[n] if n in view.trials else Trial(n) for n in numbers.trials(point)]
        runs_of[point] = [_result(config, trial) for trial in trials if trial.cause != NOT_NEEDED]
        results.append(_together(repeats, metric.goal, runs_of[point]))
    values = worth(results, metric)
    measured = {p: [r.latest for r in runs if r.counts and r.latest is not None] for p, runs in runs_of.items()}
    squares, freedom = spread_between_runs(measured.values())
    noise = squares / freedom * _NOISE.get(repeats.combine, 0.0) if freedom else 0.0
    found = []
    for (point, given), result, value in zip(chosen.items(), results, values, strict=True):
        variance = noise / max(1, len(measured[point]))
        found.append(Observation(point, restored(config, given.values), value, not result.has_ended, variance))
    return found


def _together(repeats: Repeats, goal: str, runs: Sequence[LoggedResult]) -> LoggedResult:
    """Return the result of a point from those of its runs."""
    if not all(run.has_ended for run in runs):
        return LoggedResult(has_ended=False, counts=False)
    columns = zip(*((run.latest, run.lowest, run.highest) for run in runs), strict=True)
    latest, lowest, highest = (
        None if any(value is None for value in column) else repeats.worth([v for v in column if v is not None], goal)
        for column in columns
    )
    return LoggedResult(True, all(run.counts for run in runs), latest, lowest, highest)


def _result(config: SweepConfig, trial: Trial) -> LoggedResult:
    """Return what a trial says of its point, by the outcome of its newest attempt."""
    outcome = trial.current.outcome if trial.current else None
    if outcome is None or not trial.state.has_ended():
        return LoggedResult(has_ended=False, counts=False)
    if outcome.cause == STOPPED_EARLY:
        return _of_one_value(outcome.metric)
    if config.metric and config.metric.summary:  # single logged values are on another scale than a mean
        return _of_one_value(outcome.metric)._replace(counts=outcome.state is TrialState.FINISHED)
    lowest = outcome.metric if outcome.lowest is None else outcome.lowest
    highest = outcome.metric if outcome.highest is None else outcome.highest
    return LoggedResult(True, outcome.state is TrialState.FINISHED, outcome.metric, lowest, highest)


def _of_one_value(value: float | None) -> LoggedResult:
    """Return the result of a trial of which one value counts."""
    return LoggedResult(True, True, value, value, value)


def _on_one_scale(config: SweepConfig, view: SweepView, results: list[LoggedResult]) -> list[LoggedResult]:
    """Return the results of all chosen points so that they can be compared, also where trials ended at other rungs."""
    rungs, metric = config.extensions.rungs, config.metric
    if rungs is None or metric is None:
        return results
    ended = {}
    for index, (number, result) in enumerate(zip(view.chosen, results, strict=True)):
        if result.counts and result.latest is not None:
            ended[index] = (rung_of_end(rungs, view.trials[number].cause), result.latest)
    scaled = on_one_scale(ended, metric.goal)
    return [_of_one_value(scaled[index]) if index in scaled else result for index, result in enumerate(results)]
