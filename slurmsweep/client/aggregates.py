"""What a run's summary keeps of what was logged: the last value, or what ``define_metric`` asked for.

Source of the rules: the summaries that wandb 0.31.0 makes offline of the same calls; ``tests/client`` asks both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from slurmsweep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_WORDS = ("min", "max", "mean", "last", "first", "best", "none", "copy")

#: Words that make no key of their own.
_PLAIN = ("none", "copy")

#: Names of a value from the outermost mapping inwards.
Path = tuple[str, ...]


class Summary(dict[str, Any]):
    """Final values of a run, as items or attributes: the last logged, or as defined, or what the script sets."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the summary has no {name!r}; it has {', '.join(self) or 'nothing'}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        del self[name]


@dataclass
class MetricDefinition:
    """What :meth:`Run.define_metric` said of one name, or of all names with a beginning.

    Attributes:
        name: as logged, with dots into mappings; ``loss*`` for all names that begin so.
        step_metric: the metric this one is drawn over; None for the step.
        step_sync: whether the step metric's last value is logged along.
        words: what the summary keeps; the last value where there is none.
        goal: minimize or maximize: what ``best`` means.
    """

    name: str
    step_metric: str | None = None
    step_sync: bool = True
    words: list[str] = field(default_factory=list)
    goal: str | None = None


class Definitions:
    """All metrics that were defined. A name comes before a beginning, and a longer beginning before a shorter.

    Which of several beginnings counts is left to chance by wandb 0.31.0.
    """

    def __init__(self) -> None:
        self._exact: dict[str, MetricDefinition] = {}
        self._beginnings: dict[str, MetricDefinition] = {}
        self._found: dict[str, MetricDefinition | None] = {}

    def add(self, metric: MetricDefinition, *, overwrite: bool) -> MetricDefinition:
        """Define a metric; of one that is defined already the words are added to, unless it is to be overwritten.

        Raises:
            UsageError: a star elsewhere than at the end, or an unknown word or goal.
        """
        _check(metric)
        self._found.clear()
        home = self._beginnings if metric.name.endswith("*") else self._exact
        known = home.get(metric.name)
        if known is None or overwrite:
            home[metric.name] = metric
            return metric
        known.words += [word for word in metric.words if word not in known.words]
        known.step_metric = metric.step_metric or known.step_metric
        known.step_sync = metric.step_sync
        known.goal = metric.goal or known.goal
        return known

    def of(self, name: str) -> MetricDefinition | None:
        """What was said of a name; None where nothing was."""
        if name not in self._found:
            fitting = [stem for stem in self._beginnings if name.startswith(stem[:-1])]
            longest = self._beginnings[max(fitting, key=len)] if fitting else None
            self._found[name] = self._exact.get(name, longest)
        return self._found[name]

    def __bool__(self) -> bool:
        return bool(self._exact or self._beginnings)


class Aggregates:
    """Brings a summary up to date, a logged row at a time. Keeps one number a mean, nothing a row."""

    def __init__(self, summary: Summary, definitions: Definitions) -> None:
        self._summary = summary
        self._definitions = definitions
        self._counts: dict[str, int] = {}

    def take(self, row: Mapping[str, Any]) -> None:
        """Take over what was logged in a step."""
        for name, value in row.items():
            if isinstance(value, dict) or self._definitions:
                for path, leaf in _leaves((name,), value):
                    self._take_leaf(path, leaf)
            else:
                self._summary[name] = value

    def _take_leaf(self, path: Path, value: Any) -> None:
        name = ".".join(path)
        metric = self._definitions.of(name)
        words = metric.words if metric else []
        if "none" in words:
            return
        keys = [word for word in words if word not in _PLAIN]
        if not keys:
            _put(self._summary, path, value)
            return
        for word in keys:
            self._take_word(path, name, word, value, metric.goal if metric else None)

    def _take_word(self, path: Path, name: str, word: str, value: Any, goal: str | None) -> None:
        where = (*path, word)
        before = _get(self._summary, where)
        if word in ("first", "last"):
            if word == "last" or before is None:
                _put(self._summary, where, value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            _put(self._summary, where, self._combined(name, word, before, value, goal))

    def _combined(self, name: str, word: str, before: Any, value: float, goal: str | None) -> Any:
        if word == "mean":
            count = self._counts[name] = self._counts.get(name, 0) + 1
            return value if before is None else before + (value - before) / count
        if before is None:
            return value
        if any(isinstance(number, float) and math.isnan(number) for number in (before, value)):
            return math.nan  # a run that diverged has no best, as for wandb
        largest = word == "max" or (word == "best" and goal == "maximize")
        return max(before, value) if largest else min(before, value)


def _check(metric: MetricDefinition) -> None:
    if not metric.name:
        raise UsageError("define_metric: the name is empty")
    if "*" in metric.name[:-1]:
        raise UsageError(f"define_metric({metric.name!r}): a star may stand at the end only")
    for word in metric.words:
        if word not in _WORDS:
            raise UsageError(f"define_metric({metric.name!r}, summary={word!r}): use {', '.join(_WORDS)}")
    if metric.goal not in (None, "minimize", "maximize"):
        raise UsageError(f"define_metric({metric.name!r}, goal={metric.goal!r}): use minimize or maximize")


def _leaves(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    """Values that are no mappings, with their names."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves((*path, name), inner)
    else:
        yield path, value


def _get(summary: Any, path: Path) -> Any:
    for name in path:
        summary = summary.get(name) if isinstance(summary, dict) else None
    return summary


def _put(summary: dict[str, Any], path: Path, value: Any) -> None:
    for name in path[:-1]:
        inner = summary.get(name)
        if not isinstance(inner, dict):
            inner = summary[name] = {}
        summary = inner
    summary[path[-1]] = value
