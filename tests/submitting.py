"""Submissions as commands make them, for tests that play the scheduler's programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.backends.slurm.backend import SlurmBackend
from slurmsweep.control.round.apply import apply
from slurmsweep.control.round.batch import JobBatch
from slurmsweep.control.round.decide import Plan
from slurmsweep.control.round.events import ignore
from slurmsweep.control.session import Session

if TYPE_CHECKING:
    from slurmsweep.backends.base import Backend, SubmitOptions, SubmitResult
    from slurmsweep.state.store import SweepStore


def on_backend(store: SweepStore, backend: Backend) -> Session:
    """Return a session whose jobs run, and ran, on that backend."""
    session = Session(store)
    session.backend = session.scheduler = backend
    return session


def on_slurm(store: SweepStore) -> Session:
    """Return a session whose jobs run on Slurm, whether there is one here or not."""
    return on_backend(store, SlurmBackend())


def send(store: SweepStore, batch: JobBatch) -> SubmitResult:
    """Submit one batch."""
    return apply(on_slurm(store), Plan(batches=(batch,)), ignore)


def submit(store: SweepStore, count: int, wish: SubmitOptions) -> SubmitResult:
    """Submit jobs for so many trials."""
    return send(store, JobBatch(wish, count))


def send_all(
    store: SweepStore, batches: list[JobBatch], *, reopen: bool = False, backend: Backend | None = None
) -> SubmitResult:
    """Submit batches, one after the other; to Slurm by default."""
    return apply(on_backend(store, backend or SlurmBackend()), Plan(batches=tuple(batches), reopen=reopen), ignore)
