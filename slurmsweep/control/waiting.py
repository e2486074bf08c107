"""Why the jobs of a sweep wait, of what the scheduler said anyway: no question is asked for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from slurmsweep.backends.base import Wait, by_id
from slurmsweep.report.waiting import WaitingReason

if TYPE_CHECKING:
    from slurmsweep.backends.base import JobRef, JobStatus
    from slurmsweep.control.snapshot import Snapshot


def waiting_reasons(snapshot: Snapshot) -> tuple[WaitingReason, ...]:
    """Return why the sweep's jobs wait: those that never start as they are first, then in the order of their jobs.

    A start that was expected and has passed is not told.
    """
    now = time.strftime("%Y-%m-%dT%H:%M:%S")
    found: dict[tuple[Wait, str], list[tuple[JobRef, JobStatus]]] = {}
    waiting = [(ref, status) for ref, status in snapshot.named.items() if status.waits and status.reason]
    for ref, status in sorted(waiting, key=lambda pair: (by_id(pair[0].job), pair[0].task or 0)):
        found.setdefault((status.wait or Wait(""), status.reason), []).append((ref, status))
    reasons = (
        WaitingReason(reason, *wait, len(jobs), str(jobs[0][0]), starts if (starts := jobs[0][1].starts) > now else "")
        for (wait, reason), jobs in found.items()
    )
    return tuple(sorted(reasons, key=lambda reason: not reason.is_stuck))
