"""``repeats`` below the ``slurmsweep:`` key: each point of the search runs several times, with another seed or fold.

::

    slurmsweep:
      repeats:
        parameter: seed          # set to one of the values in each run; dots for a nested one
        values: [0, 1, 2, 3, 4]  # or count: 5
        metric: mean             # what a point is worth: mean, median, min, max or worst of its runs
        race: true               # optional: leave out runs that can no longer change which point is best
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.sweepfile.findings import shown, suggest
from slurmsweep.sweepfile.plain import identity, is_number
from slurmsweep.sweepfile.space import Nested

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from slurmsweep.sweepfile.findings import Findings, Path
    from slurmsweep.sweepfile.sections import Metric
    from slurmsweep.sweepfile.space import Names, Parameter

_KEYS = ("parameter", "values", "count", "metric", "race")
_HINT = "such as {parameter: seed, values: [0, 1, 2], metric: mean}"

#: What a point is worth; ``worst`` is the largest of a metric that is minimised, and the smallest of another one.
COMBINATIONS = ("mean", "median", "min", "max", "worst")

#: The most runs of a point. A point is judged when all have ended.
MOST = 1000

#: The chance that a race leaves out the point that would have been the best, where the file does not say.
_LEVEL = 0.05


class Numbering(NamedTuple):
    """The numbers of trials of a sweep whose points run several times: for the state each run is a trial.

    This mapping from (point, run) to the number and back is the only place that knows how: what judges points asks it,
    and what runs trials need not.

    The runs of a point follow each other, so that points are done one by one. In a race by mean or median all points
    run once before the first one runs again, so what is left out is known early, however many jobs run side by side. A
    race by the worst run needs points that are done.

    Attributes:
        runs: of each point.
        points: how many there are, where all of them run once first; None where the runs of a point follow each other.
    """

    runs: int
    points: int | None = None

    def of(self, number: int) -> tuple[int, int]:
        """Return the point of a trial, and which of its runs it is; both from 0 on."""
        if self.points is None:
            return divmod(number, self.runs)
        run, point = divmod(number, self.points)
        return point, run

    def number(self, point: int, run: int) -> int:
        """Return the trial that is this run of a point: the inverse of :meth:`of`."""
        return point * self.runs + run if self.points is None else run * self.points + point

    def trials(self, point: int) -> range:
        """Return the trials that are the runs of a point, the first run first."""
        if self.points is None:
            return range(point * self.runs, (point + 1) * self.runs)
        return range(point, self.points * self.runs, self.points)


class Repeats(NamedTuple):
    """The runs of each point.

    Attributes:
        path: of the parameter that differs between them.
        values: of that parameter, one a run; at least two, all different.
        combine: what a point is worth, one of :data:`COMBINATIONS`.
        race: the chance that leaving runs out loses the best point; None where every run is needed.
    """

    path: Names
    values: tuple[Any, ...]
    combine: str = "mean"
    race: float | None = None

    def numbering(self, method: str, points: int | None) -> Numbering:
        """Return which trials are the runs of which point, for a search of that method with so many points."""
        is_broad = self.race is not None and self.combine in ("mean", "median") and method != "bayes"
        return Numbering(len(self.values), points if is_broad else None)

    def to_json(self) -> dict[str, Any]:
        """Return the section with all of its keys."""
        named = {"parameter": ".".join(self.path), "values": list(self.values), "metric": self.combine}
        return named if self.race is None else named | {"race": self.race}

    def worth(self, values: Collection[float], goal: str) -> float:
        """Return what a point is worth whose runs ended with these values, at least one."""
        if self.combine == "mean":
            return statistics.fmean(values)
        if self.combine == "median":
            return statistics.median(values)
        if self.combine == "worst":
            return min(values) if goal == "maximize" else max(values)
        return min(values) if self.combine == "min" else max(values)


def read_repeats(
    value: Any, data: Mapping[str, Any], parameters: dict[str, Parameter], metric: Metric | None, findings: Findings
) -> Repeats | None:
    """Return the section; None, and mistakes in ``findings``, where it is wrong.

    Args:
        value: the section.
        data: the whole sweep file.
        parameters: of the search.
        metric: of the sweep.
        findings: takes the mistakes.
    """
    path: Path = ("slurmsweep", "repeats")
    if not isinstance(value, dict):
        findings.error(path, f"must be a mapping, not {shown(value)}", _HINT)
        return None
    before = len(findings.violations)
    findings.keys(path, value, _KEYS, "is not a key of it")
    if (data.get("slurmsweep") or {}).get("rungs") is not None:
        problem = "cannot be used together with rungs: a point could go on with some of its runs only"
        findings.error(path, problem, "remove one of the two")
    names = _parameter(value.get("parameter"), parameters, findings)
    values = _values(value, findings)
    combine = value.get("metric", "mean")
    if combine not in COMBINATIONS:
        findings.error((*path, "metric"), f"{shown(combine)} is not a combination", suggest(combine, COMBINATIONS))
    race = _race(value.get("race"), str(combine), data, metric, findings)
    return Repeats(names, values, str(combine), race) if len(findings.violations) == before else None


def _parameter(name: Any, parameters: dict[str, Parameter], findings: Findings) -> Names:
    path: Path = ("slurmsweep", "repeats", "parameter")
    if not isinstance(name, str) or not all(name.split(".")):
        problem = "is missing" if name is None else f"must be the name of a parameter, not {shown(name)}"
        findings.error(path, problem, _HINT)
        return ()
    names = tuple(name.split("."))
    within: Mapping[str, Parameter] = parameters
    for place, one in enumerate(names, 1):
        found = within.get(one)
        if found is None:
            return names
        if not isinstance(found, Nested) or place == len(names):
            there = ".".join(names[:place])
            problem = f"{there} stands under parameters, too: the search would set what the repeats set"
            findings.error(path, problem, f"remove {there} there; its values go here")
            break
        within = found.parameters
    return names


def _values(section: Mapping[str, Any], findings: Findings) -> tuple[Any, ...]:
    path: Path = ("slurmsweep", "repeats")
    values, count = section.get("values"), section.get("count")
    if (values is None) == (count is None):
        findings.error(path, "needs either values or count", _HINT)
        return ()
    if values is None:
        if type(count) is not int or not 2 <= count <= MOST:
            problem = f"must be a whole number from 2 to {MOST}, not {shown(count)}"
            findings.error((*path, "count"), problem, "such as 5")
            return ()
        return tuple(range(count))
    if not isinstance(values, list) or not 2 <= len(values) <= MOST:
        findings.error((*path, "values"), f"must be a list of 2 to {MOST} values", "such as [0, 1, 2]")
        return ()
    seen: set[Any] = set()
    for one in values:
        if identity(one) in seen:
            findings.error((*path, "values"), f"{shown(one)} stands there twice", "each run needs a value of its own")
            return ()
        seen.add(identity(one))
    return tuple(values)


def _race(value: Any, combine: str, data: Mapping[str, Any], metric: Metric | None, findings: Findings) -> float | None:
    path: Path = ("slurmsweep", "repeats", "race")
    if value is None or value is False:
        return None
    level = _LEVEL if value is True else value
    if not is_number(level) or not 0 < level < 1:
        findings.error(path, f"must be true, or a chance between 0 and 1, not {shown(value)}", "such as 0.05")
        return None
    if metric is None:
        findings.error(path, "needs a metric to compare points by", "add metric: {name: ..., goal: ...}")
    elif combine == ("max" if metric.goal == "maximize" else "min"):
        problem = f"the {combine} of a metric to {metric.goal} may be that of the last run, so every run is needed"
        findings.error(path, problem, "remove race, or use mean, median or worst")
    if data.get("early_terminate") is not None:
        problem = "cannot be used together with early_terminate: runs that were cut short are no measure for a race"
        findings.error(path, problem, "remove one of the two")
    if data.get("method") != "grid" and data.get("run_cap") is None:
        problem = "needs to know how many points there are: its level is for all of them together"
        findings.error(path, problem, "add run_cap")
    return float(level)
