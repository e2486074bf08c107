"""What the words of AWS Batch mean for a job and its trial: one total table, read by :mod:`.words`.

Sources: the model of Batch in botocore (``JobStatus``); AWS Batch User Guide, "Job states", "Automated job retries",
"Jobs stuck in RUNNABLE status"; texts that were seen in public issues (marked so in docs/aws.md).
"""

from __future__ import annotations

from slurmsweep.backends.aws import words
from slurmsweep.backends.aws.client import TITLES
from slurmsweep.backends.base import Wait
from slurmsweep.state.lifecycle import TrialState

SOURCE = TITLES["batch"]

#: ``FAILED`` is any other end: :func:`batch_job` reads the reasons.
_STATES = {
    **dict.fromkeys(("SUBMITTED", "PENDING", "RUNNABLE"), words.WAITING),
    **dict.fromkeys(("STARTING", "RUNNING"), words.RUNNING),
    "SUCCEEDED": words.over(TrialState.FINISHED),
    "FAILED": words.LOST,
}

#: States of a job that lives, in the order of its life, and those in which it is over.
LIVE = tuple(word for word, said in _STATES.items() if said.alive)
OVER = tuple(word for word, said in _STATES.items() if not said.alive)

_REASONS = (
    words.Row(words.OUR_ORDER, words.CANCELLED),
    *words.CONTAINER_ENDED,
    words.Row("Job attempt duration exceeded timeout", words.TIMED_OUT),
    *words.CONTAINER_NOT_STARTED,
)


def batch_job(
    status: str, reason: str = "", container_reason: str = "", exit_code: int | None = None, *, by_order: bool = False
) -> words.Said:
    """Return what Batch says of a job.

    Args:
        status: of the job.
        reason: its ``statusReason``.
        container_reason: ``container.reason``.
        exit_code: ``container.exitCode``; None where it is missing.
        by_order: ``isTerminated`` or ``isCancelled``: a person ended it, with any reason.

    Raises:
        SchedulerError: there is no such state.
    """
    said = words.looked_up(_STATES, status, SOURCE)
    if said is not words.LOST:
        return said
    if by_order:
        return words.CANCELLED
    if found := words.by_reason(_REASONS, container_reason, reason):
        return found
    said = words.by_exit_code(exit_code)
    return said if said.state is not TrialState.FINISHED else words.LOST


_HELP_QUEUE = "`slurmsweep cancel {sweep}`, then `slurmsweep resubmit {sweep} --queue OTHER`"

_WAITS = (
    ("CAPACITY:", Wait("AWS has no such machine free in the zones of the queue", f"if it lasts, {_HELP_QUEUE}")),
    (
        "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE",
        Wait(
            "no compute environment of the queue may have as many CPUs as the job asks for",
            "raise its maxvCpus; or cancel, and submit again with fewer --cpus-per-task",
            is_stuck=True,
        ),
    ),
    (
        "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
        Wait(
            "no machine of the queue has the CPUs, memory or GPUs that the job asks for",
            f"{_HELP_QUEUE}, or ask for less",
            is_stuck=True,
        ),
    ),
    (
        "MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS",
        Wait("Batch's own role lacks a permission", "`slurmsweep doctor --backend batch`", is_stuck=True),
    ),
    (
        "MISCONFIGURATION:",
        Wait("the queue, its compute environment or the job is set up wrongly", _HELP_QUEUE, is_stuck=True),
    ),
    (
        "ACTION_REQUIRED",
        Wait("the queue's compute environment needs mending", "`slurmsweep doctor --backend batch`", is_stuck=True),
    ),
    ("UNDETERMINED", Wait("Batch does not know why", "`slurmsweep doctor --backend batch`")),
)


def wait_for(reason: str) -> Wait | None:
    """Return what the reason of a job that waits means; None where it is not known, so that it is shown as it is."""
    return next((wait for begins, wait in _WAITS if reason.startswith(begins)), None)
