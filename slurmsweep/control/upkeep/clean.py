"""Remove what finished trials left and nothing needs any more: checkpoints, saved files, wandb runs.

The journal, the outcomes, the logs and what the native client logged stay, so tables and exports show what they did.
Trials that did not finish keep all: `resubmit` goes on from it. What is behind a symbolic link stays: it may be
another sweep's, or no sweep's.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.control.upkeep.alive import refuse_living
from slurmsweep.report.summary import SweepSummary
from slurmsweep.state import files
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import STOPPED_EARLY
from slurmsweep.state.tail import AttemptId
from slurmsweep.sync.upload import find

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slurmsweep.control.session import Session
    from slurmsweep.state.paths import Layout

#: Trials that are cleaned while other commands on the sweep wait.
_AT_ONCE = 100


class Cleaning(NamedTuple):
    """What of a sweep can go.

    Attributes:
        sweep: its id.
        trials: numbers of the trials whose files go.
        best: of those that keep theirs because they are the best.
        unsynced: of those that keep their wandb runs, which were never uploaded.
        size: of the files that go, in bytes.
        entries: number of files and folders that go.
        unknown: what of the sweep may be alive, in words.
    """

    sweep: str
    trials: tuple[int, ...]
    best: tuple[int, ...]
    unsynced: tuple[int, ...]
    size: int
    entries: int
    unknown: tuple[str, ...]


def last_change(session: Session) -> float:
    """Return when the sweep was changed last, seconds since the epoch."""
    status = files.status_of(session.store.layout.journal)
    return status.st_mtime if status else 0.0


def plan_cleaning(session: Session, keep_best: int, *, unsynced: bool = False, force: bool = False) -> Cleaning:
    """Return what :func:`clean` would remove.

    Args:
        session: of the sweep.
        keep_best: trials that keep all their files.
        unsynced: remove wandb runs that were never uploaded, too.
        force: as :func:`slurmsweep.control.upkeep.alive.refuse_living` takes it.

    Raises:
        UsageError: the sweep is or may be alive.
        SchedulerUnavailableError: whether it has jobs cannot be told.
    """
    unknown = refuse_living(session, force=force)
    store, view = session.store, session.view
    summary = SweepSummary(store.layout, store.manifest, view, {})
    ranked = summary.ranked(keep_best) if keep_best else []
    best = [number for row in ranked for number in (row.runs.trials if row.runs else (row.number,))]
    done = {*view.trials.in_state(TrialState.FINISHED), *view.trials.stopped_early()} - set(best)
    if summary.may_go_on():  # their next part starts from the checkpoint of this one
        done = set()
    local = set() if unsynced else {upload.trial for upload in find(store, view, (), sorted(done)).uploads}
    found, kept, size, entries = [], [], 0, 0
    for number in sorted(done):
        sizes = [files.measure(path) for path in _of_trial(store.layout, number, with_runs=number not in local)]
        if sizes:
            found.append(number)
        if number in local and files.is_folder(store.layout.runs(number)):
            kept.append(number)
        size += sum(one.size for one in sizes)
        entries += sum(one.entries + 1 for one in sizes)
    return Cleaning(store.manifest.sweep_id, tuple(found), tuple(sorted(best)), tuple(kept), size, entries, unknown)


def clean(session: Session, cleaning: Cleaning) -> int:
    """Remove what was planned; return how many trials were cleaned: one that ran again meanwhile keeps its files.

    Harmless to break off, and to do again. Raises StateError.
    """
    store, local, count = session.store, set(cleaning.unsynced), 0
    planned_for = {number: session.view.trials[number].newest for number in cleaning.trials}
    for begin in range(0, len(cleaning.trials), _AT_ONCE):
        with session.transaction():
            for number in cleaning.trials[begin : begin + _AT_ONCE]:
                trial = session.view.trials[number]
                is_same = trial.newest == planned_for[number]  # runs of a later attempt may not be uploaded
                if is_same and (trial.state is TrialState.FINISHED or trial.cause == STOPPED_EARLY):
                    count += 1
                    for path in _of_trial(store.layout, number, with_runs=number not in local):
                        files.remove_tree(path)
    return count


def _of_trial(layout: Layout, number: int, *, with_runs: bool) -> Iterator[str]:
    """Yield the folders of a trial that can go: none that a link leads to, wherever in the path it stands."""
    found = [layout.checkpoints(number)] if layout.format > 1 else []  # before, they were beside the attempts
    found += [layout.runs(number)] if with_runs else []
    names = filter(str.isdecimal, files.names_in(layout.trial(number)))
    found += [layout.saved(AttemptId(number, int(name))) for name in names]
    sweep = os.path.realpath(layout.folder)
    for path in found:
        own = os.path.join(sweep, os.path.relpath(path, layout.folder))
        if files.is_folder(path) and os.path.realpath(path) == own:
            yield path
