"""Measure a trial: the sweep's metric, logged or computed, the numbers of its Pareto view, and why some lack."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.metrics.reported import MetricReading, MetricsFollower, reach, read_summary, trial_runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slurmsweep.metrics.logged_values import LoggedValues
    from slurmsweep.state.paths import Layout
    from slurmsweep.state.tail import AttemptId
    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.expression import Expression
    from slurmsweep.sweepfile.sections import Objective
    from slurmsweep.sweepfile.summary import HistorySummary

#: Characters of :attr:`Measured.why`: it stands in a record of the journal, and in a line on a terminal.
_LONGEST = 200

#: How the reason begins where a number was logged and the last one was not finite.
LAST_VALUE = "the last value of "

#: In it: how many of the logged names are listed, and characters of a value.
_NAMED, _SHOWN = 4, 30


def not_finite(one: Objective) -> str:
    """Return how the reason begins where an objective's last value was no finite number, or one of its last ones."""
    newest = one.summary.newest if one.summary else None
    if newest is None or newest == 1:
        return f"{LAST_VALUE}{one.name} is not a finite number"
    return f"one of the last {newest} values of {one.name} is not a finite number"


class Measured(NamedTuple):
    """The numbers of a trial that its sweep asks for, over its attempts.

    Attributes:
        metric: of the sweep's metric. A computed one has the steps of that part of it which was logged least.
        metrics: by name, those of the Pareto view that have a value; None where none has, or the sweep has no such
            view.
        reasons: why computed numbers have no value or are in doubt, a sentence each.
        why: of an attempt that has ended, why the metric or numbers of the view have no value, or are in doubt because
            several ranks wrote them; empty where all are right.
    """

    metric: MetricReading = MetricReading()
    metrics: dict[str, float] | None = None
    reasons: tuple[str, ...] = ()
    why: str = ""


class Measuring:
    """Follower of the numbers of a trial that its sweep asks for; arguments and costs as :class:`MetricsFollower`.

    A name in an expression is always what the script logged, also where it is the metric's own.

    Attributes:
        history: of the sweep's metric, where the sweep file says how it is summed up; else None.
    """

    def __init__(
        self, config: SweepConfig, layout: Layout, attempt_id: AttemptId, first: int = 1, *, is_over: bool = False
    ) -> None:
        self._where = layout, attempt_id, first
        self._metric = config.metric.objective if config.metric else None
        self._pareto = config.extensions.pareto
        self._objectives = {objective.name: objective for objective in (*self._pareto, self._metric) if objective}
        texts = {name: one.expression for name, one in self._objectives.items() if one.expression is not None}
        self._expressions: dict[str, Expression] = {}
        if texts:
            from slurmsweep.sweepfile.expression import parse  # an agent loads it only where there is one

            self._expressions = {name: parse(text) for name, text in texts.items()}
        goals = {name: one.goal for name, one in self._objectives.items() if one.expression is None}
        for name, expression in self._expressions.items():
            goals = dict.fromkeys(expression.names, self._objectives[name].goal) | goals
        self._follower = MetricsFollower(layout, attempt_id, goals, first, is_over=is_over)
        self.history: LoggedValues | None = None
        if config.metric and config.metric.summary:
            from slurmsweep.metrics.logged_values import LoggedValues  # likewise

            self.history = LoggedValues(config.metric, layout, attempt_id, first, is_over=is_over)
        self._logged: dict[str, MetricReading] = {}
        self._found: dict[str, MetricReading] = {}

    def read(self) -> Measured:
        """Return the numbers so far. Raises OSError where a file that is there cannot be read."""
        if not self._objectives:
            return Measured()
        self._logged = self._follower.read()
        if self.history:
            self.history.read()
        reasons: list[str] = []
        self._found = {name: self._reading(one, reasons) for name, one in self._objectives.items()}
        values = {one.name: value for one in self._pareto if (value := self._found[one.name].value) is not None}
        metric = self._found[self._metric.name] if self._metric else MetricReading()
        return Measured(metric, values or None, tuple(reasons))

    def why(self) -> str:
        """Return why numbers had no value at the last :meth:`read`, as far as the logged values tell; else empty.

        For attempts that have ended: it reads everything that was logged. Raises OSError as :meth:`read`.
        """
        lacking = [self._objectives[name] for name, reading in self._found.items() if reading.value is None]
        if not lacking:
            return self._without_history()[:_LONGEST]
        summary = read_summary(*self._where)
        if not summary and not any(reading.steps for reading in self._logged.values()):
            return self._why_nothing()[:_LONGEST]
        said, logged = [], []
        for one in sorted(lacking, key=lambda one: one is not self._metric):
            words, is_absent = self._why_no_value(one, summary)
            said.append(words if one is self._metric or one.expression is None else f"{one.name}: {words}")
            if is_absent:  # often the name is spelt otherwise
                logged = sorted(name for name in summary if not name.startswith("_"))
        more = f" and {len(logged) - _NAMED} more" if len(logged) > _NAMED else ""
        hint = f" (logged: {', '.join(logged[:_NAMED])}{more})" if logged else ""
        return ("; ".join(dict.fromkeys(said)) + hint)[:_LONGEST]

    def _reading(self, one: Objective, reasons: list[str]) -> MetricReading:
        """Return the state of one number; where a computed one has no value, add a sentence to ``reasons``."""
        if one.summary and self.history and self.history.values:
            return self._summed_up(one.summary, self.history, reasons)
        if one.summary and (doubt := self._without_history()):
            reasons.append(doubt)
        if one.expression is None:
            return self._logged[one.name]
        expression = self._expressions[one.name]
        reading, reason = _computed(expression, self._logged)
        if reason:
            hint = _backtick_hint(one.expression, expression, self._logged)
            reasons.append(f"{one.name} has no value: {reason}{hint}")
        return reading

    def _without_history(self) -> str:
        """Return that the value of the metric is of a summary alone; empty where it is not, or there is no value."""
        if self._metric is None or not self.history or self.history.values:
            return ""
        names = [self._metric.name] if self._metric.expression is None else self._expressions[self._metric.name].names
        if any(self._logged[name].value is None for name in names):
            return ""
        from slurmsweep.metrics.ranks import IN_DOUBT  # few trials get here

        only = " and ".join(name for name in names if not self._logged[name].steps) or self._metric.name
        return f"{IN_DOUBT}{only} only in the script's summary, so its value there counts"

    def _summed_up(self, summary: HistorySummary, history: LoggedValues, reasons: list[str]) -> MetricReading:
        """Return the metric as the sweep file sums it up; say where the script's own summary says something else."""
        name, value = history.metric.name, history.summed_up(summary)
        if history.metric.expression is None:
            reading = self._logged[name]
            if reading.value is not None and reading.value not in (value, history.values[-1]):
                told = "no value" if value is None else f"{value:g}"
                reasons.append(
                    f"{name}: the sweep file's summary counts ({summary.words}: {told}), and not the script's own "
                    f"({reading.value:g})"
                )
            return reading._replace(value=value)
        reading, _ = _computed(self._expressions[name], self._logged)
        return reading._replace(value=value)

    def _why_nothing(self) -> str:
        """Return why nothing was logged at all."""
        if any(reading.source == "wandb" for reading in self._logged.values()):
            return "its wandb run is empty: it ended before wandb wrote"
        unseen = self._follower.files.unseen
        if unseen:
            remedy = "another machine's disk?" if os.path.isabs(unseen[0]) else "give dir= an absolute path"
            return f"its wandb run is not seen from here: {remedy} (wandb said {unseen[0]})"
        return "nothing logged with wandb or slurmsweep, in a printed line or in metrics.json"

    def _why_no_value(self, one: Objective, summary: dict[str, Any]) -> tuple[str, bool]:
        """Return why this number has no value, and whether a name of it was never logged."""
        if one.summary and self.history and self.history.values:
            return not_finite(one), False
        names = [one.name]
        if one.expression is not None:
            names = [name for name in self._expressions[one.name].names if self._logged[name].value is None]
            if not names:
                return _computed(self._expressions[one.name], self._logged)[1], False
        never = [name for name in names if not self._logged[name].steps and reach(summary, name) is None]
        words = [f"{' and '.join(never)} {'was' if len(never) == 1 else 'were'} never logged"] if never else []
        for name in names:
            if name not in never:
                value = reach(summary, name)
                text = "not a finite number" if value is None else repr(value)
                shown = text if value is None or len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
                words.append(f"{LAST_VALUE}{name} is {shown}")
        return ", ".join(words), bool(never)


