"""Decide which trials go on to their next rung: asynchronous successive halving, pure.

Source of the rule: Li et al., "A System for Massively Parallel Hyperparameter Tuning" (ASHA, 2020): of the trials that
have reached a rung the best share goes on, as soon as there are enough; no trial waits for all others. A trial whose
place is taken later by a better one has gone on already, so the rule costs a few more trials than waiting would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from slurmsweep.sweepfile.rungs import Rungs


def promotable(
    rungs: Rungs, goal: str, values: Sequence[Mapping[int, float]], waiting: Sequence[Collection[int]]
) -> list[tuple[int, int]]:
    """Return the trials that may go on, each with the index of its next rung: the highest rung first, then the best.

    Args:
        rungs: of the sweep.
        goal: ``minimize`` or ``maximize``.
        values: for each rung, the value of the metric there by trial, of all trials that have reached it.
        waiting: for each rung, the trials that ended there and have not gone on.
    """
    found = []
    for rung in range(len(rungs.steps) - 2, -1, -1):
        # of equal values the first trial comes first: sorting keeps their order, in both directions
        ranked = sorted(sorted(values[rung]), key=values[rung].__getitem__, reverse=goal == "maximize")
        best = ranked[: rungs.places(len(ranked))]
        found += [(trial, rung + 1) for trial in best if trial in waiting[rung]]
    return found


def on_one_scale(ended: Mapping[int, tuple[int, float]], goal: str) -> dict[int, float]:
    """Return the values of trials that ended at different rungs so that they can be compared with each other.

    A trial that ended at the highest rung keeps its value. One that ended below is worse than all that went further, by
    as much as it is behind the best of those that ended with it: that a trial learnt for longer is not its merit.

    Args:
        ended: by trial the index of the rung at which it ended, and its value there.
        goal: ``minimize`` or ``maximize``.
    """
    sign = -1.0 if goal == "maximize" else 1.0
    found: dict[int, float] = {}
    for rung in sorted({rung for rung, _ in ended.values()}, reverse=True):
        here = {trial: sign * value for trial, (at, value) in ended.items() if at == rung}
        shift = max(found.values()) - min(here.values()) if found else 0.0
        found |= {trial: value + shift for trial, value in here.items()}
    return {trial: sign * value for trial, value in found.items()}


def minutes_of(rungs: Rungs, rung: int, whole: float | None) -> float | None:
    """Return the time limit of a job of that rung in minutes; None where nothing says one.

    A job has its share of the time of a whole trial, counted from the trial's begin and not from its checkpoint: what
    was lost with a checkpoint can be done again within the limit.
    """
    if rungs.minutes:
        return float(rungs.minutes[rung])
    return None if whole is None else whole * rungs.steps[rung] / rungs.steps[-1]
