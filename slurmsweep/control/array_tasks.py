"""The live elements of a sweep's arrays, as Slurm has them now."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slurmsweep.backends.slurm import queue
from slurmsweep.backends.slurm.cluster import is_elsewhere, site_name
from slurmsweep.control.snapshot import running_attempts

if TYPE_CHECKING:
    from slurmsweep.backends.base import JobRef, JobStatus
    from slurmsweep.state.replay import SweepView


@dataclass(frozen=True)
class ArrayTasks:
    """Live jobs of a sweep.

    Attributes:
        waiting: that have not started, or were put back.
        running: all others.
        elsewhere: other clusters to which arrays were submitted, or that run trials: only there they can be asked.
    """

    waiting: dict[JobRef, JobStatus]
    running: dict[JobRef, JobStatus]
    elsewhere: tuple[str, ...] = ()

    @property
    def arrays(self) -> tuple[str, ...]:
        """Ids of the arrays (or plain jobs) they belong to."""
        return tuple(sorted({ref.job for ref in (*self.waiting, *self.running)}, key=int))

    @property
    def waiting_arrays(self) -> tuple[str, ...]:
        """Likewise of those that wait."""
        return tuple(sorted({ref.job for ref in self.waiting}, key=int))

    def waiting_in(self, job: str) -> list[int]:
        """Indexes of an array's elements that wait."""
        return [ref.task for ref in self.waiting if ref.job == job and ref.task is not None]

    def running_in(self, job: str) -> list[int]:
        """Indexes of an array's elements that run."""
        return [ref.task for ref in self.running if ref.job == job and ref.task is not None]


def live_elements(view: SweepView) -> ArrayTasks:
    """What Slurm still has of the arrays in the journal, and of jobs submitted by hand that hold trials.

    Jobs of another cluster are left out: here their ids are nobody's, or somebody else's.

    Raises:
        SchedulerUnavailableError: Slurm could not be asked.
    """
    by_cluster = jobs_by_cluster(view)
    jobs = by_cluster.pop("", set())
    live = {ref: report for ref, report in (queue.ask(jobs).tasks if jobs else {}).items() if report.alive}
    return ArrayTasks(
        {ref: report for ref, report in live.items() if report.waits},
        {ref: report for ref, report in live.items() if not report.waits},
        tuple(sorted(by_cluster)),
    )


def jobs_by_cluster(view: SweepView) -> dict[str, set[str]]:
    """Ids of arrays and jobs that may be alive, by the cluster they are of: this one's under the empty name."""
    known = [(s.cluster, s.job) for s in view.submissions.values() if s.job]
    owners = [a.owner for a in running_attempts(view).values() if a.owner and a.owner.job]
    known += [(owner.cluster or "", owner.job or "") for owner in owners]
    here = site_name() if any(cluster for cluster, _ in known) else ""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for cluster, job in known:
        found[cluster if is_elsewhere(cluster, here) else ""].add(job)
    return dict(found)
