"""All rows that a trial logged, in order: for tables of histories."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from slurmsweep.metrics.reported import NativeRows, RunRows, trial_runs
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from slurmsweep.state.paths import Layout


def history(layout: Layout, attempt_id: AttemptId, first: int = 1) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows that the attempts of a trial logged, oldest first, each with the number of its attempt.

    They are those of the first source that has any: see :mod:`.reported`. A script that began again from
    a checkpoint may have logged a step twice: both rows are yielded.

    Args:
        layout: of the sweep.
        attempt_id: the newest attempt.
        first: the first attempt that counts: a person may have deleted those before it.

    Raises:
        OSError: a file that is there cannot be read.
    """
    for source in _sources(layout, attempt_id, first):
        rows = iter(source)
        oldest = next(rows, None)
        if oldest is not None:
            yield oldest
            yield from rows
            return


def _sources(layout: Layout, attempt_id: AttemptId, first: int) -> Iterator[Iterable[tuple[int, dict[str, Any]]]]:
    paths = {n: layout.history(AttemptId(attempt_id.trial, n)) for n in range(first, attempt_id.attempt + 1)}
    yield ((n, row) for n, path in paths.items() if os.path.isfile(path) for row in NativeRows(path).new())
    runs = trial_runs(layout, attempt_id, first, is_over=True)
    yield ((run.attempt, row) for run in runs.found() for row in RunRows(run.path, ()).new())
    for told in (runs.files_of_metrics, runs.printed):
        yield ((n, row) for n, rows in told.items() for row in rows.new())