def measure(config: SweepConfig, layout: Layout, attempt_id: AttemptId, first: int = 1) -> Measured:
    """Return the numbers of a trial now. Raises as :meth:`Measuring.read`."""
    return Measuring(config, layout, attempt_id, first).read()


def measure_ended(config: SweepConfig, layout: Layout, attempt_id: AttemptId, first: int = 1) -> Measured:
    """Return the numbers of a trial whose attempt has ended, and why some have none.

    Where files cannot be read that is the reason.
    """
    measured = Measured()
    try:
        measuring = Measuring(config, layout, attempt_id, first, is_over=True)
        measured = measuring.read()
        why = measuring.why()
        if measured.metric.source == "wandb":
            from slurmsweep.metrics import ranks

            runs = trial_runs(layout, attempt_id, attempt_id.attempt, is_over=True)
            warning = ranks.warning(runs.files())
            reasons = (*measured.reasons, warning) if warning else measured.reasons
            measured, why = measured._replace(reasons=reasons), why or warning
        return measured._replace(why=why)
    except OSError as error:
        why = f"the metrics cannot be read: {error}"
        return measured._replace(reasons=(*measured.reasons, why), why=why)


def _computed(expression: Expression, logged: Mapping[str, MetricReading]) -> tuple[MetricReading, str]:
    """Return an expression's value, and why it has none."""
    from slurmsweep.sweepfile.expression import NoValueError

    parts = {name: logged[name] for name in expression.names}
    values = {name: part.value for name, part in parts.items() if part.value is not None}
    reading = MetricReading(None, min(part.steps for part in parts.values()), next(iter(parts.values())).source)
    absent = [name for name, part in parts.items() if part.value is None and not part.steps]
    ended = [name for name, part in parts.items() if part.value is None and part.steps]
    said = [f"no finite number was logged as {' or '.join(absent)}"] if absent else []
    said += [f"{LAST_VALUE}{' and of '.join(ended)} is not a finite number"] if ended else []
    if said:
        return reading, "; ".join(said)
    try:
        return reading._replace(value=expression.value(values)), ""
    except NoValueError as error:
        return reading, str(error)


def _backtick_hint(text: str, expression: Expression, logged: Mapping[str, MetricReading]) -> str:
    """Return a hint where a name that was never logged stands beside a slash or a hyphen, which may be part of it."""
    for name in expression.names:
        if logged[name].value is None and not logged[name].steps:
            whole = re.search(rf"(?<![`\w.]){re.escape(name)}[/-]\w+|\w+[/-]{re.escape(name)}(?![`\w.])", text)
            if whole:
                return f" (is {whole[0]} one name? Then write `{whole[0]}`, in backticks)"
    return ""
