"""The table of trials: what differs between them, as much of it as a terminal has room for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from slurmsweep.report.choice import OF_POINTS, Field, constants, fields, metrics, named, parameters
from slurmsweep.report.figures import duration
from slurmsweep.report.fitting import READABLE, Column, fit, last_part, shortened
from slurmsweep.report.tables import grid
from slurmsweep.report.terminal import printable, wrapped
from slurmsweep.state.outcome import NOT_NEEDED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurmsweep.report.summary import TrialRow
    from slurmsweep.sweepfile.config import SweepConfig

#: Characters of a value, of a title and of a reason, at most: a longer value is in ``show`` and ``--json``.
_WIDEST, _WIDEST_TITLE, _WIDEST_REASON = 40, 20, 80

#: Characters that a reason keeps where parameters need the room, and where they need more: ``status`` has it in whole.
_LEAST_REASON = (20, 12)

#: The order in which columns go where there is no room: first those of the highest rank.
_STARTED, _JOB, _NODE, _TOOK, _PARAMETER, _WHY, _ATTEMPT = 7, 6, 5, 4, 3, 2, 1

#: Lines that name the columns left out, at most.
_LINES = 3


def trials_table(
    trials: Sequence[TrialRow], config: SweepConfig, width: int | None, columns: Sequence[str] = ()
) -> str:
    """Return one line a trial: number, metric, state, and what differs between the trials.

    What is the same for all of them is said once below; so are the names of columns for which there is no room.

    Args:
        trials: in the order in which they are shown.
        config: of their sweep.
        width: characters of a line; None for as many as it takes.
        columns: names of those that are wanted, in this order; by default the table chooses.

    Raises:
        UsageError: a column's name is unknown.
    """
    known = fields(config)
    if columns:
        wanted = [_column(trials, named(known, name), 0) for name in columns]
        return grid(wanted)
    differing, same = _of_points(trials, config)
    places, alike = _split(trials, _of_jobs(trials))
    every = [*_first(trials, config), *differing, *places]
    shown, gone = fit(every, width) if width else (every, [])
    for least in _LEAST_REASON if width else ():
        if any(column.title in gone for column in differing):
            every = [column._replace(least=least) if column.rank == _WHY else column for column in every]
            shown, gone = fit(every, width or 0)
    lines = [grid(shown)]
    line = width or max(map(len, lines[0].split("\n")))
    if same or alike:
        told = [f"{column.title}={column.cells[0]}" for column in [*same, *alike]]
        lines += _wrapped(f"the same for all: {', '.join(told)}", line)
    if gone:
        lines += _wrapped(f"no room for: {', '.join(gone)} (--wide, --columns)", line)
    return "\n".join(lines)


def _first(trials: Sequence[TrialRow], config: SweepConfig) -> list[Column]:
    """Return the columns that every table has, and those that say what went wrong."""
    found = [_column(trials, Field("trial", lambda trial: trial.number), 0)]
    if any(trial.runs for trial in trials):
        found = [_column(trials, OF_POINTS["point"], 0)]
    elif config.extensions.repeats:
        found.append(_column(trials, OF_POINTS["point"], 0))
    found += [_column(trials, field, 0) for field in metrics(config).values()]
    found += _telling([_column(trials, OF_POINTS[name], 0) for name in ("spread", "runs")])
    found.append(_column(trials, Field("state", lambda trial: trial.state_words), 0))
    causes = Field("cause", _cause)
    found += _telling([_column(trials, causes, _WHY, _WIDEST_REASON)])
    if any(trial.attempt > 1 for trial in trials):
        found.append(_column(trials, Field("attempt", lambda trial: trial.attempt or ""), _ATTEMPT))
    why = Field("no metric", lambda trial: None if trial.error else trial.no_metric)  # the error says it already
    return found + _telling([_column(trials, why, _WHY, _WIDEST_REASON)])


def _of_points(trials: Sequence[TrialRow], config: SweepConfig) -> tuple[list[Column], list[Column]]:
    """Return the parameters that differ between trials, and those that do not: of one trial, between all there are."""
    columns = {name: _column(trials, field, _PARAMETER) for name, field in parameters(config).items()}
    same = constants(config)
    if len(trials) != 1 or same.issuperset(columns):
        return _split(trials, list(columns.values()))
    return (
        _telling([column for name, column in columns.items() if name not in same]),
        _telling([column for name, column in columns.items() if name in same]),
    )


def _of_jobs(trials: Sequence[TrialRow]) -> list[Column]:
    """Return where and when the trials ran."""
    moment = Field("started", lambda trial: trial.started, lambda at: time.strftime("%m-%d %H:%M", time.localtime(at)))
    return [
        _column(trials, Field("took", lambda trial: trial.seconds, duration), _TOOK),
        _column(trials, Field("node", lambda trial: trial.node), _NODE),
        _column(trials, Field("job", lambda trial: trial.job), _JOB),
        _column(trials, moment, _STARTED),
    ]


def _column(trials: Sequence[TrialRow], field: Field, rank: int, widest: int = _WIDEST) -> Column:
    values = map(field.of, trials)
    cells = ("" if value is None else shortened(printable(field.text(value)), widest) for value in values)
    least = _WIDEST if widest > _WIDEST else READABLE
    return Column(last_part(printable(field.title), _WIDEST_TITLE), tuple(cells), rank, least)


def _telling(columns: Sequence[Column]) -> list[Column]:
    """Return the columns that say something of a trial."""
    return [column for column in columns if any(column.cells)]


def _split(trials: Sequence[TrialRow], columns: Sequence[Column]) -> tuple[list[Column], list[Column]]:
    """Return the columns that differ between trials, and those that say the same of several."""
    telling = _telling(columns)
    if len(trials) < 2:
        return telling, []
    differ = [column for column in telling if len(set(column.cells)) > 1]
    return differ, [column for column in telling if len(set(column.cells)) == 1]


def _cause(trial: TrialRow) -> str:
    if trial.error:
        return f"{trial.cause}: {trial.error}"
    if trial.cause == NOT_NEEDED:  # the state says it
        return ""
    return trial.cause or (f"from {trial.origin}" if trial.origin else "")


def _wrapped(text: str, width: int) -> list[str]:
    return wrapped(text, max(20, width), hanging="  ", most=_LINES)
