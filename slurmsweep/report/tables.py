"""Rows to tables for a terminal. The only importer of tabulate."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from slurmsweep.report.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from slurmsweep.report.summary import SweepSummary, TrialRow, Unmeasured
    from slurmsweep.state.lifecycle import TrialState
    from slurmsweep.sweepfile.config import SweepConfig

#: Characters of a value or cause in a cell, and of a reason; the whole of it is in --json.
_WIDEST_CELL = 40
_WIDEST_REASON = 72

#: Reasons for missing metrics that are told where all are counted together.
_REASONS = 3


def trials_table(views: Sequence[TrialRow], config: SweepConfig) -> str:
    """One line a trial, with its metrics; columns that say nothing about any of them are left out."""
    rows = [_row(summary, config) for summary in views]
    return _table([{key: row[key] for key in _telling(rows)} for row in rows])


def status_text(summary: SweepSummary, jobs: Mapping[str, int]) -> str:
    """State, counts, jobs and the best trial, as lines."""
    config = summary.manifest.config
    total = summary.manifest.trials
    lines = [
        f"sweep {summary.manifest.sweep_id}" + (f" ({printable(config.name)})" if config.name else ""),
        f"  state   {summary.state()}",
        f"  method  {config.method}" + (f", {total} trials" if total is not None else ""),
        f"  trials  {_count_words(summary.counts())}",
    ]
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
    """``trials 0, 2 finished without a value: b was never logged``, for the few most frequent reasons."""
    shown = [f"{_named(row)} finished without a value: {printable(row.why)}" for row in rows[:_REASONS]]
    rest = sum(row.trials for row in rows[_REASONS:])
    return [*shown, *([f"{rest} more did, for other reasons: `trials` shows each"] if rest else [])]


def _named(row: Unmeasured) -> str:
    rest = row.trials - len(row.first)
    words = f"trial{'s' if row.trials > 1 else ''} {', '.join(map(str, row.first))}"
    return words + (f" and {rest} more" if rest else "")


def findings_table(rows: Sequence[Mapping[str, str]]) -> str:
    """One line a finding, and its advice below it."""
    lines = []
    for row in rows:
        lines.append(f"{row['fitness']:4}  {printable(row['subject'])}: {printable(row['why'])}")
        if row["advice"]:
            lines.append(f"      -> {printable(row['advice'])}")
    return "\n".join(lines)


def sweeps_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line a sweep."""
    return _table(rows)


def plain_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as they are; columns that say nothing about any of them are left out."""
    return _table([{key: row[key] for key in _telling(rows)} for row in rows])


def figure(value: float | None) -> str:
    """Three digits, without an exponent for what people measure; empty for None."""
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def params_text(params: Mapping[str, Any]) -> str:
    """``lr=0.1, opt={'name': 'adam'}``, safe for a terminal."""
    return ", ".join(f"{printable(name)}={printable(str(value))}" for name, value in params.items())


def _count_words(counts: Mapping[TrialState, int]) -> str:
    words = [f"{n} {state}" for state, n in counts.items() if n]
    return ", ".join(words) or "none"


def _row(summary: TrialRow, config: SweepConfig) -> dict[str, Any]:
    return {
        "trial": summary.number,
        "state": str(summary.state),
        "cause": summary.cause or (f"from {summary.origin}" if summary.origin else ""),
        "attempt": summary.attempt or "",
        **{_short(name): _cell(value) for name, value in summary.params.items()},
        **{_short(name): "" if value is None else _cell(value) for name, value in _metrics(summary, config)},
        "no metric": _short(summary.no_metric or "", _WIDEST_REASON),
        "job": summary.job,
        "node": summary.node,
        "started": time.strftime("%m-%d %H:%M:%S", time.localtime(summary.started)) if summary.started else "",
        "seconds": summary.seconds,
    }


def _metrics(summary: TrialRow, config: SweepConfig) -> Iterator[tuple[str, float | None]]:
    """The sweep's metric, and those of its Pareto view, each once."""
    if config.metric:
        yield config.metric.name, summary.metric
    for objective in config.extensions.pareto:
        if config.metric is None or objective.name != config.metric.name:
            yield objective.name, (summary.metrics or {}).get(objective.name)


def _cell(value: Any) -> str:
    """A value in at most 40 characters, floats with six digits: the exact value is in --json."""
    return f"{value:.6g}" if isinstance(value, float) else _short(str(value))


def _short(text: str, widest: int = _WIDEST_CELL) -> str:
    text = printable(text)
    return text if len(text) <= widest else text[: widest - 1] + "…"


def _telling(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Columns with a value in at least one row, in the order of the first row."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [name for name in names if any(row.get(name) not in (None, "") for row in rows)]


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_safe(row.get(name, "")) for name in names] for row in rows]
    # numbers are text already where they are parameters: "010" must not be shown as 10
    from tabulate import tabulate  # many commands print none

    return tabulate(cells, headers=[printable(name) for name in names], disable_numparse=True, missingval="")


def _safe(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value
