"""What a search learns from: the points of a sweep's trials, each with its result as far as there is one.

Source of the rules: ``sweeps/bayes_search.py`` 0.3.0 (``impute``, ``impute_while_running``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.search.bayes import Observation
from slurmsweep.search.kept import restored
from slurmsweep.state.lifecycle import TrialState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.trial import Trial
    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.sections import Metric

#: Cause of a trial that the agent stopped because it was worse than others: its last value counts.
STOPPED_EARLY = "early_terminate"


def observations(config: SweepConfig, view: SweepView) -> list[Observation]:
    """Return what is known of each trial that has a point, in the order of their claims.

    A finished trial has its metric, and so has one that was stopped early. What failed, crashed or was killed has no
    value where ``impute`` is ``worst``; with ``latest`` or ``best`` it has the last value that it logged, the only one
    that the journal knows. What runs or will be run again has a value only with ``impute_while_running: worst`` or
    ``best``: the worst or the best of the values that the others have.
    """
    known = list(_known(config, view))
    rule = config.metric.impute_while_running if config.metric else "false"
    values = [seen.value for seen in known if seen.value is not None]
    if rule == "false" or not values or config.metric is None:
        return known
    largest = (rule == "worst") == (config.metric.goal == "minimize")
    assumed = max(values) if largest else min(values)
    return [seen._replace(value=assumed) if seen.running else seen for seen in known]


def _known(config: SweepConfig, view: SweepView) -> Iterator[Observation]:
    for number, chosen in view.chosen.items():
        trial = view.trials[number]
        running = not trial.state.has_ended()
        value = None if running else _value(trial, config.metric)
        yield Observation(number, restored(config, chosen.values), value, running)


def _value(trial: Trial, metric: Metric | None) -> float | None:
    outcome = trial.current.outcome if trial.current else None
    if outcome is None or metric is None:
        return None
    counts = outcome.state is TrialState.FINISHED or outcome.cause == STOPPED_EARLY
    return outcome.metric if counts or metric.impute != "worst" else None
