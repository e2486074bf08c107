"""What the words of Amazon ECS mean for a task and its trial: one total table, read by :mod:`.words`.

Codes come first, then texts by how they begin. A text that is in no table is the cause as it stands.

Sources: the model of ECS in botocore (``TaskStopCode``); Amazon ECS Developer Guide, "Amazon ECS task lifecycle",
"Amazon ECS stopped tasks error messages"; texts that were seen in public issues (marked so in docs/aws.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.backends.aws import words
from slurmsweep.backends.aws.client import TITLES
from slurmsweep.backends.aws.words import Row, over
from slurmsweep.errors import SchedulerError
from slurmsweep.state.lifecycle import TrialState

if TYPE_CHECKING:
    from slurmsweep.backends.aws.words import Said

SOURCE = TITLES["ecs"]

#: The longest text that becomes a cause.
_SHOWN = 200

#: ``lastStatus`` of a task in the order of its life. From DEACTIVATING on its containers are being ended: the reason is
#: still to come.
_LIFE = {
    **dict.fromkeys(("PROVISIONING", "PENDING"), words.WAITING),
    **dict.fromkeys(("ACTIVATING", "RUNNING", "DEACTIVATING", "STOPPING", "DEPROVISIONING"), words.RUNNING),
    **dict.fromkeys(("STOPPED", "DELETED"), words.LOST),
}

#: Texts that say more than the code beside them: of the container, of the task.
_REASONS = (
    *words.CONTAINER_ENDED,
    Row("Capacity is unavailable", over(TrialState.CRASHED, "no capacity")),
    *words.CONTAINER_NOT_STARTED,
)

#: ``stopCode``. None: the exit code of the container says it.
_CODES: dict[str, Said | None] = {
    "EssentialContainerExited": None,
    "TaskFailedToStart": words.NEVER_STARTED,
    "UserInitiated": words.CANCELLED,
    "ServiceSchedulerInitiated": words.CANCELLED,
    "SpotInterruption": words.PREEMPTED,
    "TerminationNotice": words.PREEMPTED,
    "InfrastructureHealth": words.NODE_FAIL,
}


def ecs_task(
    status: str, code: str = "", reason: str = "", container_reason: str = "", exit_code: int | None = None
) -> Said:
    """Return what ECS says of a task.

    Args:
        status: ``lastStatus``.
        code: ``stopCode``; empty where it is missing, as of tasks that run.
        reason: ``stoppedReason``.
        container_reason: ``containers[].reason`` of the agent's container.
        exit_code: its ``exitCode``; None where it is missing.

    Raises:
        SchedulerError: there is no such state, or no such code: nothing is concluded from it.
    """
    said = words.looked_up(_LIFE, status, SOURCE)
    if said.alive:
        return said
    if code and code not in _CODES:
        raise SchedulerError(
            f"{SOURCE} stopped a task with the code {code!r}, which this slurmsweep does not know: nothing was "
            "concluded from it"
        )
    by_code = _CODES.get(code)
    if by_code is words.CANCELLED or reason.startswith(words.OUR_ORDER):
        return words.CANCELLED
    by_text = words.by_reason(_REASONS, container_reason, reason)
    if by_text or by_code:
        return by_text or by_code or words.LOST
    if exit_code is not None:
        return words.by_exit_code(exit_code)
    text = container_reason or ("" if code else reason)  # beside a code the task's own text only repeats it
    return over(TrialState.CRASHED, text[:_SHOWN]) if text else words.LOST
