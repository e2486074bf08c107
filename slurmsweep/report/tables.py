"""Turn rows into tables for a terminal. The only importer of tabulate."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from slurmsweep.metrics.ranks import IN_DOUBT
from slurmsweep.report.choice import constants
from slurmsweep.report.failures import failure_words
from slurmsweep.report.figures import counted, value_text
from slurmsweep.report.fitting import READABLE, Column, fit
from slurmsweep.report.next_step import next_step, starter
from slurmsweep.report.terminal import labelled, labelled_path, paragraph, printable, width, wrapped
from slurmsweep.report.waiting import waiting_words
from slurmsweep.search.flat import flat

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from slurmsweep.report.failures import FailureGroup
    from slurmsweep.report.summary import SweepSummary, Unmeasured
    from slurmsweep.state.manifest import Manifest

#: Number of reasons for missing metrics that are named one by one.
_REASONS = 3

#: Characters of the words on the left; lines with such a word.
_LEFT = 8
_line = partial(labelled, left=_LEFT)


def status_text(summary: SweepSummary, failures: Sequence[FailureGroup], name: str) -> str:
    """Return state, counts, jobs, the best trial, and what to do next, as lines; ``name`` names it in commands."""
    config = summary.manifest.config
    total = summary.manifest.trials
    counts = ", ".join(f"{n} {word}" for word, n in summary.words().items())
    lines = paragraph(f"sweep {summary.manifest.sweep_id}" + (f" ({printable(config.name)})" if config.name else ""))
    lines += _line("state", summary.state_words())
    lines += _line("method", config.method + (f", {expected_words(summary.manifest)}" if total is not None else ""))
    lines += _line("trials", counts or "none")
    points = summary.points_document().get("points")
    if points:
        lines += _line("points", ", ".join(f"{n} {word}" for word, n in points["counts"].items()) or "none")
    further = summary.may_go_on()
    if further:
        sweep = summary.manifest.sweep_id
        starts = f"`slurmsweep resubmit {sweep}`" if summary.manifest.can_run else starter(summary.manifest, name)
        lines += _line("rungs", f"{further} may go on: {starts} starts them")
    if summary.jobs:
        lines += _line("jobs", ", ".join(f"{n} {word}" for word, n in sorted(summary.jobs.items())))
    for words in waiting_words(summary.waiting, name):
        lines += _line("waits", words)
    best = summary.best()
    if best and config.metric:
        summed = f" ({config.metric.summary.words})" if config.metric.summary else ""
        found = f"{config.metric.name}{summed} = {best.metric_text} in {best.name}"
        lines += _line("best", f"{found}: {params_text(best.params, constants(config))}")
    for words in failure_words(failures, name):
        lines += _line("why", words)
    for words in unmeasured_words(summary.unmeasured()):
        lines += _line("metric", words)
    lines.append(labelled_path("folder", summary.layout.folder, _LEFT))
    follows = next_step(summary, name)
    return "\n".join([*lines, *(_line("next", follows) if follows else [])])


def expected_words(manifest: Manifest) -> str:
    """Return ``60 trials``, or ``12 points of 5 runs: 60 trials``, of a search with an end."""
    trials, numbers = counted(manifest.trials or 0, "trial"), manifest.numbering
    if numbers is None:
        return trials
    return f"{counted((manifest.trials or 0) // numbers.runs, 'point')} of {numbers.runs} runs: {trials}"


def unmeasured_words(rows: Sequence[Unmeasured]) -> list[str]:
    """Return ``trials 0, 2 finished without a value: b was never logged`` for each of the most frequent reasons."""
    lines = []
    for row in rows[:_REASONS]:
        more = f" and {row.trials - len(row.first)} more" if row.trials > len(row.first) else ""
        named = f"trial{'s' if row.trials > 1 else ''} {', '.join(map(str, row.first))}{more}"
        value = "with a value " if row.why.startswith(IN_DOUBT) else "without a value: "
        lines.append(f"{named} finished {value}{printable(row.why)}")
    rest = sum(row.trials for row in rows[_REASONS:])
    return [*lines, *([f"{rest} more did, for other reasons: `trials` shows each"] if rest else [])]


def findings_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return one line a finding, and its advice below it."""
    lines = []
    for row in rows:
        found = f"{printable(row['subject'])}: {printable(row['why'])}"
        lines += wrapped(found, width(), f"{row['fitness']:4}  ", " " * 6)
        if row["advice"]:
            lines += wrapped(printable(row["advice"]), width(), "      -> ", " " * 9)
    return "\n".join(lines)


def plain_table(rows: Sequence[Mapping[str, Any]], least: Mapping[str, int] | None = None) -> str:
    """Return a table of the rows, as wide as the terminal at most; columns that are empty in all of them are left out.

    Long texts are cut; columns for which there is no room are named below.

    Args:
        rows: the cells of each row, by the title of their column.
        least: characters that cells of a column keep, at least, where that is not :data:`READABLE`.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    return titled_table(names, [[row.get(name) for name in names] for row in rows], least)


def titled_table(titles: Sequence[str], rows: Sequence[Sequence[Any]], least: Mapping[str, int] | None = None) -> str:
    """Return a table as :func:`plain_table` does, of rows with a cell for each title; titles may be equal."""
    columns = []
    for place, title in enumerate(titles):
        cells = tuple("" if row[place] is None else printable(str(row[place])) for row in rows)
        columns.append(Column(printable(title), cells, place, (least or {}).get(title, READABLE)))
    shown, gone = fit([column for column in columns if any(column.cells)], width())
    return "\n".join([grid(shown), *([f"no room for: {', '.join(gone)}"] if gone else [])])


def grid(columns: Sequence[Column]) -> str:
    """Return the columns beside each other, with their titles."""
    import tabulate  # many commands print no table

    tabulate.MIN_PADDING = 0  # else two more blanks beside each title
    cells = list(zip(*(column.cells for column in columns), strict=True))
    # parameters are text already: "010" must not be shown as 10
    return tabulate.tabulate(cells, headers=[column.title for column in columns], disable_numparse=True, missingval="")


def params_text(params: Mapping[str, Any], same: Container[str] = ()) -> str:
    """Return ``lr=0.1, opt.name=adam``, safe for a terminal.

    What all trials have the ``same`` is left out, unless nothing else is there.
    """
    found = dict(flat(params))
    shown = {name: value for name, value in found.items() if name not in same} or found
    return ", ".join(f"{printable(name)}={printable(value_text(value))}" for name, value in shown.items())
