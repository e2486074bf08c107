"""What trials that ended say of their points, for any method: a value of a metric, a failure of the point, or nothing.

A failure is of the point where another trial with the same point would fail, too: an exit code, out of memory, out of
time, a signal by which programs end themselves, or a metric that was no finite number in the end. Lost nodes, cancelled
and preempted trials say nothing of their points and are left out, as is what still runs.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep import search
from slurmsweep.errors import UsageError
from slurmsweep.learning.rungs import rung_of_end
from slurmsweep.metrics.objective_values import LAST_VALUE, not_finite
from slurmsweep.search import flat
from slurmsweep.search.repeats import without_run
from slurmsweep.search.rungs import on_one_scale
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.sweepfile.plain import identity, is_finite
from slurmsweep.sweepfile.space import Categorical, has_one_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slurmsweep.state.manifest import Manifest
    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.replay import SweepView
    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.sections import Objective
    from slurmsweep.sweepfile.space import Names

#: Trials that are read at most; of more, so many are drawn.
MOST_READ = 10_000

#: Signals of a program that broke: SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV. SIGKILL may come from anywhere.
_OF_THE_POINT = re.compile(r"exit \d+|oom|timeout|signal (4|6|7|8|11)")

#: The cause of a failure whose trial finished and whose metric was no finite number.
NOT_FINITE = "no finite value"

#: In the place of a value: the point has no such parameter.
ABSENT = "absent"

_AMONG = re.compile(r"best:(\d+)(%?)")


class Factor(NamedTuple):
    """One thing that differs between trials: a parameter, or a group of linked ones.

    Attributes:
        name: dots for nested parameters, commas between linked ones.
        paths: of the parameter, or of each linked one.
        ordered: whether its values are numbers.
        conditional: whether only some points have it, by a condition of the sweep file.
    """

    name: str
    paths: tuple[Names, ...]
    ordered: bool
    conditional: bool = False

    def values(self, point: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """Return the values at a point, one for each path; None where the point has no such parameter."""
        found = flat.found(point, self.paths)
        return tuple(found.values()) if len(found) == len(self.paths) else None

    def concerned(self, results: Sequence[TrialResult]) -> Sequence[TrialResult]:
        """Return the results that can be compared: of a conditional parameter those whose points have it.

        Where a condition takes it away, what it is about tells the same, and better.
        """
        return [one for one in results if self.values(one.point) is not None] if self.conditional else results

    def level(self, point: Mapping[str, Any]) -> Any:
        """Return the value at a point, of linked parameters the first one's, in a form that can be compared."""
        values = self.values(point)
        if values is None:
            return ABSENT
        return float(values[0]) if self.ordered and is_finite(values[0]) else identity(values[0])

    def label(self, point: Mapping[str, Any]) -> str:
        """Return the value at a point as people read it, numbers with three digits."""
        values = self.values(point)
        return ABSENT if values is None else ", ".join(label(value) for value in values)


class TrialResult(NamedTuple):
    """One trial that ended.

    Attributes:
        number: of the trial.
        point: its parameters.
        value: of the metric; None for a failure.
        failure: its cause; empty where the trial has a value.
    """

    number: int
    point: dict[str, Any]
    value: float | None
    failure: str = ""


