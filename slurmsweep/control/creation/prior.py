"""A new sweep that knows the finished trials of another one, and does not run them (W&B: ``--prior_run``)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import count, islice
from typing import TYPE_CHECKING, Any

from slurmsweep import search
from slurmsweep.agents.identity import this_process
from slurmsweep.errors import NotFoundError, UsageError
from slurmsweep.metrics.logged_values import values_at_bands
from slurmsweep.metrics.objective_values import measure_ended
from slurmsweep.report.figures import counted
from slurmsweep.search.axes import axes_of
from slurmsweep.search.flat import flatten, found, reach
from slurmsweep.search.grid import Grid, grid_of
from slurmsweep.search.kept import has_room, is_in_space, kept
from slurmsweep.search.repeats import run_of
from slurmsweep.state.chosen import ChosenPoint
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.store import Adopted
from slurmsweep.state.tail import AttemptId, in_words
from slurmsweep.sweepfile.plain import identity
from slurmsweep.sweepfile.space import Continuous

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from slurmsweep.control.session import Session
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.store import SweepStore
    from slurmsweep.state.trial import Attempt
    from slurmsweep.sweepfile.config import SweepConfig


#: Trials that a message names at most; values of one parameter that are looked at; draws that are compared.
_NAMED, _MOST_VALUES, _MOST_DRAWS = 10, 1000, 100_000


@dataclass(frozen=True)
class KnownPoints:
    """The points that a new sweep takes over from another.

    Attributes:
        prior: id of the other sweep.
        method: of the new one.
        taken: what is taken over, by number of the trial in the new sweep: it is not run.
        points: of these.
        elsewhere: finished trials whose point the new sweep does not have, or from which it cannot learn.
    """

    prior: str
    method: str
    taken: Mapping[int, Adopted]
    points: Sequence[dict[str, Any]]
    elsewhere: int

    def __str__(self) -> str:
        """Return how many points are known, and why others are not, in words."""
        learns = self.method == "bayes"
        what = "it learns from" if learns else "that will not be run again"
        lack = {
            "grid": "with points this grid does not have, or knows from another trial",
            "bayes": "without a value of its metric, or with parameters that it could not choose",
        }.get(self.method, "with parameters it could not choose")
        beyond = f"; left out: {counted(self.elsewhere, 'finished trial')} {lack}" if self.elsewhere else ""
        return f"points known from sweep {self.prior} {what}: {len(self.taken)}{beyond}"


def known_points(store: SweepStore, prior: SweepStore, trials: Collection[int] | None = None) -> KnownPoints:
    """Return the finished trials of ``prior`` whose points ``store`` has, or could have. Writes nothing.

    Where the new sweep judges by other numbers they are read from what the trials left, as if they had run here.

    Args:
        store: a sweep that is new, or planned. A grid has a point or has it not. A bayes or random search takes over
            every trial whose parameters have values that it could choose, as its first trials; they count for its
            ``run_cap``. Bayes learns from them, so each needs a value of the metric. A random search over lists of
            values would draw some of them again: those trials are known, too.
        prior: any sweep.
        trials: only these of it; None for all that finished.

    Raises:
        NotFoundError: a trial was named that ``prior`` does not have, or that did not finish.
        UsageError: a point of the random search has no room in a record.
    """
    config = store.manifest.config
    if config.extensions.repeats and config.method != "grid":
        raise UsageError(
            f"--prior: a {config.method} search with repeats cannot take trials over: only a grid knows which runs "
            "a point has"
        )
    if config.method == "random" and not has_room(config):
        raise UsageError("--prior: the parameters are too many: a trial's record has no room for the values of all")
    view = prior.reading().refresh()
    finished = _finished(view, prior, trials)
    points = {number: _point(prior, view, number) for number in finished}
    if config.method != "grid":
        points = {number: point for number, point in points.items() if is_in_space(config, point)}
    if config.method == "bayes":  # a point without a value teaches nothing, and would take a place
        told = (n for n in points if _taken_over(store, prior, view, finished[n], n).metric is not None)
        points = {n: points[n] for n in told}
        places = dict(enumerate(islice(points, store.manifest.trials)))  # the first trials, within run_cap
    else:
        places = (_places_on_grid if config.method == "grid" else _places_among_draws)(store, points)
    taken, used = {}, {}
    for place, number in places.items():
        attempt = finished[number]
        chosen = None if config.method == "grid" else ChosenPoint(kept(config, points[number]))
        bands = values_at_bands(config, prior.layout, AttemptId(number, attempt.number), view.first_attempt(number))
        taken[place] = Adopted(_taken_over(store, prior, view, attempt, number), chosen, bands)
        used[number] = points[number]
    return KnownPoints(prior.manifest.sweep_id, config.method, taken, tuple(used.values()), len(finished) - len(used))


def adopt(store: SweepStore, known: KnownPoints) -> str:
    """Record known points as finished in a sweep that was just made; return what ended it by that, empty for nothing.

    They count for its target as if they had run here (W&B's rule for prior runs): one that reached it ends the sweep.

    Raises:
        StateUnwritableError: part of the trials may have been recorded.
    """
    reached = store.adopt(known.taken, this_process(os.environ))
    if not reached:
        return ""
    name, words = store.manifest.sweep_id, in_words(SweepState.FINISHED, reached, store.manifest.config.metric)
    return f"sweep {name} is {words}, as it was run before. `slurmsweep resume {name}` lifts that"


def rehearse(session: Session, known: KnownPoints) -> None:
    """Let a session that is only in memory know these points, so that its plan is what a real one would be."""
    with session.transaction() as transaction:
        for place, adopted in sorted(known.taken.items()):
            owner = this_process(os.environ)
            transaction.adopt(AttemptId(place, 1), "0" * 16, owner, adopted.outcome, adopted.chosen)


def comparison(config: SweepConfig, trials: int | None, known: KnownPoints) -> dict[str, Any]:
    """Return what of a planned sweep is known and what is new, as a document.

    Its ``values`` are those of a grid, and of the runs of its points, that no known trial has, each with the number of
    points of the grid that have it: a value that was added to the file is one of them.
    """
    values: list[dict[str, Any]] = []
    if config.method == "grid":
        whole, ours = grid_of(config).size(), config.extensions
        axes = axes_of(config.parameters, ours)
        for axis in axes if known.points else ():
            if not 1 < axis.size <= _MOST_VALUES:
                continue
            there = (found(point, axis.paths) for point in known.points)  # a condition may take a parameter away
            used = {axis.find(tuple(one.values())) for one in there if len(one) == len(axis.paths)}
            for position in sorted(set(range(axis.size)) - used):
                rule = tuple((path, (value,)) for path, value in zip(axis.paths, axis.values(position), strict=True))
                points = whole - Grid(axes, (*ours.exclude, rule), ours.conditions).size()
                values.append({"parameters": {".".join(path): one for path, (one,) in rule}, "points": points})
        if ours.repeats and known.points:
            runs, name = {run_of(point, ours.repeats) for point in known.points}, ".".join(ours.repeats.path)
            new = (value for run, value in enumerate(ours.repeats.values) if run not in runs)
            values += [{"parameters": {name: value}, "points": whole} for value in new]
    return {
        "sweep": known.prior,
        "known": len(known.taken),
        "new": None if trials is None else trials - len(known.taken),
        "elsewhere": known.elsewhere,
        "values": values,
    }


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
    """Return the numbers of prior trials by that of the new sweep's trial with the same point, within its run_cap."""
    config, total = store.manifest.config, store.manifest.trials
    found = {search.number_of(config, point, store.manifest.sweep_id): number for number, point in points.items()}
    return {place: number for place, number in found.items() if place is not None and (total is None or place < total)}


def _places_among_draws(store: SweepStore, points: Mapping[int, dict[str, Any]]) -> dict[int, int]:
    """Return the numbers of prior trials by those of the random sweep's trials that take their points, up to run_cap.

    These are the trials that would draw the same point, and for the rest the first others. Draws are looked at where
    there is an end of them, and where two can be the same.
    """
    config, total, seed = store.manifest.config, store.manifest.trials, store.manifest.sweep_id
    space = flatten(config.parameters)
    known = {tuple(identity(reach(point, path)) for path, _ in space): number for number, point in points.items()}
    found: dict[int, int] = {}
    if not any(isinstance(parameter, Continuous) and parameter.q is None for _, parameter in space):
        for place in range(min(total or 0, _MOST_DRAWS)):
            drawn = search.parameters(config, place, seed)
            number = known.get(tuple(identity(reach(drawn, path)) for path, _ in space))
            if number is not None:
                found[place] = number
    rest = [number for number in known.values() if number not in set(found.values())]
    free = (place for place in (count() if total is None else range(total)) if place not in found)
    return found | dict(zip(free, rest, strict=False))
