"""The values of a sweep's metric in the order in which a trial logged them: what bands of early termination count."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Any

from slurmsweep.metrics.reported import FollowedFiles, number, reach

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from slurmsweep.metrics.reported import Rows
    from slurmsweep.state.paths import Layout
    from slurmsweep.state.records import BandValue
    from slurmsweep.state.tail import AttemptId
    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.expression import Expression
    from slurmsweep.sweepfile.sections import Metric
    from slurmsweep.sweepfile.summary import HistorySummary

#: Under this name the native client and wandb both write the step of a row. The native client of a resumed run, whose
#: steps go on, writes under the other one how many it has logged itself, as long as the script names no step.
_STEP, _OWN_STEP = "_step", "_attempt_step"


def values_at_bands(
    config: SweepConfig, layout: Layout, attempt_id: AttemptId, first: int = 1
) -> tuple[BandValue, ...]:
    """Return what a trial had at bands of early termination in the end, read from what its attempts logged.

    Nothing where ``config`` has no ``early_terminate``, or the files cannot be read. Args as :class:`LoggedValues`.
    """
    rule, metric = config.early_terminate, config.metric
    if rule is None or metric is None:
        return ()
    from slurmsweep.search import hyperband  # few sweeps have such a rule

    try:
        own = LoggedValues(metric, layout, attempt_id, first).read()
    except OSError:
        return ()
    return tuple((band, own[band - 1]) for band in sorted(set(hyperband.bands(rule))) if band <= len(own))


class LoggedValues:
    """Follower of all finite values of the metric that one trial logged, its earlier attempts included.

    They are those of the first source that has any: see :mod:`.reported`. An attempt that goes on from a checkpoint
    with the steps that follow (``log(..., step=epoch)``) goes on with the history; from its first step on its values
    replace those of the attempts before. So a script that starts over, and one that goes on without naming its steps,
    begin a new history.

    A computed metric has a value as soon as each of the metrics in it was logged, and a new one each time all of them
    were logged again: as many as the one that was logged least often.

    Costs of a :meth:`read` are those of :class:`.reported.MetricsFollower`; memory is 16 bytes a value.

    Attributes:
        metric: of the sweep.
        values: all values at the last :meth:`read`.

    Args:
        metric: of the sweep.
        layout, attempt_id, first, is_over: as of :class:`.reported.FollowedFiles`.
    """

    def __init__(
        self, metric: Metric, layout: Layout, attempt_id: AttemptId, first: int = 1, *, is_over: bool = False
    ) -> None:
        self.metric = metric
        self.values: Sequence[float] = array("d")
        self._telling: list[_Piece] = []
        self._expression: Expression | None = None
        if metric.expression is not None:
            from slurmsweep.sweepfile.expression import parse  # an agent loads it only where there is one

            self._expression = parse(metric.expression)
        names = self._expression.names if self._expression else (metric.name,)
        self._files = FollowedFiles(layout, attempt_id, first, self._piece, (*names, _STEP), is_over=is_over)

    def read(self) -> Sequence[float]:
        """Return all values so far. Raises OSError where a file that is there cannot be read."""
        sources = [self._files.native()]
        if not any(piece.values for piece in sources[0]):
            sources = [pieces for _, pieces in self._files.without_client()]
        telling: Iterable[_Piece] = next((one for one in sources if any(piece.values for piece in one)), ())
        self._telling = [piece for piece in telling if piece.values or piece.broken_at is not None]
        self.values = _joined(self._telling)
        return self.values

    def extremes(self) -> tuple[float, float] | None:
        """Return the smallest and the largest value of all attempts at the last :meth:`read`; None for none."""
        pieces = [piece for piece in self._telling if piece.values]
        return (min(piece.lowest for piece in pieces), max(piece.highest for piece in pieces)) if pieces else None

    def summed_up(self, summary: HistorySummary) -> float | None:
        """Return the value that a summary makes of the history at the last :meth:`read`; None where it has none.

        The best is that of all attempts, also of steps that a later one logged again, as for ``define_metric``. Of the
        last values each step counts once, and there is no value where one of them was no finite number.
        """
        extremes = self.extremes()
        if extremes is None:
            return None
        if summary.newest is None:
            return extremes[self.metric.goal == "maximize"]
        newest = self._telling[-1]
        if newest.broken_at is not None and len(newest.values) - newest.broken_at < summary.newest:
            return None
        return summary.of(self.values, self.metric.goal)

    def _piece(self, rows: Rows) -> _Piece:
        name = self.metric.name
        return _Piece(rows, _Computed(self._expression) if self._expression else lambda row: _float(reach(row, name)))


def _float(value: Any) -> float | None:
    """Return what was logged as a float, which may be NaN or infinite; None for what is no number."""
    finite = number(value)
    return value if finite is None and isinstance(value, float) else finite


class _Piece:
    """What one file of one run holds.

    Attributes:
        values: the finite ones.
        steps: of each of them.
        lowest, highest: of them; infinite where there are none.
        broken_at: how many of them came before the last value that was not finite; None where all were finite.
    """

    def __init__(self, rows: Rows, value_of: Callable[[dict[str, Any]], float | None]) -> None:
        self._rows, self._value_of = rows, value_of
        self.values, self.steps = array("d"), array("d")
        self.lowest, self.highest = math.inf, -math.inf
        self.broken_at: int | None = None

    def read_on(self) -> None:
        """Take in what was added to the file. Raises OSError."""
        for row in self._rows.new():
            value = self._value_of(row)
            if value is not None and not math.isfinite(value):
                self.broken_at = len(self.values)
            elif value is not None:
                self.lowest, self.highest = min(value, self.lowest), max(value, self.highest)
                step = number(row.get(_OWN_STEP, row.get(_STEP)))
                self.values.append(value)
                self.steps.append(float(len(self.steps)) if step is None else step)


class _Computed:
    """The value of a computed metric, each time all parts of it were logged since the last one."""

    def __init__(self, expression: Expression) -> None:
        self._expression = expression
        self._newest: dict[str, float] = {}

    def __call__(self, row: dict[str, Any]) -> float | None:
        from slurmsweep.sweepfile.expression import NoValueError

        logged = {name: value for name in self._expression.names if (value := _float(reach(row, name))) is not None}
        finite = {name: value for name, value in logged.items() if math.isfinite(value)}
        self._newest |= finite
        if len(self._newest) < len(self._expression.names):
            return math.nan if len(finite) < len(logged) else None
        parts, self._newest = self._newest, {}
        try:
            return self._expression.value(parts)
        except NoValueError:
            return math.nan


def _joined(pieces: Iterable[_Piece]) -> Sequence[float]:
    """Return the values of pieces one after the other; each replaces those before it from its own first step on."""
    telling = [piece for piece in pieces if piece.values]
    if len(telling) == 1:
        return telling[0].values
    values, steps = array("d"), array("d")
    for piece in telling:
        first = piece.steps[0]
        kept = next((index for index, step in enumerate(steps) if step >= first), len(steps))
        values, steps = values[:kept] + piece.values, steps[:kept] + piece.steps
    return values
