"""What the words of AWS's services mean for a job and its trial: what the tables of all services have in common.

Each service has one total table of the states that its own model knows, in a module beside this one (``batch_words``,
``ecs_words``, ``sagemaker_words``, ``ec2_words``); a state that is not in it raises, and has no default. Why a job
ended stands in texts that AWS may change: they are read by how they begin, the first row that fits counts, and a text
that fits none is shown as it stands.

Sources: texts of Amazon ECS that were seen in public issues (marked so in docs/aws.md).
"""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.backends.base import CANNOT_START
from slurmsweep.errors import SchedulerError
from slurmsweep.state.lifecycle import TrialState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: The reason of our own orders, which AWS gives back as the reason of the end.
OUR_ORDER = "slurmsweep cancel"


class Said(NamedTuple):
    """The meaning of what a service says of one job. Its fields are those of a :class:`.JobStatus` with these names.

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
NODE_FAIL = over(TrialState.CRASHED, "node_fail")
NEVER_STARTED = over(TrialState.CRASHED, CANNOT_START)
CANCELLED = over(TrialState.KILLED, "cancelled")
#: The service says that it is over, and not why.
LOST = over(TrialState.CRASHED, "lost")


class Row(NamedTuple):
    """One row of a table of reasons: the text, by how it begins, and the meaning."""

    begins: str
    said: Said


#: Texts of Amazon ECS about containers that it ended, and about those that it could not start. Batch, which runs its
#: jobs there, passes them on.
CONTAINER_ENDED = (
    Row("OutOfMemoryError", OUT_OF_MEMORY),  # counts before an exit code: some scripts end with one of their own
    Row("Host EC2", PREEMPTED),
    Row("Your Spot Task was interrupted", PREEMPTED),
)
CONTAINER_NOT_STARTED = (
    Row("Task failed to start", NEVER_STARTED),
    Row("CannotPullContainer", NEVER_STARTED),
    Row("CannotStartContainer", NEVER_STARTED),
    Row("CannotCreateContainer", NEVER_STARTED),
    Row("CannotInspectContainer", NEVER_STARTED),
    Row("DockerTimeoutError", NEVER_STARTED),
    Row("ResourceInitializationError", NEVER_STARTED),
)


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


def unsuccessful(ends: Iterable[Said]) -> Iterable[str]:
    """Return the cause of each end of a job that did not succeed; jobs that are alive have none."""
    return (said.cause for said in ends if said.state and said.state is not TrialState.FINISHED)


_INSTANCE = re.compile(r"\bi-[0-9a-f]{8,17}\b")


def instance_in(*texts: str) -> str:
    """Return the instance of EC2 that a text names; empty where none does."""
    return next((found[0] for text in texts if (found := _INSTANCE.search(text))), "")
