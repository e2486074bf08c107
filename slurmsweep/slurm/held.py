"""Jobs that Slurm itself put on hold: they wait for ever unless somebody lets them go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.slurm.commands import call
from slurmsweep.slurm.queue import TaskRef

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: A node could not start the job (its prolog failed, a leftover of an earlier start was in the way).
_FAILED_LAUNCH = "launch failed requeued held"


def failed_launches(arrays: Sequence[str]) -> list[TaskRef]:
    """Elements that wait because a node failed to start them. One squeue call; none where it says nothing.

    Raises:
        SchedulerUnavailableError: squeue could not be run.
    """
    if not arrays:
        return []
    done = call("squeue", "-h", "-a", "-r", "-t", "PD", "-j", ",".join(arrays), "-o", "%F|%K|%r")
    return list(parse_held(done.stdout))


def parse_held(text: str) -> Iterator[TaskRef]:
    """Lines such as ``19|7|launch failed requeued held`` and ``30|N/A|Priority``."""
    for line in text.splitlines():
        array, _, rest = line.strip().partition("|")
        index, _, reason = rest.partition("|")
        if reason == _FAILED_LAUNCH:
            yield TaskRef(array, int(index) if index.isdecimal() else None)