class Among(NamedTuple):
    """Which results count: the best so many, or the best so many per cent, of those with a value."""

    most: int
    is_share: bool

    @classmethod
    def parse(cls, text: str) -> Among:
        """Return the choice of ``best:50%`` or ``best:100``. Raises UsageError."""
        found = _AMONG.fullmatch(text)
        if not found or not int(found[1]) or (found[2] and int(found[1]) > 100):
            raise UsageError(f"among {text!r}: write best:50% for the better half, or best:100 for a hundred trials")
        return cls(int(found[1]), bool(found[2]))

    def best(self, results: Sequence[TrialResult], goal: str) -> list[TrialResult]:
        """Return the best results, equal ones by number; failures are never among them."""
        sign = -1 if goal == "maximize" else 1
        valued = [one for one in results if one.value is not None]
        valued.sort(key=lambda one: (sign * (one.value or 0.0), one.number))
        return valued[: -(-len(valued) * self.most // 100) if self.is_share else self.most]


def factors_of(config: SweepConfig) -> list[Factor]:
    """Return what can differ between trials, in W&B's order; constants and computed parameters are left out."""
    group_of = {path: tuple(sorted(group)) for group in config.extensions.linked for path in group}
    found = dict(flat.flatten(config.parameters))
    conditional = {one.path for one in config.extensions.conditions}
    factors: dict[tuple[Names, ...], Factor] = {}
    for path, parameter in found.items():
        if has_one_value(parameter):
            continue
        paths = group_of.get(path, (path,))
        first = found[paths[0]]
        ordered = all(map(is_finite, first.values)) if isinstance(first, Categorical) else True
        factors.setdefault(paths, Factor(",".join(map(".".join, paths)), paths, ordered, paths[0] in conditional))
    return list(factors.values())


def results_of(manifest: Manifest, view: SweepView, metric: Objective | None) -> tuple[list[TrialResult], int]:
    """Return what trials that ended say, by number; and how many say nothing of their points.

    Values of trials that ended at different rungs are put on one scale.

    Args:
        manifest: of the sweep.
        view: its state.
        metric: the sweep's, or one of its Pareto view; None where only failures count.
    """
    ended = [number for state in TrialState if state.has_ended() for number in view.trials.in_state(state)]
    numbers = manifest.numbering
    if len(ended) > MOST_READ:
        draw = random.Random(manifest.sweep_id).sample  # noqa: S311 - a choice, and no secret
        if numbers is None:
            ended = draw(ended, MOST_READ)
        else:  # points with all of their runs
            points = sorted({numbers.of(number)[0] for number in ended})
            drawn = set(draw(points, min(len(points), MOST_READ // numbers.runs)))
            ended = [number for number in ended if numbers.of(number)[0] in drawn]
    results, silent = [], 0
    for number in sorted(ended):
        current = view.trials[number].current
        value, failure = _said(manifest.config, current.outcome if current else None, metric)
        if value is None and not failure:
            silent += 1
            continue
        point = search.parameters(manifest.config, number, manifest.sweep_id, view.kept(number))
        results.append(TrialResult(number, point, value, failure))
    rungs = manifest.config.extensions.rungs
    if rungs and metric:
        valued = {one.number: one.value for one in results if one.value is not None}
        at_rungs = {number: (rung_of_end(rungs, view.trials[number].cause), value) for number, value in valued.items()}
        scaled = on_one_scale(at_rungs, metric.goal)
        results = [one._replace(value=scaled.get(one.number)) for one in results]
    return (_of_points(manifest, view, results, metric) if numbers else results), silent


def _of_points(
    manifest: Manifest, view: SweepView, results: Sequence[TrialResult], metric: Objective | None
) -> list[TrialResult]:
    """Return one result for each point that runs several times: a failure where a run of it failed.

    A point says nothing while a run of it does not. One that a race left out counts with the runs that it had.
    """
    repeats, numbers = manifest.config.extensions.repeats, manifest.numbering
    if repeats is None or numbers is None:
        return list(results)
    runs: dict[int, list[TrialResult]] = {}
    for one in results:
        runs.setdefault(numbers.of(one.number)[0], []).append(one)
    found, left_out = [], Counter(numbers.of(number)[0] for number in view.trials.not_needed())
    for place, ones in runs.items():
        first, values = ones[0], [one.value for one in ones if one.value is not None]
        failed = next((one for one in ones if one.value is None), None)
        point = without_run(first.point, repeats)
        if failed:
            found.append(TrialResult(first.number, point, None, failed.failure))
        elif len(values) == numbers.runs - left_out[place]:
            found.append(TrialResult(first.number, point, repeats.worth(values, metric.goal if metric else "minimize")))
    return found


def _said(config: SweepConfig, outcome: Outcome | None, metric: Objective | None) -> tuple[float | None, str]:
    """Return the value or the failure of an outcome."""
    if outcome is None:
        return None, ""
    if not outcome.is_done:
        return None, outcome.cause if _OF_THE_POINT.fullmatch(outcome.cause) else ""
    if metric is None:
        return 0.0, ""
    is_own = config.metric is not None and metric.name == config.metric.name
    value = outcome.metric if is_own else (outcome.metrics or {}).get(metric.name)
    if value is not None:
        return value, ""
    # an expression's own names are in the reason, and not its name
    told = LAST_VALUE if metric.expression else f"{LAST_VALUE}{metric.name} is "
    why = outcome.no_metric or ""
    return None, NOT_FINITE if told in why or not_finite(metric) in why else ""


def label(value: Any) -> str:
    """Return a value as people read it, floats as every table has them."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
