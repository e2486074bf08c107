"""The sweeps of a project, one row each: what ``ls`` shows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.errors import SlurmsweepError, StateUnreadableError
from slurmsweep.report.summary import SweepSummary
from slurmsweep.state import files, paths, view_cache
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.store import SweepStore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slurmsweep.state.paths import Layout

#: The states of a sweep that cannot be read, and of one whose removal was broken off.
UNREADABLE, HALF_REMOVED = "unreadable", "half removed"

#: Files and folders that are looked at for the sizes of all sweeps of a list, and at least for that of each of them.
_LOOKS, _LOOKS_EACH = 4000, 60

#: Trials whose folders are looked at where a sweep has more files than that.
_SAMPLE = 5


class SweepRow(NamedTuple):
    """One sweep as it is listed; the keys of ``ls --json``.

    Attributes:
        id: of the sweep.
        name: of the sweep file; empty where it has none.
        state: as ``status`` says it, without the scheduler's word; ``unreadable``; ``half removed``.
        canary: it is the first trial of ``plan --canary``.
        method: of the search.
        trials: number of points; None where the search has no end.
        finished: number of trials that finished.
        stopped_early: number of trials that are done because others were better.
        ended_otherwise: number of trials that failed, crashed, were killed or preempted.
        running: number of trials that run, as far as the journal knows.
        started: number of trials that were started, however far they got.
        created: seconds since the epoch.
        changed: when its journal was written last.
        bytes: size of its files.
        bytes_are_estimated: it has so many files that those of some trials stand for all.
        source: the sweep file.
        folder: of the sweep.
        error: why it cannot be read.
    """

    id: str
    name: str = ""
    state: str = UNREADABLE
    canary: bool = False
    method: str | None = None
    trials: int | None = None
    finished: int = 0
    stopped_early: int = 0
    ended_otherwise: int = 0
    running: int = 0
    started: int = 0
    created: float | None = None
    changed: float | None = None
    bytes: int = 0
    bytes_are_estimated: bool = False
    source: str | None = None
    folder: str = ""
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the document of one sweep."""
        return self._asdict()


def list_sweeps(root: str) -> list[SweepRow]:
    """Return the sweeps below ``root``, the newest first; the scheduler is not asked.

    Last come those whose removal was broken off, of which only the folder is told. A sweep that is damaged, of a newer
    version or private to another user costs its own row only.

    Raises:
        StateUnreadableError: a folder that holds them cannot be read.
    """
    ids = paths.sweep_ids(root)
    looks = max(_LOOKS_EACH, _LOOKS // max(1, len(ids)))
    dated = sorted(((paths.made(root, sweep_id), sweep_id) for sweep_id in ids), reverse=True)
    rests = [SweepRow(sweep_id, state=HALF_REMOVED, folder=folder) for sweep_id, folder in paths.half_removed(root)]
    return [*(_row(root, sweep_id, looks) for _, sweep_id in dated), *rests]


def _row(root: str, sweep_id: str, looks: int) -> SweepRow:
    try:
        store = SweepStore.open(paths.find(sweep_id, root).folder)
        layout, manifest = store.layout, store.manifest
        summary = SweepSummary(layout, manifest, view_cache.read(store), {})
        counts, early, journal = summary.counts(), summary.stopped_early(), files.status_of(layout.journal)
        size, is_whole = _size(layout, len(summary.view.trials), looks)
        return SweepRow(
            id=sweep_id,
            name=manifest.config.name or "",
            state=summary.state().value,
            canary=manifest.canary,
            method=manifest.config.method,
            trials=manifest.trials,
            finished=counts[TrialState.FINISHED],
            stopped_early=early,
            ended_otherwise=summary.unfinished_count(),
            running=counts[TrialState.RUNNING],
            started=len(summary.view.trials),
            created=manifest.created,
            changed=round(journal.st_mtime, 3) if journal else None,
            bytes=size,
            bytes_are_estimated=not is_whole,
            source=manifest.source,
            folder=layout.folder,
        )
    except (SlurmsweepError, OSError) as error:  # or it was removed meanwhile
        return SweepRow(sweep_id, folder=paths.places(root, f"sweep-{sweep_id}")[0], error=str(error))


def _size(layout: Layout, started: int, looks: int) -> tuple[int, bool]:
    """Return the bytes of a sweep, and whether each file was looked at; else some trials stand for all."""
    every = files.measure(layout.folder, looks)
    if every.is_whole:
        return every.size, True
    rest = files.measure(layout.folder, looks, without=layout.trials)
    numbers: Iterable[int] = sorted({place * started // _SAMPLE for place in range(_SAMPLE)})
    found = [files.measure(layout.trial(number), looks) for number in numbers]
    sizes = [trial.size for trial in found if trial.entries]
    return rest.size + (round(sum(sizes) / len(sizes) * started) if sizes else 0), False


def is_foreign(row: SweepRow) -> bool:
    """Return whether a sweep cannot be read because it is another user's: that is no damage."""
    try:
        status = files.status_of(row.folder)
    except StateUnreadableError:
        return True
    return row.error is not None and status is not None and status.st_uid not in (os.geteuid(), 0)
