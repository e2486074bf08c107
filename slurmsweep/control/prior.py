"""New sweeps from old: one that knows another's finished trials (W&B: ``--prior_run``), and one around chosen ones."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slurmsweep import search
from slurmsweep.agents.identity import this_process
from slurmsweep.errors import NotFoundError, UsageError
from slurmsweep.metrics.logged_values import values_at_bands
from slurmsweep.metrics.objective_values import measure_ended
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.tail import AttemptId
from slurmsweep.sweepfile.space import Categorical, Constant, IntUniform, Nested

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from slurmsweep.state.store import SweepStore
    from slurmsweep.state.trial import Attempt
    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.space import Parameter

#: Distributions whose bounds can be drawn around chosen values.
_BOUNDED = ("uniform", "log_uniform_values", "inv_log_uniform_values")


@dataclass(frozen=True)
class KnownPoints:
    """The points that a new sweep took over from another.

    Attributes:
        adopted: number of points that will not be run again.
        elsewhere: finished trials whose point the new sweep does not have.
    """

    adopted: int
    elsewhere: int


def adopt(store: SweepStore, prior: SweepStore, trials: Collection[int] | None) -> KnownPoints:
    """Record the finished trials of ``prior`` as finished in ``store``, where it has their points.

    Where the new sweep judges by other numbers they are read from what the trials left, as if they had run here.

    Args:
        store: a grid that was just created.
        prior: any sweep.
        trials: only these of it; None for all that finished.

    Raises:
        UsageError: the new sweep is no grid, so no point of it is the same as another's.
        NotFoundError: a trial was named that ``prior`` does not have, or that did not finish.
        StateUnwritableError: part of the trials may have been recorded.
    """
    config = store.manifest.config
    if config.method != "grid":
        raise UsageError(
            f"--prior: a {config.method} search draws new points each time; only a grid has the same ones again"
        )
    finished = _finished(prior, trials)
    places = {number: _place(store, prior, number) for number in finished}
    outcomes = {
        place: _taken_over(store, prior, number, attempt)
        for number, attempt in finished.items()
        if (place := places[number]) is not None
    }
    bands = {
        place: values_at_bands(config, prior.layout, AttemptId(number, attempt.number), attempt.number)
        for number, attempt in finished.items()
        if (place := places[number]) is not None
    }
    store.adopt(outcomes, this_process(os.environ), bands)
    return KnownPoints(len(outcomes), elsewhere=sum(place is None for place in places.values()))


def narrowed(store: SweepStore, trials: Sequence[int]) -> dict[str, Any]:
    """Return the content of a sweep file around points of ``trials``: their values, or bounds that hold them all.

    Lists keep the values that occur; bounds close in on them; what has neither (normal distributions) becomes a list of
    the values drawn.

    Raises:
        UsageError: the sweep file links or excludes parameters, which cannot be narrowed one by one.
    """
    config = store.manifest.config
    if config.extensions.linked or config.extensions.exclude:
        raise UsageError("--from: this sweep links or excludes parameters: write the new sweep file by hand")
    points = [search.parameters(config, number, store.manifest.sweep_id) for number in trials]
    parameters = _narrow_all(config.parameters, points, config.document["parameters"])
    return config.document | {"parameters": parameters}


def best_trials(config: SweepConfig, ranked: Sequence[int], top: int) -> list[int]:
    """Return the numbers of the best trials.

    Raises:
        UsageError: there is no metric.
        NotFoundError: none finished.
    """
    if config.metric is None:
        raise UsageError("--top: the sweep file names no metric, so no trial is best; name trials by --trials")
    if not ranked:
        raise NotFoundError(f"--top: no finished trial has logged {config.metric.name!r} yet")
    return list(ranked[:top])


def _finished(prior: SweepStore, trials: Collection[int] | None) -> dict[int, Attempt]:
    """Return the attempts that finished, by trial."""
    trials_of = prior.replay().trials
    known = {n: a for n in sorted(trials_of.in_state(TrialState.FINISHED)) if (a := trials_of[n].current)}
    if trials is None:
        return known
    missing = sorted(set(trials) - known.keys())
    if missing:
        raise NotFoundError(
            f"sweep {prior.manifest.sweep_id} has no finished trial {', '.join(map(str, missing[:10]))}"
        )
    return {number: known[number] for number in trials}


def _taken_over(store: SweepStore, prior: SweepStore, number: int, attempt: Attempt) -> Outcome:
    """Return the end of a trial of ``prior``, with the numbers that ``store`` judges by."""
    ended = attempt.outcome or Outcome(TrialState.FINISHED)
    outcome = ended._replace(origin=f"{prior.manifest.sweep_id}/{number}")
    config, before = store.manifest.config, prior.manifest.config
    objectives = [c.metric.objective if c.metric else None for c in (config, before)]
    same_metric = objectives[0] == objectives[1]
    same_view = config.extensions.pareto == before.extensions.pareto
    if same_metric and same_view:
        return outcome
    measured = measure_ended(config, prior.layout, AttemptId(number, attempt.number))
    outcome = outcome._replace(no_metric=measured.why or None)
    if not same_metric:
        outcome = outcome._replace(metric=measured.metric.value)
    if not same_view:
        outcome = outcome._replace(metrics=measured.metrics)
    return outcome


def _place(store: SweepStore, prior: SweepStore, number: int) -> int | None:
    """Return the trial of the new sweep with the same point, within its run_cap."""
    point = search.parameters(prior.manifest.config, number, prior.manifest.sweep_id)
    place = search.number_of(store.manifest.config, point, store.manifest.sweep_id)
    total = store.manifest.trials
    return place if place is not None and (total is None or place < total) else None


def _narrow_all(
    parameters: dict[str, Parameter], points: Sequence[dict[str, Any]], forms: dict[str, Any]
) -> dict[str, Any]:
    return {name: _narrow(p, [point[name] for point in points], forms[name]) for name, p in parameters.items()}


def _narrow(parameter: Parameter, values: Sequence[Any], form: dict[str, Any]) -> dict[str, Any]:
    if isinstance(parameter, Nested):
        return {"parameters": _narrow_all(parameter.parameters, values, form["parameters"])}
    distinct = [value for position, value in enumerate(values) if value not in values[:position]]
    if isinstance(parameter, Constant) or len(distinct) == 1:
        return {"value": distinct[0]}
    if isinstance(parameter, Categorical):
        return {"values": [value for value in parameter.values if value in distinct]}
    if isinstance(parameter, IntUniform) or parameter.kind in _BOUNDED:
        return form | {"min": min(distinct), "max": max(distinct)}
    return {"values": sorted(distinct)}
