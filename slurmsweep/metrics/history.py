"""All rows that a trial logged, in order: for tables of histories."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from slurmsweep.metrics.reported import NativeRows, RunRows, trial_runs
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slurmsweep.state.paths import Layout


def history(layout: Layout, attempt_id: AttemptId, first: int = 1) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows that the attempts of a trial logged, oldest first, each with the number of its attempt.

    They are the native client's if it logged any, else those of the trial's wandb runs. A script that began again from
    a checkpoint may have logged a step twice: both rows are yielded.

    Args:
        layout: of the sweep.
        attempt_id: the newest attempt.
        first: the first attempt that counts: a person may have deleted those before it.

    Raises:
        OSError: a file that is there cannot be read.
    """
    is_native = False
    for attempt in range(first, attempt_id.attempt + 1):
        path = layout.history(AttemptId(attempt_id.trial, attempt))
        if os.path.isfile(path):
            for row in NativeRows(path).new():
                is_native = True
                yield attempt, row
    if not is_native:
        for run in trial_runs(layout, attempt_id, first, is_over=True).found():
            yield from ((run.attempt, row) for row in RunRows(run.path, ()).new())
