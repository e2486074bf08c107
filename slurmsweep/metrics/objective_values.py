"""What a sweep wants to know of an attempt: its metric, logged or computed, and the numbers of its Pareto view."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.metrics.reported import MetricReading, MetricsFollower

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slurmsweep.state.paths import Layout
    from slurmsweep.state.tail import AttemptId
    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.expression import Expression
    from slurmsweep.sweepfile.sections import Objective


class Measured(NamedTuple):
    """What is known of an attempt.

    Attributes:
        metric: of the sweep's metric. A computed one was logged as often as the part of it that was logged least.
        metrics: by name, those of the Pareto view that have a value; None where none has, or the sweep has no such
            view.
        reasons: why computed numbers have no value, a sentence each.
        why: of an attempt that has ended, why the metric or numbers of the view have no value; empty where all have.
    """

    metric: MetricReading = MetricReading()
    metrics: dict[str, float] | None = None
    reasons: tuple[str, ...] = ()
    why: str = ""


class Measuring:
    """Follows what a sweep wants to know of one attempt; may be asked often, as :class:`MetricsFollower`.

    A name in an expression is always what the script logged, also where it is the metric's own.
    """

    def __init__(self, config: SweepConfig, layout: Layout, attempt_id: AttemptId) -> None:
        self._layout, self._slot = layout, attempt_id
        self._metric = config.metric.objective if config.metric else None
        self._pareto = config.extensions.pareto
        self._objectives = {objective.name: objective for objective in (*self._pareto, self._metric) if objective}
        self._expressions = {
            name: _parsed(objective.expression)
            for name, objective in self._objectives.items()
            if objective.expression is not None
        }
        goals = {name: one.goal for name, one in self._objectives.items() if one.expression is None}
        for name, expression in self._expressions.items():
            goals = dict.fromkeys(expression.names, self._objectives[name].goal) | goals
        self._follower = MetricsFollower(layout, attempt_id, goals)
        self._logged: dict[str, MetricReading] = {}

    def read(self) -> Measured:
        """All of it so far. Raises OSError where a file that is there cannot be read."""
        if not self._objectives:
            return Measured()
        logged = self._logged = self._follower.read()
        reasons: list[str] = []
        found = {name: self._reading(one, logged, reasons) for name, one in self._objectives.items()}
        values = {one.name: value for one in self._pareto if (value := found[one.name].value) is not None}
        metric = found[self._metric.name] if self._metric else MetricReading()
        return Measured(metric, values or None, tuple(reasons))

    def why(self) -> str:
        """Why numbers had no value at the last :meth:`read`, as far as what the script left can tell; else empty.

        For attempts that have ended: it reads everything that was logged. Raises OSError as :meth:`read`.
        """
        logged = self._logged
        lacking = [one for one in self._objectives.values() if self._reading(one, logged, []).value is None]
        if not lacking:
            return ""
        from slurmsweep.metrics.unmeasured import Explained  # only where something is wrong

        explained = Explained(self._layout, self._slot, logged, self._follower.unseen)
        metric = self._metric.name if self._metric else None
        lacking.sort(key=lambda one: one.name != metric)
        return explained.text([(one, self._expressions.get(one.name), one.name == metric) for one in lacking])

    def _reading(self, one: Objective, logged: Mapping[str, MetricReading], reasons: list[str]) -> MetricReading:
        if one.expression is None:
            return logged[one.name]
        reading, reason = computed(self._expressions[one.name], logged)
        if reason:
            hint = _hint(one.expression, self._expressions[one.name], logged)
            reasons.append(f"{one.name} has no value: {reason}{hint}")
        return reading


def measure(config: SweepConfig, layout: Layout, attempt_id: AttemptId) -> Measured:
    """What is known of an attempt now. Raises as :meth:`Measuring.read`."""
    return Measuring(config, layout, attempt_id).read()


def measure_ended(config: SweepConfig, layout: Layout, attempt_id: AttemptId) -> Measured:
    """What is known of an attempt that has ended, and why it is not all. Never raises for files: that is a reason."""
    measured = Measured()
    try:
        measuring = Measuring(config, layout, attempt_id)
        measured = measuring.read()
        return measured._replace(why=measuring.why())
    except OSError as error:
        why = f"the metrics cannot be read: {error}"
        return measured._replace(reasons=(*measured.reasons, why), why=why)


def _parsed(text: str) -> Expression:
    from slurmsweep.sweepfile.expression import parse  # only where there is one: every module is a cost at each start

    return parse(text)


def computed(expression: Expression, logged: Mapping[str, MetricReading]) -> tuple[MetricReading, str]:
    """An expression's value, and why there is none."""
    from slurmsweep.sweepfile.expression import NoValueError

    parts = {name: logged[name] for name in expression.names}
    values = {name: part.value for name, part in parts.items() if part.value is not None}
    reading = MetricReading(None, min(part.steps for part in parts.values()), next(iter(parts.values())).source)
    if len(values) < len(parts):
        return reading, _missing(parts)
    try:
        return reading._replace(value=expression.value(values)), ""
    except NoValueError as error:
        return reading, str(error)


def _missing(parts: Mapping[str, MetricReading]) -> str:
    absent = [name for name, part in parts.items() if part.value is None and not part.steps]
    ended = [name for name, part in parts.items() if part.value is None and part.steps]
    said = [
        f"no finite number was logged as {' or '.join(absent)}" if absent else "",
        f"the last value of {' and of '.join(ended)} is not a finite number" if ended else "",
    ]
    return "; ".join(part for part in said if part)


def _hint(text: str, expression: Expression, logged: Mapping[str, MetricReading]) -> str:
    """For a name with a slash or a hyphen in it, which without backticks is a division or a difference."""
    for name in expression.names:
        if logged[name].value is None and not logged[name].steps:
            whole = re.search(rf"(?<![`\w.]){re.escape(name)}[/-]\w+|\w+[/-]{re.escape(name)}(?![`\w.])", text)
            if whole:
                return f" (is {whole[0]} one name? Then write `{whole[0]}`, in backticks)"
    return ""
