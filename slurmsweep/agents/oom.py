"""Say that a trial ran out of memory where only its container knows: the kernel's counter of processes it killed.

To the agent such a kill is a signal 9 as any other. On Slurm accounting tells the two apart, and several trials may
share the cgroup of a job; nothing here is loaded there. A container of Batch, ECS or SageMaker usually runs one trial
at a time, and what the service says of it is forgotten after hours (ECS) or days.

Source: the kernel's cgroup-v2.rst, ``memory.events``, and cgroup-v1/memory.rst, ``memory.oom_control``: ``oom_kill``.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from slurmsweep.state.lifecycle import TrialState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.owner import Owner

#: First words of the clusters whose jobs are containers. The agents of an EC2 machine share it with others.
_CONTAINERS = ("batch", "ecs", "sagemaker")

_CGROUPS, _OWN = "/sys/fs/cgroup", "/proc/self/cgroup"


class MemoryKills:
    """The processes that the kernel killed in this container since this object was made.

    Limit: none are known where the container shows no counter, and where the kernel killed the agent, too.

    Args:
        owner: of the attempt that is about to run.
        is_alone: no other trial runs in the container meanwhile.
    """

    def __init__(self, owner: Owner, *, is_alone: bool) -> None:
        is_container = owner.service in _CONTAINERS
        self._before = killed() if is_container else None
        self._doubtful = ("signal ", "exit ") if is_alone else ("signal 9",)

    def judged(self, outcome: Outcome) -> Outcome:
        """Return the outcome; its cause is ``oom`` where the trial ended badly by itself and processes were killed.

        A script of which a worker was killed ends with an exit code of its own: it has failed, and the cause is the
        memory. One that was asked to stop keeps that cause, and one that finished has none. Beside other trials only
        one that was killed itself counts: the exit code may have another reason than the kill.
        """
        has_ended_badly = outcome.state in (TrialState.CRASHED, TrialState.FAILED)
        if self._before is None or not (has_ended_badly and outcome.cause.startswith(self._doubtful)):
            return outcome
        after = killed()
        return outcome._replace(cause="oom") if after is not None and after > self._before else outcome


def killed(cgroups: str = _CGROUPS, own: str = _OWN) -> int | None:
    """Return how many processes of this cgroup the kernel has killed for memory so far; None where it does not say."""
    for path in _counters(cgroups, own):
        with suppress(OSError), open(path, encoding="ascii", errors="replace") as file:
            for line in file:
                name, _, count = line.strip().partition(" ")
                if name == "oom_kill" and count.isdecimal():
                    return int(count)
    return None


def _counters(cgroups: str, own: str) -> Iterator[str]:
    """Yield the files that may have the counter, the likeliest first.

    In a container the mounted tree usually begins at its own cgroup, and the path that ``/proc/self/cgroup`` says is
    the host's; where it begins above, the path is below it.
    """
    lines: list[str] = []
    with suppress(OSError), open(own, encoding="utf-8", errors="surrogateescape") as file:
        lines = file.read().splitlines()
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if "memory" in controllers.split(","):
            tree, name = f"{cgroups}/memory", "memory.oom_control"
        elif not controllers:
            tree, name = cgroups, "memory.events"
        else:
            continue
        yield f"{tree}{path.rstrip('/')}/{name}"
        yield f"{tree}/{name}"
