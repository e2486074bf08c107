"""The live elements of a sweep's arrays, as Slurm has them now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slurmsweep.launch.observe import running_attempts
from slurmsweep.slurm import queue

if TYPE_CHECKING:
    from slurmsweep.slurm.queue import TaskRef, TaskReport
    from slurmsweep.state.fold import Fold


@dataclass(frozen=True)
class Elements:
    """Live jobs of a sweep.

    Attributes:
        waiting: that have not started, or were put back.
        running: all others.
    """

    waiting: dict[TaskRef, TaskReport]
    running: dict[TaskRef, TaskReport]

    @property
    def arrays(self) -> tuple[str, ...]:
        """Ids of the arrays (or plain jobs) they belong to."""
        return tuple(sorted({ref.job for ref in (*self.waiting, *self.running)}, key=int))

    def waiting_in(self, job: str) -> list[int]:
        """Indexes of an array's elements that wait."""
        return [ref.task for ref in self.waiting if ref.job == job and ref.task is not None]

    def running_in(self, job: str) -> list[int]:
        """Indexes of an array's elements that run."""
        return [ref.task for ref in self.running if ref.job == job and ref.task is not None]


def live_elements(fold: Fold) -> Elements:
    """What Slurm still has of the arrays in the journal, and of jobs submitted by hand that hold trials.

    Raises:
        SchedulerUnavailableError: Slurm could not be asked.
    """
    submitted = {s.job for s in fold.submissions.values() if s.job}
    claiming = {a.owner.job for a in running_attempts(fold).values() if a.owner and a.owner.job}
    jobs = submitted | claiming
    live = {ref: report for ref, report in (queue.ask(jobs).tasks if jobs else {}).items() if report.alive}
    return Elements(
        {ref: report for ref, report in live.items() if report.waits},
        {ref: report for ref, report in live.items() if not report.waits},
    )
