"""Pictures of a report for papers and slides, by matplotlib: an extra, loaded where a picture is asked for.

``Figure`` draws without ``pyplot``, which keeps global state and looks for a display. The files are the same each time
that they are made of the same data: no date, no random ids.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

from slurmsweep.errors import UsageError
from slurmsweep.report.figures import counted
from slurmsweep.report.page.comparison import titles
from slurmsweep.report.page.content import MARK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.figure import Figure

    from slurmsweep.report.page.comparison import ComparedSweep
    from slurmsweep.report.page.content import ParameterColumn, ReportContent

#: Marks from which a part of an SVG is a picture of points: 10,000 circles in each of eight axes are 6 MB.
_RASTER = 2000

#: Lines of parallel coordinates, parameters of one picture, trials of a timeline.
_LINES, _PARAMETERS, _BARS = 3000, 11, 10_000

#: In which colour maps put the best and the worst, and how a state is drawn.
_COLOURS = "viridis_r"
_STATES = {"finished": "#2f9e63", "stopped early": "#1f9aa8", "not needed": "#1f9aa8", "running": "#3b82d6",
           "failed": "#d6403f", "crashed": "#e0782a", "killed": "#8d6e97", "preempted": "#b08a2e"}  # fmt: skip
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": MARK,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e8ee",
    "axes.axisbelow": True,
}


def draw(content: ReportContent, plot: str, kind: str) -> bytes:
    """Return a picture as ``svg`` or ``png``.

    Raises:
        UsageError: matplotlib is not installed, or there is nothing to draw.
    """
    return _picture(kind, lambda figure: _DRAWN[plot](figure, content))


def draw_comparison(sweeps: Sequence[ComparedSweep], kind: str) -> bytes:
    """Return the best value so far of sweeps, over trials and over hours. Raises as :func:`draw`."""
    if not any(one.ended for one in sweeps):
        raise UsageError("no trial of these sweeps has ended with a value of a metric: there is nothing to draw")
    return _picture(kind, lambda figure: _best_so_far(figure, sweeps))


def refuse_without_matplotlib(kind: str) -> None:
    """Raise UsageError where matplotlib is not installed; pages need it not."""
    try:
        import matplotlib as mpl  # noqa: F401
    except ImportError as error:
        raise UsageError(f"{kind} needs matplotlib: `pip install 'slurmsweep[plots]'`, or use --format html") from error


def _picture(kind: str, draw_on: Callable[[Figure], None]) -> bytes:
    refuse_without_matplotlib(kind)
    import matplotlib as mpl
    from matplotlib.figure import Figure

    sink = io.BytesIO()
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        draw_on(figure)
        metadata = {"Creator": MARK, "Date": None} if kind == "svg" else {"Software": MARK}
        figure.savefig(sink, format=kind, dpi=200, metadata=metadata)
    return sink.getvalue()


def _history(figure: Figure, content: ReportContent) -> None:
    name, _ = _first(content)
    axes = figure.subplots()
    values = [value for _, value in content.ends(name)]
    axes.scatter(range(1, len(values) + 1), values, s=9, c="#82a9cd", linewidths=0, rasterized=len(values) > _RASTER)
    best = content.best_so_far(content.objectives[0])
    if best:
        best.append((len(values), best[-1][1]))
        axes.step([x for x, _ in best], [y for _, y in best], where="post", color="#d9480f", label="best so far")
        axes.legend(frameon=False)
    axes.set(xlabel="trials in the order in which they ended", ylabel=name)
    _scale(axes.set_yscale, values)


def _slices(figure: Figure, content: ReportContent) -> None:
    name, goal = _first(content)
    columns = _shown(content)
    trials = [place for place, trial in enumerate(content.trials) if name in trial.values]
    values = [content.trials[place].values[name] for place in trials]
    colours = _ranks(values, goal)
    across = min(4, max(1, len(columns)))
    down = math.ceil(len(columns) / across)
    figure.set_size_inches(2.6 * across, 2.3 * down)
    cells = figure.subplots(down, across, squeeze=False, sharey=True)
    for place, axes in enumerate(cells.flat):
        if place >= len(columns):
            axes.remove()
            continue
        column = columns[place]
        at = [_position(column, trial) for trial in trials]
        axes.scatter(at, values, s=7, c=colours, cmap=_COLOURS, linewidths=0, rasterized=len(at) > _RASTER)
        axes.set_title(column.name, fontsize=9)
        if column.levels:
            axes.set_xticks(range(len(column.levels)), column.levels, rotation=30 if len(column.levels) > 4 else 0)
        elif column.is_log:
            axes.set_xscale("symlog" if min(column.values) == 0 else "log")
        if place % across == 0:
            axes.set_ylabel(name)
    _scale(cells[0, 0].set_yscale, values)


def _parallel(figure: Figure, content: ReportContent) -> None:
    name, goal = _first(content)
    columns = _shown(content)
    axes = figure.subplots()
    axes.grid(visible=False)
    trials = [place for place, trial in enumerate(content.trials) if name in trial.values]
    values = {place: content.trials[place].values[name] for place in trials}
    ranks = dict(zip(trials, _ranks(list(values.values()), goal), strict=True))
    trials.sort(key=lambda place: -ranks[place])
    trials = trials[:: len(trials) // _LINES + 1] if len(trials) > _LINES else trials
    from matplotlib import colormaps
    from matplotlib.collections import LineCollection

    places = [_places(column) for column in columns]
    low, high = min(values.values()), max(values.values())
    flip = goal == "minimize"
    lines = []
    for place in trials:
        share = (values[place] - low) / (high - low) if high > low else 0.5
        ys = [at[place] for at in places] + [1 - share if flip else share]
        lines.append(list(enumerate(ys)))
    colours = colormaps[_COLOURS]([ranks[place] for place in trials])
    alpha = max(0.1, min(0.8, 14 / math.sqrt(len(lines) or 1)))
    axes.add_collection(LineCollection(lines, colors=colours, alpha=alpha, linewidths=0.8, rasterized=len(lines) > 500))
    for x, column in enumerate(columns):
        axes.axvline(x, color="#1b2430", linewidth=0.8)
        for y, text in _marks(column):
            axes.text(
                x - 0.04,
                y,
                text,
                ha="right",
                va="center",
                fontsize=7,
                bbox={"fc": "w", "ec": "none", "pad": 0.6, "alpha": 0.7},
            )
    axes.axvline(len(columns), color="#1b2430", linewidth=0.8)
    for y, value in ((0, high if flip else low), (1, low if flip else high)):
        axes.text(len(columns) + 0.04, y, f"{value:.4g}", ha="left", va="center", fontsize=7)
    axes.set_xticks(range(len(columns) + 1), [*(column.name for column in columns), name], rotation=20)
    axes.set(yticks=[], xlim=(-0.5, len(columns) + 0.5), ylim=(-0.05, 1.05))
    axes.spines[:].set_visible(False)


def _importance(figure: Figure, content: ReportContent) -> None:
    if not content.importances or not content.importances[0]["parameters"]:
        raise UsageError("no importance to draw: no trial has ended with a value of a metric of the sweep file")
    document = content.importances[0]
    rows = document["parameters"][:24][::-1]
    axes = figure.subplots()
    values = [row["importance"] for row in rows]
    reach = [
        [max(0.0, row["importance"] - row["low"]) for row in rows],
        [max(0.0, row["high"] - row["importance"]) for row in rows],
    ]
    axes.barh([row["parameter"] for row in rows], values, xerr=reach, color="#437db3", ecolor="#1b2430", capsize=2)
    axes.set(
        xlabel=f"importance for {document['metric']} ({document['method']}, {counted(document['trials'], 'trial')})",
        xlim=(0, None),
    )


def _timeline(figure: Figure, content: ReportContent) -> None:
    trials = sorted((t for t in content.trials if t.row.started is not None), key=lambda t: t.row.started or 0)[:_BARS]
    if not trials:
        raise UsageError("no trial has started: there is no timeline")
    axes = figure.subplots()
    begun = trials[0].row.started or 0.0
    lanes: dict[str, list[float]] = {}
    bars: list[tuple[str, int, float, float, str]] = []
    for trial in trials:
        start = (trial.row.started or 0.0) - begun
        end = (trial.ended or content.made) - begun
        node = trial.row.node or "unknown"
        free = lanes.setdefault(node, [])
        slot = next((n for n, until in enumerate(free) if until <= start), len(free))
        free[slot : slot + 1] = [end]
        bars.append((node, slot, start, end - start, trial.row.state_words))
    first, base = {}, 0
    for node in sorted(lanes):
        first[node], base = base, base + len(lanes[node])
    rows, lengths = [first[bar[0]] + bar[1] for bar in bars], [bar[3] / 3600 for bar in bars]
    colours = [_STATES.get(bar[4], "#9aa4b1") for bar in bars]
    axes.barh(rows, lengths, left=[bar[2] / 3600 for bar in bars], color=colours, height=0.85)
    axes.set_yticks([first[node] + (len(lanes[node]) - 1) / 2 for node in first], list(first))
    axes.set(xlabel="hours since the first trial", ylim=(base - 0.5, -0.5))
    from matplotlib.patches import Patch

    states = sorted({bar[4] for bar in bars})
    axes.legend(handles=[Patch(color=_STATES.get(one, "#9aa4b1"), label=one) for one in states], frameon=False, ncols=4,
                loc="lower right", bbox_to_anchor=(1, 1))  # fmt: skip


def _best_so_far(figure: Figure, sweeps: Sequence[ComparedSweep]) -> None:
    metrics = list(dict.fromkeys(one.metric for one in sweeps if one.ended))
    by_trials, by_hours = figure.subplots(1, 2, sharey=True)
    for axes, by_time in ((by_trials, False), (by_hours, True)):
        for one, title in zip(sweeps, titles(sweeps), strict=True):
            steps = one.steps(by_time=by_time)
            label = title if len(metrics) == 1 else f"{title}: {one.metric}"
            if steps:
                axes.step([x for x, _ in steps], [y for _, y in steps], where="post", label=label, marker=".")
    by_trials.set(xlabel="trials in the order in which they ended", ylabel=f"best {metrics[0]} so far")
    if len(metrics) > 1:
        by_trials.set_ylabel("best value so far, each of its own metric")
    by_hours.set_xlabel("hours since the first trial started")
    by_hours.locator_params(axis="x", nbins=5)  # short sweeps have long marks
    by_hours.legend(frameon=False)
    _scale(by_trials.set_yscale, [y for one in sweeps for _, y in one.steps(by_time=False)])


_DRAWN: dict[str, Callable[[Figure, ReportContent], None]] = {
    "history": _history,
    "parallel": _parallel,
    "importance": _importance,
    "slices": _slices,
    "timeline": _timeline,
}


def _first(content: ReportContent) -> tuple[str, str]:
    """Return name and goal of the first metric. Raises UsageError where no trial has a value of it."""
    if not content.objectives or not any(content.objectives[0].name in trial.values for trial in content.trials):
        raise UsageError("no trial has a value of a metric yet: there is nothing to draw")
    return content.objectives[0].name, content.objectives[0].goal


def _shown(content: ReportContent) -> list[ParameterColumn]:
    known = {column.name: column for column in content.parameters()}
    return [known[name] for name in content.by_importance()[:_PARAMETERS]]


def _ranks(values: Sequence[float], goal: str) -> list[float]:
    """Return for each value the share of values that are better."""
    order = sorted(range(len(values)), key=lambda place: values[place], reverse=goal == "maximize")
    shares = [0.0] * len(values)
    for rank, place in enumerate(order):
        shares[place] = rank / max(1, len(values) - 1)
    return shares


def _scale(set_scale: Callable[[str], Any], values: Sequence[float]) -> None:
    if values and min(values) > 0 and max(values) / min(values) > 50:
        set_scale("log")


def _position(column: ParameterColumn, trial: int) -> float:
    """Return where a trial is on an axis of numbers, or of the places of texts; NaN where it has no such parameter."""
    value = column.values[trial]
    if column.is_number:
        return float(value)
    return float(column.levels.index(value)) if value is not None else math.nan


def _places(column: ParameterColumn) -> list[float]:
    """Return for each trial its height from 0 to 1; below these where it has no such parameter."""
    at = [_position(column, place) for place in range(len(column.values))]
    low, high, scale = _range(column)
    return [
        -0.04 if math.isnan(x) else (scale(max(x, low)) - scale(low)) / ((scale(high) - scale(low)) or 1.0) for x in at
    ]


def _range(column: ParameterColumn) -> tuple[float, float, Callable[[float], float]]:
    if not column.is_number:
        return 0.0, max(1.0, len(column.levels) - 1.0), float
    known = [value for value in column.values if math.isfinite(value) and (value > 0 or not column.is_log)]
    return min(known), max(known), math.log if column.is_log else float


def _marks(column: ParameterColumn) -> list[tuple[float, str]]:
    if not column.is_number:
        last = max(1, len(column.levels) - 1)
        return [(place / last, text) for place, text in enumerate(column.levels[:30])]
    low, high, _ = _range(column)
    return [(0.0, f"{low:.3g}"), (1.0, f"{high:.3g}")]
