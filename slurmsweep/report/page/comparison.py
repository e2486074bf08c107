"""Two sweeps or more beside each other: what differs between them, and which got further, sooner."""

from __future__ import annotations

import json
from html import escape
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.report.figures import duration, value_text
from slurmsweep.report.fitting import shortened
from slurmsweep.report.page.charts import steps_chart
from slurmsweep.report.page.content import MARK, better_than_before
from slurmsweep.report.page.markdown import escaped, grid
from slurmsweep.report.page.web import cell, table
from slurmsweep.report.summary import DONE_WORDS
from slurmsweep.report.tables import plain_table, titled_table
from slurmsweep.search.flat import flat

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: Characters of a value of the configuration in a table on a terminal, and shares of the trials at which best is shown.
_VALUE, _SHARES = 28, (0.1, 0.25, 0.5, 1.0)


class ComparedSweep(NamedTuple):
    """One of the sweeps.

    Attributes:
        sweep: its id.
        title: its name, or its id.
        metric, goal: by which its trials are compared; None without a metric.
        counts: trials by state.
        ended: when each trial that finished or was stopped early with a value ended, in seconds since the first trial
            started, and the value; by time. Of points that run several times: each with all of its runs, when its last
            run ended.
        best: value and trial, of a point its first; None without one.
        point: the best one, where points run several times.
        params: those of the best trial.
        seconds: that all trials ran, added up.
        config: flat: dotted names to values.
    """

    sweep: str
    title: str
    metric: str | None
    goal: str
    counts: Mapping[str, int]
    ended: Sequence[tuple[float, float]]
    best: tuple[float, int] | None
    params: Mapping[str, Any]
    seconds: float
    config: Mapping[str, Any]
    point: int | None = None

    def steps(self, *, by_time: bool) -> list[tuple[float, float]]:
        """Return the best value so far wherever it changed and at the end, over trials that ended or over hours."""
        points = [(when / 3600, value) for when, value in self.ended]
        if not by_time:
            points = [(float(place), value) for place, (_, value) in enumerate(self.ended, 1)]
        found = better_than_before(points, self.goal)
        return [*found, (points[-1][0], found[-1][1])] if found else []

    def best_after(self, share: float) -> float | None:
        """Return the best value of the first trials that ended, a share of them."""
        part = [value for _, value in self.ended[: max(1, round(share * len(self.ended)))]]
        return (max if self.goal == "maximize" else min)(part, default=None)


def titles(sweeps: Sequence[ComparedSweep]) -> list[str]:
    """Return the name of each sweep where all names differ, else its id; of copies of one sweep the number, too."""
    names, ids = [one.title for one in sweeps], [one.sweep for one in sweeps]
    if len(set(names)) == len(sweeps):
        return names
    if len(set(ids)) == len(sweeps):
        return ids
    return [f"{one} #{number}" for number, one in enumerate(ids, 1)]


def differences(sweeps: Sequence[ComparedSweep]) -> list[tuple[str, list[Any]]]:
    """Return the keys of the configurations that differ, each with the value in every sweep; None for none."""
    names = dict.fromkeys(name for one in sweeps for name in one.config)
    rows = [(name, [one.config.get(name) for one in sweeps]) for name in names]
    return [(name, values) for name, values in rows if any(_text(value) != _text(values[0]) for value in values)]


def comparison_document(sweeps: Sequence[ComparedSweep]) -> dict[str, Any]:
    """Return the document of ``compare --json``."""
    rows = []
    for one in sweeps:
        row = one._asdict() | {
            "counts": dict(one.counts),
            "best": one.best
            and {"value": one.best[0], "trial": one.best[1]} | ({} if one.point is None else {"point": one.point}),
        }
        del row["config"], row["ended"], row["point"]
        rows.append(row | {"best_so_far": [list(step) for step in one.steps(by_time=False)]})
    return {"sweeps": rows, "differences": dict(differences(sweeps))}


def comparison_text(sweeps: Sequence[ComparedSweep]) -> str:
    """Return the comparison as tables for a terminal."""

    def beside(title: str, rows: Iterable[tuple[str, Iterable[str]]]) -> str:
        """Return a table with a column for each sweep, which may be called as the title of the first column."""
        return titled_table([title, *titles(sweeps)], [[name, *cells] for name, cells in rows])

    lines = [plain_table([_row(one) for one in sweeps]), ""]
    if shares := _best_of_first(sweeps):
        lines += [beside("best of the first", ((name, map(_value, values)) for name, values in shares)), ""]
    if best := _best_parameters(sweeps):
        lines += [beside("parameters of the best", ((name, map(_value, values)) for name, values in best)), ""]
    if unlike := differences(sweeps):
        told = ((name, [shortened(_text(value), _VALUE) for value in values]) for name, values in unlike)
        lines.append(beside("configuration", told))
    else:
        lines.append("the configurations are the same")
    return "\n".join(lines) + _doubt(sweeps)


