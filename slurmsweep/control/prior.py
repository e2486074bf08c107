"""New sweeps from old: one that knows another's finished trials (W&B: ``--prior_run``), and one around chosen ones."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from slurmsweep import search
from slurmsweep.agents.identity import this_process
from slurmsweep.errors import NotFoundError, UsageError
from slurmsweep.metrics.logged_values import values_at_bands
from slurmsweep.metrics.objective_values import measure_ended
from slurmsweep.search.kept import is_in_space, kept
from slurmsweep.state.chosen import ChosenPoint
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.store import Adopted
from slurmsweep.state.tail import AttemptId, in_words
from slurmsweep.sweepfile.space import Categorical, Constant, IntUniform, Nested

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.store import SweepStore
    from slurmsweep.state.trial import Attempt
    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.space import Parameter

#: Distributions whose bounds can be drawn around chosen values.
_BOUNDED = ("uniform", "log_uniform_values", "inv_log_uniform_values")


#: Trials that a message names at most.
_NAMED = 10


@dataclass(frozen=True)
class KnownPoints:
    """The points that a new sweep took over from another.

    Attributes:
        adopted: number of points that will not be run again, or that the search learns from.
        elsewhere: finished trials whose point the new sweep does not have, or from which it cannot learn.
        ended: that one of them reached the target, so that the new sweep has ended before it began, and what lifts
            that; empty otherwise.
    """

    adopted: int
    elsewhere: int
    ended: str = ""


def adopt(store: SweepStore, prior: SweepStore, trials: Collection[int] | None) -> KnownPoints:
    """Record the finished trials of ``prior`` as finished in ``store``, where it has their points.

    They count for its target as if they had run here (W&B's rule for prior runs): one that reached it ends the sweep.
    Where the new sweep judges by other numbers they are read from what the trials left, as if they had run here.

    Args:
        store: a grid or a bayes search that was just created. The latter takes over every trial that has a value of its
            metric and whose parameters have values that it could choose, as its first trials, and learns from them;
            they count for its ``run_cap``.
        prior: any sweep.
        trials: only these of it; None for all that finished.

    Raises:
        UsageError: the new sweep is a random search, so no point of it is the same as another's.
        NotFoundError: a trial was named that ``prior`` does not have, or that did not finish.
        StateUnwritableError: part of the trials may have been recorded.
    """
    config = store.manifest.config
    if config.method == "random":
        raise UsageError(
            "--prior: a random search draws new points each time; only a grid has the same ones again, and bayes learns"
        )
    view = prior.reading().refresh()
    finished = _finished(view, prior, trials)
    points = {number: _point(prior, view, number) for number in finished}
    places = _places_to_learn_from if config.method == "bayes" else _places_on_grid
    if config.method == "bayes":  # a point without a value teaches nothing, and would take a place
        told = (n for n in points if _taken_over(store, prior, view, finished[n], n).metric is not None)
        points = {n: points[n] for n in told}
    taken = {}
    for number, place in places(store, points).items():
        attempt = finished[number]
        chosen = ChosenPoint(kept(config, points[number])) if config.method == "bayes" else None
        bands = values_at_bands(config, prior.layout, AttemptId(number, attempt.number), view.first_attempt(number))
        taken[place] = Adopted(_taken_over(store, prior, view, attempt, number), chosen, bands)
    reached = store.adopt(taken, this_process(os.environ))
    ended = ""
    if reached:
        name, words = store.manifest.sweep_id, in_words(SweepState.FINISHED, reached, config.metric)
        ended = f"sweep {name} is {words}, as it was run before. `slurmsweep resume {name}` lifts that"
    return KnownPoints(len(taken), len(finished) - len(taken), ended)


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
    view = store.reading().refresh()
    points = [_point(store, view, number) for number in trials]
    if not all(points):
        number = next(number for number, point in zip(trials, points, strict=True) if not point)
        raise NotFoundError(f"trial {number} of sweep {store.manifest.sweep_id} has no point yet: it was not claimed")
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


def _point(store: SweepStore, view: SweepView, number: int) -> dict[str, Any]:
    return search.parameters(store.manifest.config, number, store.manifest.sweep_id, view.kept(number))


def _finished(view: SweepView, prior: SweepStore, trials: Collection[int] | None) -> dict[int, Attempt]:
    """Return the attempts that finished, by trial: whole trials, and none that ended at a rung."""
    trials_of = view.trials
    ended = (trials_of[number] for number in sorted(trials_of.in_state(TrialState.FINISHED)))
    known = {trial.number: a for trial in ended if (a := trial.current) and not trial.ended_at_rung}
    if trials is None:
        return known
    missing = list(islice((str(number) for number in trials if number not in known), _NAMED))
    if missing:
        raise NotFoundError(f"sweep {prior.manifest.sweep_id} has no finished trial {', '.join(missing)}")
    return {number: known[number] for number in trials}


def _taken_over(store: SweepStore, prior: SweepStore, view: SweepView, attempt: Attempt, number: int) -> Outcome:
    """Return the end of a trial of ``prior``, with the numbers that ``store`` judges by."""
    ended = attempt.outcome or Outcome(TrialState.FINISHED)
    outcome = ended._replace(origin=f"{prior.manifest.sweep_id}/{number}")
    config, before = store.manifest.config, prior.manifest.config
    objectives = [c.metric.objective if c.metric else None for c in (config, before)]
    same_metric = objectives[0] == objectives[1]
    same_view = config.extensions.pareto == before.extensions.pareto
    if same_metric and same_view:
        return outcome
    measured = measure_ended(config, prior.layout, AttemptId(number, attempt.number), view.first_attempt(number))
    outcome = outcome._replace(no_metric=measured.why or None)
    if not same_metric:
        outcome = outcome._replace(metric=measured.metric.value)
    if not same_view:
        outcome = outcome._replace(metrics=measured.metrics)
    return outcome


def _places_on_grid(store: SweepStore, points: Mapping[int, dict[str, Any]]) -> dict[int, int]:
    """Return the trials of the new sweep with the same points, within its run_cap, by number of the prior trial."""
    config, total = store.manifest.config, store.manifest.trials
    found = {number: search.number_of(config, point, store.manifest.sweep_id) for number, point in points.items()}
    return {n: place for n, place in found.items() if place is not None and (total is None or place < total)}


def _places_to_learn_from(store: SweepStore, points: Mapping[int, dict[str, Any]]) -> dict[int, int]:
    """Return the first trials of the new sweep for the points that it could choose, within its run_cap."""
    usable = [number for number, point in points.items() if is_in_space(store.manifest.config, point)]
    return {number: place for place, number in enumerate(usable[: store.manifest.trials])}


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
