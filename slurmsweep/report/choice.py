"""What a user names of trials: for a column, for the order, and for which trials are shown (``lr<0.01``). Pure."""

from __future__ import annotations

import math
import operator
import re
import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.errors import UsageError
from slurmsweep.report.figures import duration, value_text
from slurmsweep.search.flat import flatten, reach
from slurmsweep.sweepfile.plain import is_number
from slurmsweep.sweepfile.space import has_one_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from slurmsweep.report.summary import TrialRow
    from slurmsweep.sweepfile.config import SweepConfig

#: Fields of a trial that have a name of their own beside the key of ``--json``.
_ALSO = {"trial": "number", "took": "seconds", "memory": "max_rss_mb"}

_FIELDS = (
    "number", "state", "cause", "attempt", "job", "node", "started", "seconds", "cpu_seconds", "max_rss_mb",
    "exit_code", "origin", "no_metric", "log",
)  # fmt: skip

_CONDITION = re.compile(r"\s*(.+?)\s*(<=|>=|!=|==|=|<|>)\s*(.*?)\s*")

#: What stands between a value and a further condition in the same text.
_NEXT = re.compile(r"(?:\s*[,;&]+\s*|\s+)(?:and\s+)?(?=[^\s<>=!,;&]+\s*(?:<=|>=|!=|=|<|>))", re.IGNORECASE)

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}

_WORDS = {"true": True, "false": False, "null": None}


class Field(NamedTuple):
    """One thing that can be told of each trial.

    Attributes:
        title: of its column.
        of: takes a trial and returns the value; None where it has none.
        text: takes a value and returns what a cell shows.
    """

    title: str
    of: Callable[[TrialRow], Any]
    text: Callable[[Any], str] = value_text


#: Of sweeps whose points run several times: columns of points; in others a parameter may have such a name.
OF_POINTS = {
    "point": Field("point", operator.attrgetter("point")),
    "spread": Field("\u00b1", operator.attrgetter("spread"), "{:.2g}".format),
    "runs": Field("runs", lambda row: row.runs and row.runs.words),
}


class Demand(NamedTuple):
    """A comparison that a trial meets or not: name, operator, and the text that the value is compared with."""

    name: str
    compared: str
    text: str


def condition(text: str) -> Demand:
    """Return the condition of a text such as ``lr<=0.01``. Raises ValueError where it is none."""
    found = _CONDITION.fullmatch(text)
    if not found:
        raise ValueError(
            f"{text!r} is not a condition: write NAME=VALUE, or with !=, <, <=, >, >= (quoted for the shell)"
        )
    return Demand(*found.groups())


def told_apart(where: Sequence[Demand], *, is_found: bool) -> str:
    """Return how to write several conditions of which one text holds more than one; empty where no text does.

    ``state=failed depth=4`` is one condition here, whose value is ``failed depth=4``. The filters of a report and of
    the live view take it for two.

    Args:
        where: all conditions.
        is_found: trials meet them. Then a value that is asked for by ``=`` exists, and is no mistake.
    """
    texts = [[f"{one.name}{one.compared}{first}", *rest] for one in where for first, *rest in [_NEXT.split(one.text)]]
    doubtful = [one for one in where if not (is_found and one.compared in ("=", "=="))]
    if not any(_NEXT.search(one.text) for one in doubtful):
        return ""
    words = " ".join(f"-w {shlex.quote(text)}" for parts in texts for text in parts)
    return f"each condition wants a --where of its own: {words}"


def parameters(config: SweepConfig) -> dict[str, Field]:
    """Return the parameters of a sweep by name, those of nested parameters by dotted names, in the file's order."""
    order = list(config.parameters)
    paths = sorted((path for path, _ in flatten(config.parameters)), key=lambda path: order.index(path[0]))
    paths += [one.path for one in config.extensions.computed]
    paths += [config.extensions.repeats.path] if config.extensions.repeats else []
    return {".".join(path): Field(".".join(path), _parameter(path)) for path in paths}


def constants(config: SweepConfig) -> frozenset[str]:
    """Return the names of those parameters that have the same value in every trial of a sweep."""
    conditional = {one.path for one in config.extensions.conditions}
    always = ((path, parameter) for path, parameter in flatten(config.parameters) if path not in conditional)
    return frozenset(".".join(path) for path, parameter in always if has_one_value(parameter))


