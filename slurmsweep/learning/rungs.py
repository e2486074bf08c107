"""Where the trials of a sweep with rungs stand, and which of them may go on (:mod:`slurmsweep.search.rungs`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.search.rungs import promotable
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import RUNG

if TYPE_CHECKING:
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.tail import AttemptId
    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.rungs import Rungs


class Promotion(NamedTuple):
    """A trial that may go on.

    Attributes:
        attempt_id: its next attempt.
        rung: index of the rung that this attempt runs to.
    """

    attempt_id: AttemptId
    rung: int


def promotions(config: SweepConfig, view: SweepView) -> list[Promotion]:
    """Return the trials that may go on now: those of the highest rung first, of each rung the best first.

    A trial may go on if it is among the best of all trials that have reached its rung. A failed attempt on the way to
    a rung has not reached it.
    """
    rungs, metric = config.extensions.rungs, config.metric
    if rungs is None or metric is None:
        return []
    waiting: list[set[int]] = [set() for _ in rungs.steps]
    for number, _, cause in view.trials.ways_to_end({TrialState.FINISHED}):  # makes no objects of trials
        waiting[rung_of_end(rungs, cause)].add(number)
    deleted = view.deleted()
    values = [view.bands.at(step, deleted) for step in rungs.steps]
    found = promotable(rungs, metric.goal, values, waiting)
    return [Promotion(view.trials[number].next_attempt, rung) for number, rung in found]


def rung_of(rungs: Rungs, view: SweepView, number: int) -> int:
    """Return the index of the rung that the next attempt of a trial runs to: the one behind the last it ended at."""
    trial = view.trials.get(number)
    if trial is None:
        return 0
    ends = (a.outcome.cause for a in trial.attempts.values() if a.outcome and a.number > trial.deleted)
    reached = [rungs.steps.index(step) for cause in ends if (step := _step_of(cause)) in rungs.steps]
    return min(max(reached, default=-1) + 1, len(rungs.steps) - 1)


def rung_of_end(rungs: Rungs, cause: str) -> int:
    """Return the index of the rung at which a finished trial ended with this cause: the last one, unless it says."""
    step = _step_of(cause)
    return rungs.steps.index(step) if step in rungs.steps else len(rungs.steps) - 1


def ends_at_rungs(rungs: Rungs, view: SweepView) -> list[tuple[int, int, int]]:
    """Return for each rung its step, how many finished trials ended there, and how many beyond it."""
    ends = [0] * len(rungs.steps)
    for _, _, cause in view.trials.ways_to_end({TrialState.FINISHED}):
        ends[rung_of_end(rungs, cause)] += 1
    return [(step, ends[rung], sum(ends[rung + 1 :])) for rung, step in enumerate(rungs.steps)]


def _step_of(cause: str) -> int:
    """Return the step of an end at a rung (``rung 9``); 0 for every other end."""
    word, _, step = cause.partition(" ")
    return int(step) if word == RUNG and step.isdecimal() else 0
