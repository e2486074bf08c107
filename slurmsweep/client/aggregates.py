"""The summary of a run: the last value of each metric, or the aggregates that ``define_metric`` asked for.

The rules are those of wandb 0.31.0: ``tests/client`` compares the summaries that both make from the same calls.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from slurmsweep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_WORDS = ("min", "max", "mean", "last", "first", "best", "none", "copy")

#: Names of a value from the outermost mapping inwards.
Path = tuple[str, ...]


class Summary(dict[str, Any]):
    """The final values of a run as items or attributes: the last, or as defined, or as the script sets them.

    What the script sets is told to the run at once, which writes it: a script that is killed writes no summary. A copy
    is the script's own: nothing that is set in it is told.
    """

    def follow(self, told: Callable[[str, Any], None]) -> None:
        """Call ``told`` with each name and value that the script sets from now on."""
        object.__setattr__(self, "_told", told)

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        if "_told" in self.__dict__:
            self.__dict__["_told"](name, value)

    def update(self, *values: Any, **named: Any) -> None:
        """Set several values, as of a dictionary."""
        for name, value in dict(*values, **named).items():
            self[name] = value

    def __reduce__(self) -> Any:
        """Return how ``copy`` and ``pickle`` make a copy: of the values alone."""
        return Summary, (dict(self),)

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
    """The definition of one metric, or of all metrics with a prefix.

    Attributes:
        name: the name as logged, with dots into mappings; ``loss*`` for all names with that prefix.
        step_metric: the metric on the x axis; None for the step.
        step_sync: whether the last value of the step metric is logged together with this metric.
        words: the aggregates in the summary; empty for the last value.
        goal: minimize or maximize, for the aggregate ``best``.
    """

    name: str
    step_metric: str | None = None
    step_sync: bool = True
    words: list[str] = field(default_factory=list)
    goal: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what is kept in the history: for readers while the run goes on, and for its next attempt."""
        return {"name": self.name, "summary": list(self.words), "goal": self.goal}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> MetricDefinition:
        """Return the definition of a row in a history."""
        words = [word for word in data.get("summary") or () if word in _WORDS]
        return cls(str(data.get("name")), words=words, goal=data.get("goal"))


class Definitions:
    """All definitions of metrics. A full name comes before a prefix, and a longer prefix before a shorter one.

    wandb 0.31.0 chooses one of several prefixes at random.
    """

    def __init__(self) -> None:
        self._exact: dict[str, MetricDefinition] = {}
        self._beginnings: dict[str, MetricDefinition] = {}
        self._found: dict[str, MetricDefinition | None] = {}

    def add(self, metric: MetricDefinition, *, overwrite: bool) -> MetricDefinition:
        """Define a metric; words are added to an earlier definition, unless ``overwrite`` is set.

        Raises UsageError for a star before the end of the name, or an unknown word or goal.
        """
        if not metric.name:
            raise UsageError("define_metric: the name is empty")
        if "*" in metric.name[:-1]:
            raise UsageError(f"define_metric({metric.name!r}): a star may stand at the end only")
        for word in metric.words:
            if word not in _WORDS:
                raise UsageError(f"define_metric({metric.name!r}, summary={word!r}): use {', '.join(_WORDS)}")
        if metric.goal not in (None, "minimize", "maximize"):
            raise UsageError(f"define_metric({metric.name!r}, goal={metric.goal!r}): use minimize or maximize")
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
        """Return the definition of a name; None if there is none."""
        if name not in self._found:
            fitting = [stem for stem in self._beginnings if name.startswith(stem[:-1])]
            longest = self._beginnings[max(fitting, key=len)] if fitting else None
            self._found[name] = self._exact.get(name, longest)
        return self._found[name]

    def __bool__(self) -> bool:
        return bool(self._exact or self._beginnings)


class Aggregates:
    """Updates a summary with each logged row. It keeps one number for each mean and no rows."""

    def __init__(self, summary: Summary, definitions: Definitions) -> None:
        self._summary = summary
        self._definitions = definitions
        self._counts: dict[str, int] = {}

    def take(self, row: Mapping[str, Any]) -> None:
        """Update the summary with the values of one step."""
        for name, value in row.items():
            if isinstance(value, dict) or self._definitions:
                for path, leaf in _leaves((name,), value):
                    self._take_leaf(path, leaf)
            else:
                dict.__setitem__(self._summary, name, value)

    def _take_leaf(self, path: Path, value: Any) -> None:
        name = ".".join(path)
        metric = self._definitions.of(name)
        words = metric.words if metric else []
        if metric is None or set(words) <= {"copy"}:
            _put(self._summary, path, value)
            return
        if "none" in words:
            return
        for word in words:
            if word == "copy":
                continue
            where = (*path, word)
            before = _get(self._summary, where)
            if word == "last" or (word == "first" and before is None):
                _put(self._summary, where, value)
            elif word != "first" and isinstance(value, (int, float)) and not isinstance(value, bool):
                _put(self._summary, where, self._combined(name, word, before, value, metric.goal))

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


def _leaves(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    """Yield all values inside nested mappings with their names; an empty mapping counts as a value."""
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
            inner = {}
            dict.__setitem__(summary, name, inner)
        summary = inner
    dict.__setitem__(summary, path[-1], value)
