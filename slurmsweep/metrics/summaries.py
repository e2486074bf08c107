"""Read the whole summary that a training script left: in the native client's history, or in a wandb run file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from slurmsweep.metrics import run_file
from slurmsweep.metrics.reported import history_row, run_files

if TYPE_CHECKING:
    from slurmsweep.state.paths import Layout
    from slurmsweep.state.tail import AttemptId


def read_summary(layout: Layout, attempt_id: AttemptId) -> dict[str, Any]:
    """Return the final values of an attempt by name, nested names joined by dots; while it runs, the values so far.

    They are the native client's if it logged anything, else those of the newest wandb run. Reads everything that was
    logged, so it is for attempts that have ended, or for one look at one attempt. Raises OSError.
    """
    path = layout.history(attempt_id)
    native = _native(path) if os.path.isfile(path) else {}
    files = [] if native else run_files(layout, attempt_id)
    if not files:
        return native
    run = run_file.read(files[-1])
    logged: dict[str, Any] = {}
    for row in run.history:
        logged |= row
    return logged | run.summary


def _native(path: str) -> dict[str, Any]:
    """Return the summary in the history, else the last value of each name."""
    logged: dict[str, Any] = {}
    said: dict[str, Any] | None = None
    with open(path, "rb") as file:
        for line in file:
            row = history_row(line)
            if row is not None:
                said = row["_summary"] if isinstance(row.get("_summary"), dict) else said
                logged |= {name: value for name, value in row.items() if name != "_summary"}
    return logged if said is None else said
