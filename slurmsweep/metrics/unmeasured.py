"""Why the numbers a sweep asks for have no value: asked of attempts that ended without one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from slurmsweep.metrics.objective_values import computed
from slurmsweep.metrics.reported import reach
from slurmsweep.metrics.summaries import read_summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slurmsweep.metrics.reported import MetricReading
    from slurmsweep.state.paths import Layout
    from slurmsweep.state.tail import AttemptId
    from slurmsweep.sweepfile.expression import Expression
    from slurmsweep.sweepfile.sections import Objective

#: Characters of it: it stands in a record of the journal, and in a line on a terminal.
_LONGEST = 200

#: Names told of those that were logged, and characters of a value.
_NAMED, _SHOWN = 4, 30


class Explained:
    """Why numbers have no value, from all that an attempt left. Raises OSError where that cannot be read."""

    def __init__(
        self, layout: Layout, attempt_id: AttemptId, logged: Mapping[str, MetricReading], unseen: Sequence[str] = ()
    ) -> None:
        self._logged = logged
        self._unseen = unseen
        self._summary = read_summary(layout, attempt_id)

    def text(self, lacking: Iterable[tuple[Objective, Expression | None, bool]]) -> str:
        """One line about these, each with its expression, and whether it is the sweep's metric."""
        source = next((reading.source for reading in self._logged.values() if reading.source), None)
        if not self._summary and all(not reading.steps for reading in self._logged.values()):
            return self._nothing(source)[:_LONGEST]
        said, absent = [], False
        for one, expression, is_metric in lacking:
            names = [one.name] if expression is None else [n for n in expression.names if self._logged[n].value is None]
            never = [name for name in names if self._is_absent(name)]
            words = [f"{' and '.join(never)} {'was' if len(never) == 1 else 'were'} never logged"] if never else []
            words += [self._about(name) for name in names if name not in never]
            if expression is not None and not names:
                words = [computed(expression, self._logged)[1]]
            absent = absent or bool(never)
            said.append(("" if is_metric or expression is None else f"{one.name}: ") + ", ".join(words))
        return ("; ".join(dict.fromkeys(said)) + (self._others() if absent else ""))[:_LONGEST]

    def _nothing(self, source: str | None) -> str:
        if source == "wandb":
            return "its wandb run is empty: it ended before wandb wrote"
        if self._unseen:
            said = self._unseen[0]
            remedy = "another machine's disk?" if os.path.isabs(said) else "give dir= an absolute path"
            return f"its wandb run is not seen from here: {remedy} (wandb said {said})"
        return "nothing logged with wandb or slurmsweep"

    def _is_absent(self, name: str) -> bool:
        return not self._logged[name].steps and reach(self._summary, name) is None

    def _about(self, name: str) -> str:
        value = reach(self._summary, name)
        if value is None:
            return f"the last value of {name} is not a finite number"
        return f"the last value of {name} is {_shown(value)}"

    def _others(self) -> str:
        """What was logged in the place of what was not: often the name is spelt otherwise."""
        names = sorted(name for name in self._summary if not name.startswith("_"))
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return f" (logged: {', '.join(names[:_NAMED])}{more})" if names else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
