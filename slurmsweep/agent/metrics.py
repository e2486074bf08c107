"""The value of the sweep's metric, from what the training script left: the native client's history, or a wandb run."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slurmsweep.agent import wandb_file

if TYPE_CHECKING:
    from collections.abc import Iterator

_HISTORY = "history.jsonl"


@dataclass(frozen=True)
class MetricReading:
    """What is known of the metric.

    Attributes:
        value: the summary's: last logged, or as ``define_metric(summary=...)`` says; None where no finite number is
            there.
        steps: how often it was logged.
        source: ``native``, ``wandb``, or None where the script logged nothing.
    """

    value: float | None = None
    steps: int = 0
    source: str | None = None


def read_metric(attempt_folder: str, trial_folder: str, name: str) -> MetricReading:
    """The metric of an attempt, also of one that was killed: what was written counts.

    Args:
        attempt_folder: where the native client writes.
        trial_folder: the trial's WANDB_DIR.
        name: as logged; dots reach into nested values.
    """
    native = os.path.join(attempt_folder, _HISTORY)
    if os.path.isfile(native):
        return _reading(*_read_native(native), name, "native")
    newest = _newest_run_file(trial_folder)
    if newest:
        run = wandb_file.read(newest)
        return _reading(run.history, run.summary, name, "wandb")
    return MetricReading()


def _reading(history: list[dict[str, Any]], summary: dict[str, Any], name: str, source: str) -> MetricReading:
    logged = [value for row in history if (value := number(_reach(row, name))) is not None]
    value = _summary_number(_reach(summary, name))
    if value is None and logged:
        value = logged[-1]  # a run that was cut off has no summary
    return MetricReading(value, len(logged), source)


def number(value: Any) -> float | None:
    """The value as a metric: a finite number and no boolean, as W&B counts; else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _summary_number(value: Any) -> float | None:
    """A summary's value; of ``{"min": 0.1}`` the only one there is."""
    if isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
    return number(value)


def _reach(row: dict[str, Any], name: str) -> Any:
    """The value under a name, or under a dotted path of nested mappings."""
    if name in row:
        return row[name]
    first, dot, rest = name.partition(".")
    inner = row.get(first)
    return _reach(inner, rest) if dot and isinstance(inner, dict) else None


def _read_native(path: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """History rows and the final summary, if the script got that far."""
    history: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    for row in _json_lines(path):
        if "_summary" in row:
            summary = row["_summary"]
        else:
            history.append(row)
    return history, summary


def _json_lines(path: str) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                continue  # the last line of a script that was killed while writing it
            if isinstance(row, dict):
                yield row


def _newest_run_file(trial_folder: str) -> str | None:
    """The run file of the newest offline run below the trial's folder: every attempt makes one of its own."""
    runs = os.path.join(trial_folder, "wandb")
    try:
        folders = sorted(name for name in os.listdir(runs) if name.startswith("offline-run-"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    files = [
        entry.path
        for name in folders
        for entry in os.scandir(os.path.join(runs, name))
        if entry.name.endswith(".wandb")
    ]
    return max(files, key=os.path.getmtime, default=None)
