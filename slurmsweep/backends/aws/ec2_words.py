"""What EC2 says of a machine, and what that means for the trial that ran on it. Pure.

Source: EC2 API Reference, InstanceState and StateReason.
"""

from __future__ import annotations

from slurmsweep.backends.aws import words
from slurmsweep.backends.aws.client import TITLES
from slurmsweep.backends.base import JobStatus
from slurmsweep.errors import SchedulerError

#: Every state of a machine. One that shuts down or stops may still run processes, for minutes where it has GPUs: a
#: trial that is put back too early would run twice at a time.
_STATES = {
    "pending": words.WAITING,
    "running": words.RUNNING,
    "shutting-down": words.RUNNING,
    "stopping": words.RUNNING,
    "terminated": words.NODE_FAIL,
    "stopped": words.NODE_FAIL,
}

#: Beginnings of the codes by which AWS says that it took a Spot machine back.
_SPOT = ("Server.SpotInstanceTermination", "Server.SpotInstanceShutdown")

#: In the codes of machines whose memory was kept: their processes go on when they are started again.
_HIBERNATED = "Hibernat"

#: What is asked, for people.
_SOURCE = TITLES["ec2"]


def status(state: str, reason: str, node: str = "") -> JobStatus:
    """Return what a machine's state means for a trial on it.

    Args:
        state: ``InstanceState.Name``.
        reason: ``StateReason.Code``; empty where AWS says none.
        node: name of the machine.

    Raises:
        SchedulerError: EC2 has no such state that this version knows.
    """
    said = _STATES.get(state)
    if said is None:
        raise SchedulerError(f"{_SOURCE} says {state!a} of a machine: a newer slurmsweep may know that word")
    if state == "stopped" and _HIBERNATED in reason:
        said = words.RUNNING
    elif not said.alive and reason.startswith(_SPOT):
        said = words.PREEMPTED
    return JobStatus(word=state, exit_code=None, node=node, source=_SOURCE, reason=reason, **said._asdict())
