"""Small charts as SVG in a page: for readers without a script, and for pages that compare sweeps."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from slurmsweep.report.figures import value_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Points = Sequence[tuple[float, float]]

#: Size of a chart, and the room for its labels: left, right, above, below.
_WIDTH, _HEIGHT = 620, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 12, 12, 34

#: From this ratio of its largest to its smallest value on, an axis is logarithmic.
_LOGARITHMIC = 50

#: Points of a chart; of more, so many are drawn.
_MOST_DOTS = 600


def steps_chart(
    lines: Sequence[tuple[str, Points]], label: str, dots: Points = (), x_text: Callable[[float], str] = value_text
) -> str:
    """Return an SVG of lines that go in steps, as a best value does; empty where no line has a point.

    Args:
        lines: for each its title and its points, x ascending. One alone goes on to the right end.
        label: of the x axis.
        dots: single points behind them.
        x_text: a number of the x axis as people read it.
    """
    every = [point for _, points in lines for point in points]
    if not every:
        return ""
    dots = dots[:: len(dots) // _MOST_DOTS + 1]
    low_x, high_x = min(x for x, _ in [*every, *dots]), max(x for x, _ in [*every, *dots])
    # what is much worse than any best value, or is only a dot, may be cut off
    ordered = sorted(y for _, y in dots)
    inner = ordered[len(ordered) // 10 : -(len(ordered) // 10) or None]
    values = [y for _, y in every] + inner
    low, high = min(values), max(values)
    is_log = low > 0 and high / low > _LOGARITHMIC
    scale: Callable[[float], float] = math.log10 if is_log else float
    bottom, top = scale(low), scale(high)

    def at_x(x: float) -> float:
        share = (x - low_x) / (high_x - low_x) if high_x > low_x else 0.5
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def at_y(y: float) -> float:
        share = (scale(y) - bottom) / (top - bottom) if top > bottom else 0.5
        return round(_HEIGHT - _BOTTOM - min(1.0, max(0.0, share)) * (_HEIGHT - _TOP - _BOTTOM), 1)

    parts = [f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">']
    for value in _ticks(low, high, is_log=is_log):
        y = at_y(value)
        parts.append(f'<path class="grid" d="M{_LEFT} {y}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{value:.4g}</text>')
    for x, anchor in ((low_x, "start"), (high_x, "end")):
        parts.append(f'<text x="{at_x(x)}" y="{_HEIGHT - 18}" text-anchor="{anchor}">{escape(x_text(x))}</text>')
    middle = (_LEFT + _WIDTH) // 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(label)}</text>')
    parts += [f'<circle cx="{at_x(x)}" cy="{at_y(y)}" r="1.7"/>' for x, y in dots if not is_log or y > 0]
    for place, (title, points) in enumerate(lines):
        if points:
            path = f"M{at_x(points[0][0])} {at_y(points[0][1])}"
            path += "".join(f"H{at_x(x)}V{at_y(y)}" for x, y in points[1:])
            path += "" if len(lines) > 1 else f"H{at_x(high_x)}"
            kind = f"line l{place % 8}" if len(lines) > 1 else "area"
            parts.append(f'<path class="{kind}" d="{path}"><title>{escape(title)}</title></path>')
    return "".join([*parts, "</svg>"])


def _ticks(low: float, high: float, *, is_log: bool) -> list[float]:
    """Return round numbers between two, about five."""
    if high <= low:
        return [low]
    if is_log:
        whole = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
        return [10.0**e for e in whole[:: len(whole) // 6 + 1]] or [low, high]
    rough = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    first = math.ceil(low / step)
    return [place * step for place in range(first, math.floor(high / step) + 1)]