def comparison_markdown(sweeps: Sequence[ComparedSweep]) -> str:
    """Return the comparison as Markdown."""
    heads = [f"{one.title} ({one.sweep})" if one.title != one.sweep else one.sweep for one in sweeps]
    rows = [[_value(value) for value in _row(one).values()] for one in sweeps]
    lines = [f"<!-- {MARK} -->", "# " + escaped(" and ".join(heads)), *grid(list(_row(sweeps[0])), rows)]
    for title, first, known in (
        ("Best of the first trials", "share", _best_of_first(sweeps)),
        ("Parameters of the best trials", "parameter", _best_parameters(sweeps)),
    ):
        if known:
            cells = [[name, *map(_value, values)] for name, values in known]
            lines += [f"## {title}", *grid([first, *heads], cells)]
    if told := [[name, *map(_text, values)] for name, values in differences(sweeps)]:
        lines += ["## What differs in the configurations", *grid(["key", *heads], told)]
    else:
        lines.append("The configurations are the same.")
    return "\n".join([*lines, _doubt(sweeps), ""])


def comparison_page(sweeps: Sequence[ComparedSweep]) -> str:
    """Return the comparison as the body of an HTML page: it has no script."""
    colours = [f'<i class="k k{place % 8}"></i>' for place in range(len(sweeps))]
    rows = []
    for colour, one in zip(colours, sweeps, strict=True):
        values = list(_row(one).values())
        rows.append([f"{colour}{cell(one.title)} <span class=sub>{escape(one.sweep)}</span>", *map(cell, values[1:])])
    charts = []
    for by_time, label in (
        (False, "trials in the order in which they ended"),
        (True, "hours since the first trial started"),
    ):
        lines = [(one.title, one.steps(by_time=by_time)) for one in sweeps]
        charts.append(
            f"<section><h2>Best so far</h2>{steps_chart(lines, label, x_text=lambda x: f'{x:.4g}')}</section>"
        )
    heads = ["", *titles(sweeps)]
    best = table(heads, [[cell(name), *map(cell, values)] for name, values in _best_parameters(sweeps)])
    shares = table(heads, [[cell(name), *map(cell, values)] for name, values in _best_of_first(sweeps)])
    unlike = differences(sweeps)
    told = table(heads, [[cell(name), *(cell(_text(value)) for value in values)] for name, values in unlike])
    title = escape(" and ".join(one.title for one in sweeps))
    doubt = f'<div class="notes"><p>{escape(_doubt(sweeps).strip())}</p></div>' if _doubt(sweeps) else ""
    return (
        f'<header class="top"><div><h1>{title}</h1><div class="sub">{len(sweeps)} sweeps compared</div></div></header>'
        "<main>"
        f'{doubt}<section>{table(list(_row(sweeps[0])), rows)}</section><div class="two">{"".join(charts)}</div>'
        f"<section><h2>Best of the first trials</h2>{shares}</section>"
        f"<section><h2>Parameters of the best trials</h2>{best}</section>"
        "<section><h2>What differs in the configurations</h2>"
        f"{told if unlike else '<p>Nothing.</p>'}</section></main>"
    )


def _best_of_first(sweeps: Sequence[ComparedSweep]) -> list[tuple[str, list[float | None]]]:
    """Return for each share of the trials that ended first the best value in every sweep; empty where none ended."""
    if not any(one.ended for one in sweeps):
        return []
    return [(f"{share * 100:.0f} %", [one.best_after(share) for one in sweeps]) for share in _SHARES]


def _best_parameters(sweeps: Sequence[ComparedSweep]) -> list[tuple[str, list[Any]]]:
    """Return each parameter of the best trials, with its value in every sweep; None for none."""
    points = [dict(flat(one.params)) for one in sweeps]
    return [(name, [point.get(name) for point in points]) for name in dict.fromkeys(chain.from_iterable(points))]


def _row(one: ComparedSweep) -> dict[str, Any]:
    return {
        "sweep": one.sweep,
        "metric": one.metric or "",
        "best": "" if one.best is None else value_text(one.best[0]),
        "trial": "" if one.best is None else str(one.best[1]) if one.point is None else f"point {one.point}",
        "trials": str(sum(one.counts.values())),
        "done": str(sum(one.counts.get(word, 0) for word in DONE_WORDS)),
        "not finished": str(sum(one.counts.get(word, 0) for word in ("failed", "crashed", "killed", "preempted"))),
        "trial time": duration(one.seconds),
    }


def _doubt(sweeps: Sequence[ComparedSweep]) -> str:
    """Return a sentence where best values cannot be compared; empty where they can."""
    if len({(one.metric, one.goal) for one in sweeps}) == 1:
        return ""
    return "\nThe sweeps have different metrics or goals: their best values cannot be compared.\n"


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def _value(value: Any) -> str:
    return "" if value is None else value_text(value)
