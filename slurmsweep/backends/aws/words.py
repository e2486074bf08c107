"""What the words of AWS's services mean for a job and its trial: what all tables have in common, and that of Batch.

Each service has one total table of the states that its own model knows; a state that is not in it raises, and has no
default. Why a job ended stands in texts that AWS may change: they are read by how they begin, the first row that fits
counts, and a text that fits none is shown as it stands. Tables of other services are in modules of their own beside
this one (``ecs_words``, ``sagemaker_words``).

Sources: the model of Batch in botocore (``JobStatus``); AWS Batch User Guide, "Job states", "Automated job retries",
"Jobs stuck in RUNNABLE status"; texts that were seen in public issues (marked so in docs/aws.md).
"""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.backends.base import CANNOT_START, Wait
from slurmsweep.errors import SchedulerError
from slurmsweep.state.lifecycle import TrialState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: The reason of our own orders, which AWS gives back as the reason of the end.
OUR_ORDER = "slurmsweep cancel"


class Said(NamedTuple):
    """The meaning of what a service says of one job.

    Attributes:
        alive: the job runs, waits, or will run again.
        state: of the trial once the job is over; None while the job is alive.
        cause: beside the state; empty where the exit code tells more, or nothing does.
        waits: the job has not started, or was put back to start again.
    """

    alive: bool
    state: TrialState | None = None
    cause: str = ""
    waits: bool = False


WAITING, RUNNING = Said(alive=True, waits=True), Said(alive=True)


def over(state: TrialState, cause: str = "") -> Said:
    """Return what a job is whose trial ended so."""
    return Said(alive=False, state=state, cause=cause)


PREEMPTED = over(TrialState.PREEMPTED, "preempted")
OUT_OF_MEMORY = over(TrialState.CRASHED, "oom")
TIMED_OUT = over(TrialState.CRASHED, "timeout")
NEVER_STARTED = over(TrialState.CRASHED, CANNOT_START)
CANCELLED = over(TrialState.KILLED, "cancelled")
#: The service says that it is over, and not why.
LOST = over(TrialState.CRASHED, "lost")

#: How the texts of ECS begin where it could not start a container; Batch, which runs its jobs there, passes them on.
NOT_STARTED = (
    "Task failed to start",
    "CannotPullContainer",
    "CannotStartContainer",
    "CannotCreateContainer",
    "CannotInspectContainer",
    "DockerTimeoutError",
    "ResourceInitializationError",
)


class Row(NamedTuple):
    """One row of a table of reasons: the text, by how it begins, and the meaning."""

    begins: str
    said: Said


def by_reason(table: Sequence[Row], *texts: str) -> Said | None:
    """Return the meaning of the first row with which one of the texts begins; None where none fits."""
    return next((row.said for row in table for text in texts if text.startswith(row.begins)), None)


def by_exit_code(code: int | None) -> Said:
    """Return what a first process that ended with a code says of its trial; without one nothing is known.

    A process that ends for signal n has the code 128 + n, as a shell gives it.
    """
    if code is None:
        return LOST
    if code == 0:
        return over(TrialState.FINISHED)
    if 128 < code < 128 + signal.NSIG:
        return over(TrialState.CRASHED, f"signal {code - 128}")
    return over(TrialState.FAILED, f"exit {code}")


def looked_up(table: Mapping[str, Said], word: str, service: str) -> Said:
    """Return the meaning of a state.

    Raises:
        SchedulerError: the state is not in the table, so nothing is concluded from it.
    """
    if word not in table:
        raise SchedulerError(
            f"{service} calls a job {word!r}, which this slurmsweep does not know: nothing was concluded from it"
        )
    return table[word]


# AWS Batch

#: ``FAILED`` is any other end: :func:`batch_job` reads the reasons.
_BATCH = {
    **dict.fromkeys(("SUBMITTED", "PENDING", "RUNNABLE"), WAITING),
    **dict.fromkeys(("STARTING", "RUNNING"), RUNNING),
    "SUCCEEDED": over(TrialState.FINISHED),
    "FAILED": LOST,
}

#: States of a job that lives, in the order of its life; those in which it waits; and those in which it is over.
BATCH_LIVE = tuple(word for word, said in _BATCH.items() if said.alive)
BATCH_WAITING = tuple(word for word, said in _BATCH.items() if said.waits)
BATCH_OVER = tuple(word for word, said in _BATCH.items() if not said.alive)

_BATCH_REASONS = (
    Row(OUR_ORDER, CANCELLED),
    Row("OutOfMemoryError", OUT_OF_MEMORY),  # before exit codes: some scripts end with one of their own
    Row("Host EC2", PREEMPTED),
    Row("Your Spot Task was interrupted", PREEMPTED),
    Row("Job attempt duration exceeded timeout", TIMED_OUT),
    *(Row(begins, NEVER_STARTED) for begins in NOT_STARTED),
)


def batch_job(
    status: str, reason: str = "", container_reason: str = "", exit_code: int | None = None, *, by_order: bool = False
) -> Said:
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
    said = looked_up(_BATCH, status, "AWS Batch")
    if said is not LOST:
        return said
    if by_order:
        return CANCELLED
    found = by_reason(_BATCH_REASONS, container_reason, reason)
    if found:
        return found
    said = by_exit_code(exit_code)
    return said if said.state is not TrialState.FINISHED else LOST


_HELP_QUEUE = "`slurmsweep cancel {sweep}`, then `slurmsweep resubmit {sweep} --queue OTHER`"

_BATCH_WAITS = (
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


def batch_wait(reason: str) -> Wait | None:
    """Return what the reason of a job that waits means; None where it is not known, so that it is shown as it is."""
    return next((wait for begins, wait in _BATCH_WAITS if reason.startswith(begins)), None)


_INSTANCE = re.compile(r"\bi-[0-9a-f]{8,17}\b")


def instance_in(*texts: str) -> str:
    """Return the instance of EC2 that a text names; empty where none does."""
    return next((found[0] for text in texts if (found := _INSTANCE.search(text))), "")
