"""Cancel a sweep: no new trials, and the running ones are ended. W&B's ``wandb sweep --cancel``."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slurmsweep.agent.identity import lives_here
from slurmsweep.launch.observe import running_attempts
from slurmsweep.slurm import queue
from slurmsweep.state.lifecycle import SweepState

if TYPE_CHECKING:
    from slurmsweep.state.fold import Fold
    from slurmsweep.state.store import SweepStore


@dataclass(frozen=True)
class Cancelled:
    """What was told to end.

    Attributes:
        jobs: Slurm arrays handed to scancel.
        processes: agents on this machine that got SIGTERM.
        elsewhere: hosts with agents outside Slurm that only they can end.
    """

    jobs: tuple[str, ...]
    processes: tuple[int, ...]
    elsewhere: tuple[str, ...]


def cancel(store: SweepStore) -> Cancelled:
    """Order that nothing new starts, then end what runs. The order is on disk first, so that no agent slips through.

    Raises:
        SchedulerUnavailableError: the order stands, but Slurm's jobs were not told.
        StateError: nothing was ordered.
    """
    with store.transaction() as transaction:
        transaction.order(SweepState.CANCELED)
    fold = store.fold()
    owners = [a.owner for a in running_attempts(fold).values() if a.owner]
    local = [owner for owner in owners if owner.job is None]
    processes = [owner.pid for owner in local if lives_here(owner)]
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    elsewhere = {owner.host for owner in local if lives_here(owner) is None}
    return Cancelled(_cancel_jobs(fold), tuple(processes), tuple(sorted(elsewhere)))


def _cancel_jobs(fold: Fold) -> tuple[str, ...]:
    """Hand every array of the sweep that Slurm still has something of to scancel."""
    submitted = {s.job for s in fold.submissions.values() if s.job}
    claiming = {a.owner.job for a in running_attempts(fold).values() if a.owner and a.owner.job}
    jobs = submitted | claiming
    if not jobs:
        return ()
    alive = {ref.job for ref, report in queue.ask(jobs).tasks.items() if report.alive}
    if alive:
        queue.cancel(sorted(alive))
    return tuple(sorted(alive))
