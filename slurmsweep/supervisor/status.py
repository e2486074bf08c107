"""See who looks after a sweep that mends itself, without what it takes to submit anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.errors import SchedulerUnavailableError
from slurmsweep.state.supervisor_files import LastRound, SupervisorFiles

if TYPE_CHECKING:
    from slurmsweep.state.store import SweepStore


class SupervisorStatus(NamedTuple):
    """Who looks after a sweep.

    Attributes:
        rounds: that came to an end.
        is_over: nothing was left to do.
        supervisors: ids of its jobs in Slurm; None where Slurm could not be asked.
        trouble: what kept the last round from its work.
        report: path of the report; None before the end.
    """

    rounds: int
    is_over: bool
    supervisors: tuple[str, ...] | None
    trouble: str
    report: str | None


def attendance(store: SweepStore) -> SupervisorStatus | None:
    """Who looks after a sweep that mends itself; None where it does not. One squeue call, unless it is over."""
    files = SupervisorFiles(store.layout, store.access)
    settings = files.settings()
    if settings is None:
        return None
    last = files.last() or LastRound(0)
    report = store.layout.report_text if files.has_report() else None
    if report:
        return SupervisorStatus(last.number, True, (), last.trouble, report)
    from slurmsweep.supervisor.wakeup_jobs import WakeupJobs  # of most sweeps there is nothing to ask

    try:
        alive: tuple[str, ...] | None = tuple(a.job for a in WakeupJobs(store, settings, {}).alive())
    except SchedulerUnavailableError:
        alive = None
    return SupervisorStatus(last.number, False, alive, last.trouble, None)
