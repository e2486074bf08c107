"""What EC2 says of a machine, and what that means for the trial that ran on it. Pure.

Source: EC2 API Reference, InstanceState and StateReason.
"""

from __future__ import annotations

from typing import NamedTuple

from slurmsweep.backends.base import JobStatus
from slurmsweep.errors import SchedulerError
from slurmsweep.state.lifecycle import TrialState


class _Meaning(NamedTuple):
    """``alive``: processes of the machine may run. ``waits``: they have not started."""

    alive: bool
    waits: bool = False


#: Every state of a machine. One that shuts down or stops may still run processes, for minutes where it has GPUs: a
#: trial that is put back too early would run twice at a time.
_STATES = {
    "pending": _Meaning(alive=True, waits=True),
    "running": _Meaning(alive=True),
    "shutting-down": _Meaning(alive=True),
    "stopping": _Meaning(alive=True),
    "terminated": _Meaning(alive=False),
    "stopped": _Meaning(alive=False),
}

#: Beginnings of the codes by which AWS says that it took a Spot machine back.
_SPOT = ("Server.SpotInstanceTermination", "Server.SpotInstanceShutdown")

#: In the codes of machines whose memory was kept: their processes go on when they are started again.
_HIBERNATED = "Hibernat"

#: What is asked, for people.
_SOURCE = "Amazon EC2"


def status(state: str, reason: str, node: str = "") -> JobStatus:
    """Return what a machine's state means for a trial on it.

    Args:
        state: ``InstanceState.Name``.
        reason: ``StateReason.Code``; empty where AWS says none.
        node: name of the machine.

    Raises:
        SchedulerError: EC2 has no such state that this version knows.
    """
    meaning = _STATES.get(state)
    if meaning is None:
        raise SchedulerError(f"{_SOURCE} says {state!a} of a machine: a newer slurmsweep may know that word")
    if meaning.alive or (state == "stopped" and _HIBERNATED in reason):
        return JobStatus(state, True, None, "", None, node, _SOURCE, waits=meaning.waits, reason=reason)
    is_spot = reason.startswith(_SPOT)
    ended = TrialState.PREEMPTED if is_spot else TrialState.CRASHED
    return JobStatus(state, False, ended, "preempted" if is_spot else "node_fail", None, node, _SOURCE, reason=reason)
