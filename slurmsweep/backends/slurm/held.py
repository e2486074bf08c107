"""Jobs that Slurm itself put on hold: they wait for ever unless somebody lets them go."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slurmsweep.backends.base import JobRef, JobStatus

#: A node could not start the job (its prolog failed, a leftover of an earlier start was in the way).
_FAILED_LAUNCH = "launch failed requeued held"


def failed_launches(reports: Mapping[JobRef, JobStatus]) -> list[JobRef]:
    """Those that wait because a node failed to start them."""
    return [ref for ref, report in reports.items() if report.waits and report.reason == _FAILED_LAUNCH]
