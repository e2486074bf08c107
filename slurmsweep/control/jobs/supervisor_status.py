"""Report whether a supervisor is queued, without importing what submits jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slurmsweep.backends.base import Ability
from slurmsweep.errors import SchedulerUnavailableError
from slurmsweep.state.supervisor_files import LastRound, SupervisorFiles

if TYPE_CHECKING:
    from slurmsweep.control.session import Session


@dataclass(frozen=True)
class SupervisorStatus:
    """The supervisor of a sweep.

    Attributes:
        rounds: how many rounds came to an end.
        is_over: nothing was left to do.
        supervisors: ids of its jobs in the scheduler; None where the scheduler could not be asked.
        trouble: what kept the last round from its work.
        report: path of the report; None before the end.
    """

    rounds: int
    is_over: bool
    supervisors: tuple[str, ...] | None
    trouble: str
    report: str | None


def supervisor_status(session: Session) -> SupervisorStatus | None:
    """Return the state of the sweep's supervisor; None where it has none, or can have none.

    One question, unless the sweep is over.
    """
    layout = session.store.layout
    files = SupervisorFiles(layout, session.store.access)
    settings = files.settings()
    if settings is None or Ability.WAKE not in session.backend.abilities:
        return None
    last = files.last() or LastRound(0)
    if files.has_report():
        return SupervisorStatus(last.number, True, (), last.trouble, layout.report_text)
    from slurmsweep.control.jobs.wakeup import WakeupJobs  # of most sweeps there is nothing to ask

    try:
        alive: tuple[str, ...] | None = tuple(job.job for job in WakeupJobs(session, settings).alive())
    except SchedulerUnavailableError:
        alive = None
    return SupervisorStatus(last.number, False, alive, last.trouble, None)
