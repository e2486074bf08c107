"""See who looks after a sweep that mends itself, without what it takes to submit anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.errors import SchedulerUnavailableError
from slurmsweep.state.mending import LastRound, Mending

if TYPE_CHECKING:
    from slurmsweep.state.store import SweepStore


class Attendance(NamedTuple):
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


def attendance(store: SweepStore) -> Attendance | None:
    """Who looks after a sweep that mends itself; None where it does not. One squeue call, unless it is over."""
    files = Mending(store.layout, store.access)
    settings = files.settings()
    if settings is None:
        return None
    last = files.last() or LastRound(0)
    report = store.layout.report_text if files.has_report() else None
    if report:
        return Attendance(last.number, True, (), last.trouble, report)
    from slurmsweep.mend.alarms import Alarms  # of most sweeps there is nothing to ask

    try:
        alive: tuple[str, ...] | None = tuple(a.job for a in Alarms(store, settings, {}).alive())
    except SchedulerUnavailableError:
        alive = None
    return Attendance(last.number, False, alive, last.trouble, None)
