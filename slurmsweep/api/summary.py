"""A sweep as commands and programs show it: by the word of the scheduler, or without it where that does not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.control.jobs.waiting_reasons import waiting_reasons
from slurmsweep.control.snapshot import look, look_without_scheduler
from slurmsweep.errors import SchedulerUnavailableError
from slurmsweep.report.summary import SweepSummary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slurmsweep.control.session import Session
    from slurmsweep.control.snapshot import Snapshot


def summary_now(session: Session) -> tuple[SweepSummary, Snapshot]:
    """Return a sweep as it is now, and what was seen of it. Raises SchedulerUnavailableError."""
    session.refresh()
    snapshot = look(session)
    return _summary(session, snapshot, snapshot.jobs), snapshot


def summary_as_known(session: Session, say: Callable[[str], None]) -> tuple[SweepSummary, Snapshot]:
    """Return a sweep as it is now; where the scheduler cannot be asked, say so, and return what its journal says."""
    try:
        return summary_now(session)
    except SchedulerUnavailableError as error:
        say(f"{error}; trials that run or ended unseen are shown as the journal last knew them")
    snapshot = look_without_scheduler(session)
    return _summary(session, snapshot, None), snapshot


def _summary(session: Session, snapshot: Snapshot, jobs: Mapping[str, int] | None) -> SweepSummary:
    store = session.store
    return SweepSummary(store.layout, store.manifest, snapshot.view, snapshot.ended, jobs, waiting_reasons(snapshot))
