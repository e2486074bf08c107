"""Turn rows into tables for a terminal. The only importer of tabulate."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from slurmsweep.report.terminal import printable
from slurmsweep.state.lifecycle import in_words
from slurmsweep.state.outcome import STOPPED_EARLY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from slurmsweep.report.summary import SweepSummary, TrialRow, Unmeasured
    from slurmsweep.sweepfile.config import SweepConfig

#: Characters of a value or cause in a cell, and of a reason; --json has all of it.
_WIDEST_CELL = 40
_WIDEST_REASON = 72

#: Number of reasons for missing metrics that are named one by one.
_REASONS = 3


def trials_table(trials: Sequence[TrialRow], config: SweepConfig) -> str:
    """Return one line a trial, with its metrics; columns that are empty for all of them are left out."""
    return plain_table(
        [
            {
                "trial": trial.number,
                "state": "stopped early" if trial.cause == STOPPED_EARLY else str(trial.state),
                "cause": trial.cause or (f"from {trial.origin}" if trial.origin else ""),
                "attempt": trial.attempt or "",
                **{_short(name): _cell(value) for name, value in trial.params.items()},
                **{_short(name): "" if value is None else _cell(value) for name, value in _metrics(trial, config)},
                "no metric": _short(trial.no_metric or "", _WIDEST_REASON),
                "job": trial.job,
                "node": trial.node,
                "started": time.strftime("%m-%d %H:%M:%S", time.localtime(trial.started)) if trial.started else "",
                "seconds": trial.seconds,
            }
            for trial in trials
        ]
    )


def status_text(summary: SweepSummary, jobs: Mapping[str, int]) -> str:
    """Return state, counts, jobs and the best trial, as lines."""
    config = summary.manifest.config
    total = summary.manifest.trials
    counts = ", ".join(f"{n} {word}" for word, n in in_words(summary.counts(), summary.stopped_early()).items())
    lines = [
        f"sweep {summary.manifest.sweep_id}" + (f" ({printable(config.name)})" if config.name else ""),
        f"  state   {printable(summary.state_words())}",
        f"  method  {config.method}" + (f", {total} trials" if total is not None else ""),
        f"  trials  {counts or 'none'}",
    ]
    further = summary.may_go_on()
    if further:
        lines.append(f"  rungs   {further} may go on: `slurmsweep resubmit {summary.manifest.sweep_id}` starts them")
    if jobs:
        lines.append("  jobs    " + ", ".join(f"{n} {word}" for word, n in sorted(jobs.items())))
    best = summary.best()
    if best and config.metric:
        lines.append(
            f"  best    {printable(config.metric.name)} = {best.metric:g} in trial {best.number}: "
            + params_text(best.params)
        )
    lines += [f"  metric  {words}" for words in unmeasured_words(summary.unmeasured())]
    lines.append(f"  folder  {printable(summary.layout.folder)}")
    return "\n".join(lines)


def unmeasured_words(rows: Sequence[Unmeasured]) -> list[str]:
    """Return ``trials 0, 2 finished without a value: b was never logged`` for each of the most frequent reasons."""
    lines = []
    for row in rows[:_REASONS]:
        more = f" and {row.trials - len(row.first)} more" if row.trials > len(row.first) else ""
        named = f"trial{'s' if row.trials > 1 else ''} {', '.join(map(str, row.first))}{more}"
        lines.append(f"{named} finished without a value: {printable(row.why)}")
    rest = sum(row.trials for row in rows[_REASONS:])
    return [*lines, *([f"{rest} more did, for other reasons: `trials` shows each"] if rest else [])]


def numbers_text(numbers: Sequence[int], most: int) -> str:
    """Return ``3, 7, 8 and 12 more``: the first few of the numbers."""
    shown = ", ".join(map(str, numbers[:most]))
    return shown if len(numbers) <= most else f"{shown} and {len(numbers) - most} more"


def findings_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return one line a finding, and its advice below it."""
    lines = []
    for row in rows:
        lines.append(f"{row['fitness']:4}  {printable(row['subject'])}: {printable(row['why'])}")
        if row["advice"]:
            lines.append(f"      -> {printable(row['advice'])}")
    return "\n".join(lines)


def plain_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of the rows; columns that are empty in all of them are left out."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    telling = [name for name in names if any(row.get(name) not in (None, "") for row in rows)]
    return whole_table([{name: row.get(name, "") for name in telling} for row in rows])


def whole_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of the rows with all of their columns."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    values = [[row.get(name, "") for name in names] for row in rows]
    cells = [[printable(value) if isinstance(value, str) else value for value in row] for row in values]
    from tabulate import tabulate  # many commands print no table

    # parameters are text already: "010" must not be shown as 10
    return tabulate(cells, headers=[printable(name) for name in names], disable_numparse=True, missingval="")


def figure(value: float | None) -> str:
    """Return a number with three digits, without an exponent from 100 on; empty for None."""
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def params_text(params: Mapping[str, Any]) -> str:
    """Return ``lr=0.1, opt={'name': 'adam'}``, safe for a terminal."""
    return ", ".join(f"{printable(name)}={printable(str(value))}" for name, value in params.items())


def _metrics(trial: TrialRow, config: SweepConfig) -> Iterator[tuple[str, float | None]]:
    """Yield the sweep's metric, and those of its Pareto view, each once."""
    if config.metric:
        yield config.metric.name, trial.metric
    for objective in config.extensions.pareto:
        if config.metric is None or objective.name != config.metric.name:
            yield objective.name, (trial.metrics or {}).get(objective.name)


def _cell(value: Any) -> str:
    """Return a value in at most 40 characters, floats with six digits: --json has the exact value."""
    return f"{value:.6g}" if isinstance(value, float) else _short(str(value))


def _short(text: str, widest: int = _WIDEST_CELL) -> str:
    text = printable(text)
    return text if len(text) <= widest else text[: widest - 1] + "…"