def metrics(config: SweepConfig) -> dict[str, Field]:
    """Return the sweep's metric, and those of its Pareto view, by name."""
    found = {}
    if config.metric:
        found[config.metric.name] = Field(config.metric.name, operator.attrgetter("metric"))
    for objective in config.extensions.pareto:
        found.setdefault(objective.name, Field(objective.name, _metric(objective.name)))
    return found


def fields(config: SweepConfig) -> dict[str, Field]:
    """Return all that a user can name of the trials of a sweep.

    A parameter or metric that has the name of something else is ``params.NAME`` or ``metrics.NAME``, as all of them
    are; the last part of a nested name is enough where it is the only one.
    """
    own, logged = parameters(config), metrics(config)
    found = {f"params.{name}": field for name, field in own.items()}
    found |= {f"metrics.{name}": field for name, field in logged.items()}
    last = [name.rpartition(".")[2] for name in own]
    found |= {end: own[name] for name, end in zip(own, last, strict=True) if last.count(end) == 1}
    found |= own | logged
    found |= {name: Field(name, operator.attrgetter(name)) for name in _FIELDS}
    found |= {name: Field(name, operator.attrgetter(key)) for name, key in _ALSO.items()}
    if config.extensions.repeats:
        found |= OF_POINTS | {OF_POINTS["spread"].title: OF_POINTS["spread"]}
    for name in ("seconds", "took", "cpu_seconds"):
        found[name] = found[name]._replace(text=duration)
    return found


def named(known: Mapping[str, Field], name: str) -> Field:
    """Return the field of that name. Raises UsageError, which says what there is."""
    if name in known:
        return known[name]
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1)
    said = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(n for n in known if '.' not in n)}"
    raise UsageError(f"trials of this sweep have no {name!r}: {said} (`export` has all that trials logged)")


def chosen(
    trials: Iterable[TrialRow],
    known: Mapping[str, Field],
    where: Sequence[Demand],
    sort: str = "",
    *,
    reverse: bool = False,
) -> list[TrialRow]:
    """Return the trials that meet all conditions, in the order that is asked for.

    Args:
        trials: in any order.
        known: what can be named (:func:`fields`).
        where: compared as numbers where both sides are; ``true``, ``false`` and ``null`` as in YAML; else as text.
            A trial without the value meets ``!=`` and ``=null`` only.
        sort: name of a field, numbers before texts; empty for the order as it is. Trials without the value come last.
        reverse: the largest value comes first.

    Raises:
        UsageError: a name is unknown, or a number is compared with what is none.
    """
    trials = list(trials)
    tests = [(named(known, one.name), one) for one in where]
    for field, one in tests:
        if one.compared in ("<", ">", "<=", ">=") and any(is_number(field.of(trial)) for trial in trials):
            try:
                float(one.text)
            except ValueError as error:
                right = told_apart(where, is_found=False) or f"write {one.name}{one.compared}0.5"
                raise UsageError(f"{one.name} is a number, and {one.text!r} is none: {right}") from error
    found = [trial for trial in trials if all(_meets(field.of(trial), one) for field, one in tests)]
    if not sort:
        return found
    field = named(known, sort)
    told = [(value, trial) for trial in found if not _is_missing(value := field.of(trial))]
    told.sort(key=lambda one: (False, one[0]) if is_number(one[0]) else (True, str(one[0])), reverse=reverse)
    return [trial for _, trial in told] + [trial for trial in found if _is_missing(field.of(trial))]


def _meets(value: Any, one: Demand) -> bool:
    other: Any = _WORDS.get(one.text.lower(), one.text)
    if other is None or isinstance(other, bool) or value is None:
        is_same = value is other or (isinstance(value, bool) and value == other)
        return {"=": is_same, "==": is_same, "!=": not is_same}.get(one.compared, False)
    if is_number(value):
        try:
            number = float(one.text)
        except ValueError:
            return one.compared == "!="
        # what a table shows of a number names it, too
        return _COMPARE[one.compared](number if value_text(value) == one.text else value, number)
    return _COMPARE[one.compared](str(value), one.text)


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _parameter(path: tuple[str, ...]) -> Callable[[TrialRow], Any]:
    return lambda trial: reach(trial.params, path)


def _metric(name: str) -> Callable[[TrialRow], Any]:
    return lambda trial: (trial.metrics or {}).get(name)
