"""What a person orders of a whole sweep, with W&B's meanings (``wandb sweep --pause``): pause, resume, stop, cancel.

The order is on disk first, so that no agent slips through; then Slurm and this machine's agents are told.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slurmsweep.agents.identity import lives_here
from slurmsweep.backends.slurm import queue
from slurmsweep.control.array_tasks import live_elements
from slurmsweep.control.snapshot import running_attempts
from slurmsweep.control.start import unclaimed
from slurmsweep.errors import UsageError
from slurmsweep.state.lifecycle import SweepState

if TYPE_CHECKING:
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
        clusters: others with arrays of the sweep, which only commands there can tell.
    """

    state: SweepState
    jobs: tuple[str, ...] = ()
    processes: tuple[int, ...] = ()
    elsewhere: tuple[str, ...] = ()
    without_job: int | None = 0
    clusters: tuple[str, ...] = ()


def pause(store: SweepStore) -> Ordered:
    """No new trials until :func:`resume`: running ones go on, waiting jobs are held.

    Raises:
        UsageError: the sweep was stopped or canceled.
        SchedulerUnavailableError: the order stands, but Slurm's jobs are not held: those that start find it and end.
        StateError: nothing was ordered.
    """
    view = store.replay()
    if view.word in (SweepState.FINISHED, SweepState.CANCELED):
        raise UsageError(f"sweep {store.manifest.sweep_id} is {view.word}: there is nothing to pause")
    _order(store, SweepState.PAUSED)
    live = live_elements(view)
    queue.hold(live.waiting_arrays)
    return Ordered(SweepState.PAUSED, live.waiting_arrays, clusters=live.elsewhere)


def resume(store: SweepStore) -> Ordered:
    """New trials again, whatever was ordered before; held jobs are released.

    Jobs that started during a pause found it and ended, so trials may be without one: the caller says so.

    Raises:
        SchedulerUnavailableError: the order stands, but held jobs are not released.
        StateError: nothing was ordered.
    """
    _order(store, SweepState.RUNNING)
    view = store.replay()
    live = live_elements(view)
    queue.release(live.waiting_arrays)
    open_trials = unclaimed(store, view)
    without_job = None if open_trials is None else max(0, open_trials - len(live.waiting))
    return Ordered(SweepState.RUNNING, live.waiting_arrays, without_job=without_job, clusters=live.elsewhere)


def stop(store: SweepStore) -> Ordered:
    """No new trials: running ones finish, waiting jobs are cancelled.

    Raises:
        UsageError: the sweep was stopped or canceled before.
        SchedulerUnavailableError: the order stands; jobs that start find it and end.
        StateError: nothing was ordered.
    """
    view = store.replay()
    if view.word in (SweepState.FINISHED, SweepState.CANCELED):
        raise UsageError(f"sweep {store.manifest.sweep_id} is {view.word} already")
    _order(store, SweepState.FINISHED)
    live = live_elements(view)
    queue.cancel(live.waiting_arrays, only_waiting=True)
    return Ordered(SweepState.FINISHED, live.waiting_arrays, clusters=live.elsewhere)


def cancel(store: SweepStore) -> Ordered:
    """No new trials, and the running ones are ended.

    Raises:
        SchedulerUnavailableError: the order stands, but Slurm's jobs were not told.
        StateError: nothing was ordered.
    """
    _order(store, SweepState.CANCELED)
    view = store.replay()
    owners = [a.owner for a in running_attempts(view).values() if a.owner]
    local = [owner for owner in owners if owner.job is None]
    processes = [owner.pid for owner in local if lives_here(owner)]
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    elsewhere = {owner.host for owner in local if lives_here(owner) is None}
    live = live_elements(view)
    queue.cancel(live.arrays)
    return Ordered(
        SweepState.CANCELED, live.arrays, tuple(processes), tuple(sorted(elsewhere)), clusters=live.elsewhere
    )


def _order(store: SweepStore, state: SweepState) -> None:
    with store.transaction() as transaction:
        transaction.order(state)
