"""Submissions as commands make them, for tests that play the scheduler's programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.backends.slurm.backend import SlurmBackend
from slurmsweep.control.apply import apply, submit_batch
from slurmsweep.control.batch import JobBatch
from slurmsweep.control.decide import Plan
from slurmsweep.control.events import ignore
from slurmsweep.control.session import Session

if TYPE_CHECKING:
    from slurmsweep.backends.base import SubmitOptions, SubmitResult
    from slurmsweep.state.store import SweepStore


def on_slurm(store: SweepStore) -> Session:
    """Return a session whose jobs run on Slurm, whether there is one here or not."""
    session = Session(store)
    session.backend = SlurmBackend()
    return session


def send(store: SweepStore, batch: JobBatch) -> SubmitResult:
    """Submit one batch."""
    return submit_batch(on_slurm(store), batch, reopen=False, tell=ignore)


def submit(store: SweepStore, count: int, wish: SubmitOptions) -> SubmitResult:
    """Submit jobs for so many trials."""
    return send(store, JobBatch(wish, count))


def send_all(store: SweepStore, batches: list[JobBatch], *, reopen: bool = False) -> SubmitResult:
    """Submit batches, one after the other."""
    return apply(on_slurm(store), Plan(batches=tuple(batches), reopen=reopen), ignore)
