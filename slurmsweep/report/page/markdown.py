"""A report as Markdown, for a pull request or a lab book: tables without pictures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from slurmsweep.report.base_point import base_document, base_text
from slurmsweep.report.efficiency import each_text
from slurmsweep.report.figures import counted, date_text, duration, numbers_text, value_text
from slurmsweep.report.page.content import MARK
from slurmsweep.report.terminal import printable, printable_text
from slurmsweep.search.flat import flat

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slurmsweep.report.page.content import ReportContent

#: Characters that Markdown, or HTML in it, acts upon inside a line.
_ACTIVE = re.compile(r"([\\`*_{}\[\]<>#|~$&])")

#: Parameters in a table, groups of failures and trials of each that are named.
_COLUMNS, _GROUPS, _NAMED = 12, 10, 8


def markdown(content: ReportContent) -> str:
    """Return the report: results, importance, failures, what was asked and used, and how to repeat it."""
    repeat = ["", "## How to repeat it"]
    for label, command in content.repeat:
        repeat += ["", f"{escaped(label[:1].upper() + label[1:])}:", *fenced(command, "bash")]
    repeat += ["Configuration:", *fenced(content.config, "yaml")]
    return "\n".join([f"<!-- {MARK} -->", *_head(content), *_best(content), *_importances(content), *_failures(content),
                      *_efficiency(content), *repeat, ""])  # fmt: skip


def grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table; its cells are text."""
    lines = [heads, ["---"] * len(heads), *rows]
    cells = [[one if row is lines[1] else escaped(one) for one in row] for row in lines]
    return ["", *(f"| {' | '.join(row)} |" for row in cells), ""]


def escaped(text: str) -> str:
    """Return one line of text as Markdown shows it literally."""
    return _ACTIVE.sub(r"\\\1", printable(text))


def fenced(text: str, kind: str = "") -> list[str]:
    """Return lines of a block that holds a text literally, whatever fences are in it."""
    longest = max((len(found) for found in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return ["", f"{fence}{kind}", printable_text(text.rstrip("\n")), fence, ""]


def _head(content: ReportContent) -> Iterator[str]:
    summary = content.summary
    counts = summary.words()
    yield f"# {escaped(content.title)}"
    yield ""
    if summary.manifest.config.description:
        yield escaped(summary.manifest.config.description)
        yield ""
    day = date_text(content.made)
    words = ", ".join(f"{n} {word}" for word, n in counts.items() if n)
    yield (
        f"Sweep `{summary.manifest.sweep_id}`, {summary.manifest.config.method} search, "
        f"{escaped(summary.state_words())} as of {day}: {words or 'nothing was started'}."
    )
    if base := base_document(summary.manifest.config):
        yield f"Base: {escaped(base_text(base))}."
    for one in content.left_out:
        yield ""
        yield escaped(one)


def _best(content: ReportContent) -> list[str]:
    if not content.best:
        return []
    first, names = content.objectives[0], content.by_importance()[:_COLUMNS]
    rows = []
    for trial in content.best:
        params = dict(flat(trial.row.params))
        values = ["" if params.get(name) is None else value_text(params[name]) for name in names]
        row, value = trial.row, trial.text_of(first.name)
        rows.append([str(row.shown_number), value, *values, duration(row.seconds), row.state_words])
    better = "lower" if first.goal == "minimize" else "higher"
    summed = f" ({first.summary.words} of a trial)" if first.summary else ""
    lines = ["", f"## Best trials by {escaped(first.name)}{summed}, {better} is better"]
    return [*lines, *grid([content.best[0].row.kind, first.name, *names, "took", "state"], rows)]


def _importances(content: ReportContent) -> Iterator[str]:
    for document in content.importances:
        if not document["parameters"]:
            continue
        yield f"## What mattered for {escaped(document['metric'])}"
        whole = document["trials"]
        rows = [
            [
                one["parameter"] + (f" (in {one['trials']} of {whole})" if one["trials"] < whole else ""),
                f"{one['importance']:.2f}",
                f"{one['low']:.2f} to {one['high']:.2f}",
                one["better"] or "",
                one["best"],
            ]
            for one in document["parameters"]
        ]
        yield from grid(["parameter", "importance", "range", "better", "best"], rows)
        if document["unclear"]:
            yield escaped(document["unclear"][:1].upper() + document["unclear"][1:]) + "."
        of = f"{counted(document['trials'], 'trial')}; range over {document['resamples']} resamples"
        yield f"Importance: {escaped(document['method'])}, {of}."
        yield ""


def _failures(content: ReportContent) -> list[str]:
    if not content.failures:
        return []
    rows = []
    for group in (one.group for one in content.failures[:_GROUPS]):
        named = numbers_text(group.trials, _NAMED)
        rows.append([str(len(group.trials)), group.state, group.cause, group.error[:200], named])
    return ["## Trials that did not finish", *grid(["trials", "state", "cause", "last words", "which"], rows)]


def _efficiency(content: ReportContent) -> list[str]:
    document, rows = content.efficiency, []
    for name in ("time", "cpu", "memory"):
        one = document[name]
        if one["each_used"] is not None:
            rows.append([name, *(each_text(name, one[key]) for key in ("each_asked", "each_used", "most_used"))])
    lines = ["## Asked beside used", *grid(["", "asked", "half used at most", "most"], rows)] if rows else []
    return [*lines, *(f"- `{one['option']}`: {escaped(one['why'])}" for one in document["advice"])]
