"""Gather a sweep's trials, or all that they logged, as flat rows: for ``export`` and ``dataframe()``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.control.failures.groups import with_errors
from slurmsweep.control.views.metrics_so_far import with_metric_so_far
from slurmsweep.metrics.history import history
from slurmsweep.metrics.reported import read_summary
from slurmsweep.search.flat import flat
from slurmsweep.sizing.usage import Ledger
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from slurmsweep.control.session import Session
    from slurmsweep.report.summary import SweepSummary, TrialRow

#: Names under which clients log the step, and the time, of a row.
_STEP, _TIME = "_step", "_timestamp"


def trial_rows(session: Session, summary: SweepSummary, trials: Iterable[TrialRow]) -> Iterator[dict[str, Any]]:
    """Yield one row a trial: what ``trials --json`` says of it, what it asked for, and the final values of all names.

    Parameters are ``params.NAME`` and final values ``metrics.NAME``, nested ones by dotted names. Times are seconds
    since the epoch. Costs one look at what each trial logged.

    Raises:
        OSError: what a trial logged is there and cannot be read.
    """
    asked, documents = session.scheduler.asked, session.submissions
    ledger = Ledger(summary.view, summary.ended, {}, asked, documents=documents, here=session.here)
    for trial in with_errors(with_metric_so_far(session.store, summary, trials)):
        usages = [usage for usage in ledger.of(trial.number) if usage.attempt == trial.attempt]
        minutes = usages[0].asked_minutes if usages else None
        logged: dict[str, Any] = {}
        if trial.attempt and not trial.origin:
            first = summary.view.first_attempt(trial.number)
            logged = read_summary(summary.layout, AttemptId(trial.number, trial.attempt), first)
        logged |= trial.metrics or {}
        known = summary.view.trials.get(trial.number)
        recorded = known.current.outcome if known and known.current else None
        outcome = recorded or summary.ended.get(AttemptId(trial.number, trial.attempt))
        yield {
            "number": trial.number,
            **({} if trial.point is None else {"point": trial.point}),
            "state": trial.state.value,
            "cause": trial.cause,
            "error": trial.error,
            "attempt": trial.attempt,
            "metric": trial.metric,
            **{f"metrics.{name}": value for name, value in flat(logged) if not name.startswith("_")},
            **{f"params.{name}": value for name, value in flat(trial.params)},
            "job": trial.job,
            "node": trial.node,
            "started": trial.started,
            "ended": outcome.ended if outcome else None,
            "seconds": trial.seconds,
            "cpu_seconds": trial.cpu_seconds,
            "max_rss_mb": trial.max_rss_mb,
            "asked_seconds": None if minutes is None else minutes * 60,
            "asked_mb": usages[0].asked_mib if usages else None,
            "exit_code": trial.exit_code,
            "origin": trial.origin,
            "log": trial.log,
        }


def point_row(point: TrialRow) -> dict[str, Any]:
    """Return one point that runs several times as a row: what ``trials --json`` says of it, flat."""
    told = {"point": point.point, "state": point.state_words, "cause": point.cause, "metric": point.metric}
    told |= {"spread": point.spread}
    if point.runs:
        told |= {"runs": len(point.runs.trials), "done": point.runs.done, "not_needed": point.runs.not_needed}
    told |= {f"metrics.{name}": value for name, value in (point.metrics or {}).items()}
    return told | {f"params.{name}": value for name, value in flat(point.params)} | {"seconds": point.seconds}


def history_rows(summary: SweepSummary, trials: Iterable[TrialRow]) -> Iterator[dict[str, Any]]:
    """Yield one row for each row that a trial logged: trial, attempt, step, time, and values by name.

    Raises:
        OSError: what a trial logged is there and cannot be read.
    """
    for trial in trials:
        if trial.attempt and not trial.origin:
            newest = AttemptId(trial.number, trial.attempt)
            for attempt, row in history(summary.layout, newest, summary.view.first_attempt(trial.number)):
                values = {name: value for name, value in flat(row) if not name.startswith("_")}
                steps = {"step": row.get(_STEP), "time": row.get(_TIME)}
                yield {"number": trial.number, "attempt": attempt, **steps, **values}
