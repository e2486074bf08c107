"""Supervised submissions as commands make them, for tests that play the scheduler's programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from submitting import on_backend

from slurmsweep.backends.slurm.backend import SlurmBackend
from slurmsweep.control.launch.supervised import submit_supervised
from slurmsweep.control.round.decide import Plan
from slurmsweep.control.round.events import ignore
from slurmsweep.control.round.retry_policy import ResourceOverride, RetryPlan

if TYPE_CHECKING:
    from slurmsweep.backends.base import Backend, SubmitResult
    from slurmsweep.control.jobs.wakeup import WakeupJobs
    from slurmsweep.control.round.batch import JobBatch
    from slurmsweep.state.store import SweepStore
    from slurmsweep.state.supervisor_files import SupervisorSettings


def submit_minded(
    store: SweepStore, settings: SupervisorSettings, batches: list[JobBatch], backend: Backend | None = None
) -> tuple[SubmitResult, WakeupJobs]:
    """Submit batches with a supervisor; to Slurm by default."""
    again = tuple(attempt_id for batch in batches for attempt_id in batch.again)
    retry = RetryPlan({ResourceOverride(): again}) if again else RetryPlan()
    session = on_backend(store, backend or SlurmBackend())
    return submit_supervised(session, settings, Plan(batches=tuple(batches), retry=retry), ignore)
