"""What a report shows, whatever its format: ``control/views/report.py`` gathers it, the modules here draw it."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from slurmsweep.report.figures import value_text
from slurmsweep.search.flat import flat
from slurmsweep.sweepfile.plain import is_number
from slurmsweep.sweepfile.space import Categorical, Constant, leaves

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Mapping, Sequence

    from slurmsweep.report.failures import FailureGroup
    from slurmsweep.report.summary import SweepSummary, TrialRow
    from slurmsweep.sweepfile.sections import Objective

X = TypeVar("X")

#: How every file begins that a report may be written over: it is one itself.
MARK = "slurmsweep report"

#: Values up to which a parameter of numbers that the sweep file lists is drawn as categories.
_MOST_LEVELS = 12

#: Decades over which a parameter of numbers is drawn on a logarithmic axis, whatever the sweep file says.
_DECADES = 3


class Curve(NamedTuple):
    """What one trial logged of one metric: steps, ascending, and values, as many."""

    steps: array[float]
    values: array[float]


class ReportTrial(NamedTuple):
    """One trial of a report.

    Attributes:
        row: as it is shown everywhere; with the last words of its log where it failed.
        values: by name, the numbers that it ended with, or has so far.
        ended: wall-clock time; None while it runs.
    """

    row: TrialRow
    values: Mapping[str, float]
    ended: float | None

    def text_of(self, metric: str) -> str:
        """Return its value of a metric as people read it, of a point with its spread; empty without one."""
        if self.row.runs:
            return self.row.metric_text
        return value_text(self.values[metric]) if metric in self.values else ""


class FailureTail(NamedTuple):
    """Trials that failed alike, and the end of the log of the first."""

    group: FailureGroup
    tail: str


class ReportContent(NamedTuple):
    """What a report shows of a sweep.

    Attributes:
        summary: the sweep.
        name: how it is called in commands.
        made: wall-clock time of the report.
        objectives: the sweep's metric, those of its Pareto view, then other names that were logged, with a goal that
            is a guess by the name. The first is the one that is shown first.
        named: how many of them the sweep file names.
        trials: those that were started, by number; of very large sweeps some of them.
        best: the best of all trials by the first objective; at most as many as a table shows.
        curves: by metric, then by trial.
        importances: documents of ``importance --json``, one for each objective that the sweep file names.
        failures: the largest group first.
        efficiency: document of ``efficiency --json``.
        rungs: for each rung its step, how many trials ended there and how many went beyond; empty without rungs.
        config: the sweep file as it was read.
        repeat: what to type to do all this again: label and command.
        left_out: what is not here, a sentence each.
    """

    summary: SweepSummary
    name: str
    made: float
    objectives: Sequence[Objective]
    named: int
    trials: Sequence[ReportTrial]
    best: Sequence[ReportTrial]
    curves: Mapping[str, Mapping[int, Curve]]
    importances: Sequence[Mapping[str, Any]]
    failures: Sequence[FailureTail]
    efficiency: Mapping[str, Any]
    rungs: Sequence[tuple[int, int, int]]
    config: str
    repeat: Sequence[tuple[str, str]]
    left_out: Sequence[str]

    @property
    def title(self) -> str:
        """The sweep's name, or its id where it has none."""
        return self.summary.manifest.config.name or self.summary.manifest.sweep_id

    def by_importance(self) -> list[str]:
        """Return the parameters that differ between trials, the most important one for the first metric first."""
        known: dict[str, float] = {}
        for document in self.importances[:1]:
            for one in document["parameters"]:
                known.update(dict.fromkeys(one["parameter"].split(","), one["importance"]))
        repeats = self.summary.manifest.config.extensions.repeats
        run = ".".join(repeats.path) if repeats else None  # tells the runs of a point apart, and no points
        names = [column.name for column in self.parameters() if column.differs and column.name != run]
        return sorted(names, key=lambda name: -known.get(name, 0.0))

    def parameters(self) -> list[ParameterColumn]:
        """Return the parameters of the trials, in the order of the sweep file."""
        forms = {".".join(names): form for names, form in leaves(self.summary.manifest.config.parameters)}
        points = [dict(flat(trial.row.params)) for trial in self.trials]
        names = dict.fromkeys(forms) | dict.fromkeys(name for point in points for name in point)
        return [_column(name, forms.get(name), [point.get(name) for point in points]) for name in names]

    def ends(self, name: str) -> list[tuple[int, float]]:
        """Return the value of each trial that has one of this metric and has ended, numbered 1.. as they ended."""
        return [(place, value) for place, value, _ in self._ends(name)]

    def best_so_far(self, objective: Objective) -> list[tuple[int, float]]:
        """Return those of :meth:`ends` that are better than all before them, of the trials that may be the best."""
        ranked = ((place, value) for place, value, is_ranked in self._ends(objective.name) if is_ranked)
        return better_than_before(ranked, objective.goal)

    def _ends(self, name: str) -> list[tuple[int, float, bool]]:
        """Return for each of :meth:`ends` its number, its value, and whether the trial may be the best."""
        ended = [
            (t.ended, t.values[name], t.row.is_ranked) for t in self.trials if t.ended is not None and name in t.values
        ]
        return [(place, value, is_ranked) for place, (_, value, is_ranked) in enumerate(sorted(ended), 1)]


class ParameterColumn(NamedTuple):
    """One parameter over all trials of a report.

    Attributes:
        name: dots for nested ones.
        values: numbers, NaN for none; or texts, None for none.
        is_number: which of the two.
        levels: of texts, sorted: as numbers where all are.
        is_log: its axis is logarithmic.
        differs: two trials differ in it.
    """

    name: str
    values: list[Any]
    is_number: bool
    levels: list[str]
    is_log: bool
    differs: bool


def _column(name: str, form: Any, values: list[Any]) -> ParameterColumn:
    known = [value for value in values if value is not None]
    numbers = bool(known) and all(map(is_number, known))
    different = {value_text(value) for value in values}
    if numbers and not (isinstance(form, (Categorical, Constant)) and len(different) <= _MOST_LEVELS):
        floats = [
            math.nan if value is None else float(value) if abs(value) < sys.float_info.max else math.inf
            for value in values
        ]
        above = [value for value in floats if value > 0 and math.isfinite(value)]
        is_log = bool(above) and not any(value < 0 for value in floats) and min(above) < max(above)
        kind = getattr(form, "kind", None)  # of a distribution; values that are listed say for themselves
        as_log = "log" in kind if kind else is_log and max(above) / min(above) >= 10**_DECADES
        return ParameterColumn(name, floats, True, [], is_log and as_log, len(different) > 1)
    texts = [None if value is None else value_text(value) for value in values]
    levels = {value_text(value): value for value in known}
    order = sorted(levels, key=(lambda text: levels[text]) if numbers else str)
    return ParameterColumn(name, texts, False, order, False, len(different) > 1)


def guessed_goal(name: str) -> str:
    """Return ``maximize`` where a name is that of a share or a score, as scripts call them."""
    words = ("acc", "auc", "f1", "score", "reward", "return", "precision", "recall", "r2", "psnr", "bleu", "iou")
    return "maximize" if any(word in name.lower() for word in words) else "minimize"


def better_than_before(values: Iterable[tuple[X, float]], goal: str) -> list[tuple[X, float]]:
    """Return the values that are better than all before them, each with what it comes with."""
    sign, best, found = -1.0 if goal == "maximize" else 1.0, math.inf, []
    for at, value in values:
        if sign * value < best:
            best = sign * value
            found.append((at, value))
    return found
