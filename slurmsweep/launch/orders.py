"""What a person orders of a whole sweep, with W&B's meanings (``wandb sweep --pause``): pause, resume, stop, cancel.

The order is on disk first, so that no agent slips through; then Slurm and this machine's agents are told.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slurmsweep.agent.identity import lives_here
from slurmsweep.errors import UsageError
from slurmsweep.launch.observe import running_attempts
from slurmsweep.launch.start import unclaimed
from slurmsweep.slurm import queue
from slurmsweep.state.lifecycle import SweepState

if TYPE_CHECKING:
    from slurmsweep.slurm.queue import TaskRef, TaskReport
    from slurmsweep.state.fold import Fold
    from slurmsweep.state.store import SweepStore


@dataclass(frozen=True)
class Ordered:
    """An order, and who was told.

    Attributes:
        state: of the sweep from now on.
        jobs: Slurm arrays that were told: held, released, or cancelled in whole or in their waiting part.
        processes: agents on this machine that got SIGTERM.
        elsewhere: hosts with agents outside Slurm that only they can end.
        without_job: trials that nobody has claimed and no job waits for; None where the search has no end.
    """

    state: SweepState
    jobs: tuple[str, ...] = ()
    processes: tuple[int, ...] = ()
    elsewhere: tuple[str, ...] = ()
    without_job: int | None = 0


def pause(store: SweepStore) -> Ordered:
    """No new trials until :func:`resume`: running ones go on, waiting jobs are held.

    Raises:
        UsageError: the sweep was stopped or canceled.
        SchedulerUnavailableError: the order stands, but Slurm's jobs are not held: those that start find it and end.
        StateError: nothing was ordered.
    """
    fold = store.fold()
    if fold.word in (SweepState.FINISHED, SweepState.CANCELED):
        raise UsageError(f"sweep {store.manifest.sweep_id} is {fold.word}: there is nothing to pause")
    _order(store, SweepState.PAUSED)
    waiting = _arrays(_live(fold), waiting=True)
    queue.hold(waiting)
    return Ordered(SweepState.PAUSED, waiting)


def resume(store: SweepStore) -> Ordered:
    """New trials again, whatever was ordered before; held jobs are released.

    Jobs that started during a pause found it and ended, so trials may be without one: the caller says so.

    Raises:
        SchedulerUnavailableError: the order stands, but held jobs are not released.
        StateError: nothing was ordered.
    """
    _order(store, SweepState.RUNNING)
    fold = store.fold()
    live = _live(fold)
    waiting = _arrays(live, waiting=True)
    queue.release(waiting)
    open_trials = unclaimed(store, fold)
    coming = sum(report.waits for report in live.values())
    without_job = None if open_trials is None else max(0, open_trials - coming)
    return Ordered(SweepState.RUNNING, waiting, without_job=without_job)


def stop(store: SweepStore) -> Ordered:
    """No new trials: running ones finish, waiting jobs are cancelled.

    Raises:
        UsageError: the sweep was stopped or canceled before.
        SchedulerUnavailableError: the order stands; jobs that start find it and end.
        StateError: nothing was ordered.
    """
    fold = store.fold()
    if fold.word in (SweepState.FINISHED, SweepState.CANCELED):
        raise UsageError(f"sweep {store.manifest.sweep_id} is {fold.word} already")
    _order(store, SweepState.FINISHED)
    waiting = _arrays(_live(fold), waiting=True)
    queue.cancel(waiting, only_waiting=True)
    return Ordered(SweepState.FINISHED, waiting)


def cancel(store: SweepStore) -> Ordered:
    """No new trials, and the running ones are ended.

    Raises:
        SchedulerUnavailableError: the order stands, but Slurm's jobs were not told.
        StateError: nothing was ordered.
    """
    _order(store, SweepState.CANCELED)
    fold = store.fold()
    owners = [a.owner for a in running_attempts(fold).values() if a.owner]
    local = [owner for owner in owners if owner.job is None]
    processes = [owner.pid for owner in local if lives_here(owner)]
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    elsewhere = {owner.host for owner in local if lives_here(owner) is None}
    alive = _arrays(_live(fold))
    queue.cancel(alive)
    return Ordered(SweepState.CANCELED, alive, tuple(processes), tuple(sorted(elsewhere)))


def _order(store: SweepStore, state: SweepState) -> None:
    with store.transaction() as transaction:
        transaction.order(state)


def _live(fold: Fold) -> dict[TaskRef, TaskReport]:
    """Jobs of the sweep that Slurm still has. Raises SchedulerUnavailableError."""
    submitted = {s.job for s in fold.submissions.values() if s.job}
    claiming = {a.owner.job for a in running_attempts(fold).values() if a.owner and a.owner.job}
    jobs = submitted | claiming
    if not jobs:
        return {}
    return {ref: report for ref, report in queue.ask(jobs).tasks.items() if report.alive}


def _arrays(live: dict[TaskRef, TaskReport], *, waiting: bool = False) -> tuple[str, ...]:
    """Ids of arrays with live elements; ``waiting``: with elements that have not started."""
    return tuple(sorted({ref.job for ref, report in live.items() if report.waits or not waiting}))
