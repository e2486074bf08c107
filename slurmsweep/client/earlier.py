"""What earlier attempts of a trial, and earlier runs of this one, have logged: a run goes on with it, as on W&B."""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any

from slurmsweep.client.aggregates import MetricDefinition
from slurmsweep.client.history import NAME, SET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slurmsweep.client.aggregates import Aggregates, Definitions, Summary

#: Names that the client itself puts into rows of logged values.
_CLOCK = ("_step", "_timestamp", "_runtime", "_attempt_step")


def take_up(
    folder: str, definitions: Definitions, aggregates: Aggregates, summary: Summary, last_of: dict[str, Any]
) -> int:
    """Take in all that the run has logged so far; return the step that comes next, 0 where nothing was logged.

    Args:
        folder: of this attempt; those of the earlier ones are beside it.
        definitions: takes the definitions of metrics.
        aggregates: takes the rows, and so updates the summary.
        summary: what a finished part of the run said of it stands.
        last_of: takes the last value of each name.
    """
    step = 0
    for path in _histories(folder):
        for row in _rows(path):
            if isinstance(row.get("_define"), dict):
                definitions.add(MetricDefinition.from_json(row["_define"]), overwrite=True)
            elif isinstance(row.get("_summary"), dict):
                summary.clear()
                summary.update(row["_summary"])
            elif isinstance(row.get(SET), dict):
                summary.update(row[SET])
            elif isinstance(row.get("_step"), int):
                values = {name: value for name, value in row.items() if name not in _CLOCK}
                aggregates.take(values)
                last_of.update(values)
                step = max(step, row["_step"] + 1)
        _forget_nan(summary)
    return step


def _histories(folder: str) -> Iterator[str]:
    """Yield the paths of the histories of the run, oldest first; the agent says with which attempt it began."""
    attempt, first = (os.environ.get(f"SLURMSWEEP_{name}", "") for name in ("ATTEMPT", "FIRST_ATTEMPT"))
    if attempt.isdecimal() and first.isdecimal():
        beside = (os.path.join(os.path.dirname(folder), str(number)) for number in range(int(first), int(attempt)))
        yield from (os.path.join(earlier, NAME) for earlier in beside)
    yield os.path.join(folder, NAME)


def _rows(path: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a history that are whole."""
    try:
        with open(path, "rb") as file:
            for line in file:
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    continue  # torn by a kill
                if isinstance(row, dict):
                    yield row
    except FileNotFoundError:  # the attempt logged nothing
        return


def _forget_nan(summary: dict[str, Any]) -> None:
    """Remove aggregates that are no number: an attempt that goes on from before it diverged has extremes again."""
    for value in summary.values():
        if isinstance(value, dict):
            for word in ("min", "max", "mean", "best"):
                if isinstance(value.get(word), float) and math.isnan(value[word]):
                    del value[word]
            _forget_nan(value)
