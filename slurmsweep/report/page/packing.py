"""Columns of trials, and all that they logged, as one compressed text for a page's script."""

from __future__ import annotations

import base64
import math
import sys
import zlib
from array import array
from bisect import bisect_right
from operator import sub
from typing import TYPE_CHECKING, Any

from slurmsweep.report.summary import RANKED_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slurmsweep.report.page.content import Curve, ReportContent

#: In the place of a level, or of a value of a curve: none.
_NONE = 65535

#: Values by which the range of a curve is judged.
_SAMPLE = 20_000

#: Whole numbers from which a float of four bytes is not exact.
_EXACT = 2**24


class Packer:
    """Arrays one after the other; what is in which place stands in :attr:`places`.

    Attributes:
        places: of each array its type (an array's code), its first byte and its length, by name.
    """

    def __init__(self) -> None:
        self.places: dict[str, tuple[str, int, int]] = {}
        self._data = bytearray()

    def add(self, name: str, code: str, values: Iterable[Any]) -> None:
        """Add an array; as scripts read it, each begins at a multiple of eight bytes."""
        packed = array(code, values)
        if sys.byteorder == "big":
            packed.byteswap()
        self._data += bytes(-len(self._data) % 8)
        self.places[name] = (code, len(self._data), len(packed))
        self._data += packed.tobytes()

    def numbers(self, name: str, values: list[float | None]) -> None:
        """Add numbers, None as NaN; in four bytes each where that is exact enough for a picture and a table."""
        floats = [math.nan if value is None else value for value in values]
        large = any(abs(value) >= _EXACT for value in floats if math.isfinite(value))
        self.add(name, "d" if large else "f", floats)

    def levels(self, name: str, texts: list[str | None], known: list[str]) -> None:
        """Add texts by their place in ``known``; those beyond 65,534 are none."""
        places = {text: place for place, text in enumerate(known[:_NONE])}
        self.add(name, "H", [_NONE if text is None else places.get(text, _NONE) for text in texts])

    def text(self) -> str:
        """Return all of it, compressed, as base64."""
        return base64.b64encode(zlib.compress(bytes(self._data), 6)).decode()


def pack(content: ReportContent) -> tuple[str, dict[str, Any]]:
    """Return the columns of a report's trials as one text, and the document that says what is where in it."""
    packer, trials = Packer(), content.trials
    rows = [trial.row for trial in trials]
    start = min((row.started for row in rows if row.started is not None), default=content.made)
    packer.add("number", "I", [row.number for row in rows])
    packer.add("attempt", "H", [row.attempt for row in rows])
    packer.numbers("started", [None if row.started is None else row.started - start for row in rows])
    packer.numbers("ended", [None if trial.ended is None else trial.ended - start for trial in trials])
    packer.numbers("seconds", [row.seconds for row in rows])
    packer.numbers("memory", [row.max_rss_mb for row in rows])
    texts: dict[str, list[str | None]] = {
        "state": [row.state_words for row in rows],
        "cause": [row.cause or None for row in rows],
        "node": [row.node for row in rows],
        "error": [row.error for row in rows],
    }
    levels: dict[str, list[str]] = {}
    for name, values in texts.items():
        levels[name] = sorted({value for value in values if value is not None})
        packer.levels(name, values, levels[name])
    parameters, same = [], []
    for place, column in enumerate(content.parameters()):
        if not column.differs:
            shown = column.levels[0] if column.levels else next(iter(column.values), "")
            same.append([column.name, str(shown)])
            continue
        if column.is_number:
            packer.numbers(f"p{place}", column.values)
        else:
            packer.levels(f"p{place}", column.values, column.levels)
        form = {"name": column.name, "array": f"p{place}", "log": column.is_log}
        parameters.append(form if column.is_number else form | {"levels": column.levels[:_NONE]})
    metrics = []
    for place, objective in enumerate(content.objectives):
        packer.numbers(f"m{place}", [trial.values.get(objective.name) for trial in trials])
        metrics.append({"name": objective.name, "goal": objective.goal, "array": f"m{place}"})
        curves = content.curves.get(objective.name)
        if curves:
            metrics[-1] |= _pack_curves(packer, f"m{place}", [curves.get(row.number) for row in rows])
    document = {
        "id": content.summary.manifest.sweep_id,
        "command": content.name,
        "n": len(trials),
        "start": start,
        "made": content.made - start,
        "arrays": packer.places,
        "levels": levels,
        "parameters": parameters,
        "same": same,
        "metrics": metrics,
        "order": content.by_importance(),
        "ranked": RANKED_WORDS,
    }
    return packer.text(), document


def _pack_curves(packer: Packer, name: str, curves: list[Curve | None]) -> dict[str, Any]:
    """Add curves: how many values each trial has, steps as differences of places, values in 65,534 parts of a range."""
    steps = sorted(set().union(*(curve.steps for curve in curves if curve)))
    if not steps:
        return {}
    if len(steps) >= _NONE:
        steps = steps[:: len(steps) // _NONE + 1]
    known = {step: place for place, step in enumerate(steps)}
    every = [value for curve in curves if curve for value in curve.values if math.isfinite(value)]
    some = sorted(every[:: len(every) // _SAMPLE + 1]) or [0.0]
    # one value that diverged must not leave three parts of the range for all others
    inner = some[len(some) // 200], some[-1 - len(some) // 200]
    width = (inner[1] - inner[0]) or abs(inner[1]) or 1.0
    low = max(min(every, default=0.0), inner[0] - 20 * width)
    high = min(max(every, default=0.0), inner[1] + 20 * width)
    scale = (_NONE - 1) / ((high - low) or 1.0)
    counts, places, parts = array("I"), array("H"), array("H")
    for curve in curves:
        counts.append(len(curve.steps) if curve else 0)
        if curve:
            at = [known[step] if step in known else bisect_right(steps, step) - 1 for step in curve.steps]
            places.extend(map(sub, at, [0, *at]))
            parts.extend(
                _NONE if math.isnan(value) else round((min(max(value, low), high) - low) * scale)
                for value in curve.values
            )
    packer.add(f"{name}c", "I", counts)
    packer.add(f"{name}s", "H", places)
    packer.add(f"{name}v", "H", parts)
    packer.add(f"{name}x", "d", steps)
    return {"low": low, "high": high, "curves": name}
