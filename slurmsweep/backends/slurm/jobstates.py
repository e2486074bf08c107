"""The meaning of Slurm's words for a job: one total table. An unknown word raises and never has a default.

Source: https://slurm.schedmd.com/squeue.html#SECTION_JOB-STATE-CODES and https://slurm.schedmd.com/sacct.html (22.05
to 25.05).
"""

from __future__ import annotations

from typing import NamedTuple

from slurmsweep.backends.base import CUT_SHORT
from slurmsweep.errors import SchedulerError
from slurmsweep.state.lifecycle import TrialState


class Meaning(NamedTuple):
    """The meaning of one word for a job and its trial.

    Attributes:
        alive: the job runs, waits, or will run again.
        state: of the trial once the job is over; None while the job is alive.
        cause: beside the state; empty where the exit code tells more.
        waits: the job has not started, or was put back to start again.
    """

    alive: bool
    state: TrialState | None = None
    cause: str = ""
    waits: bool = False


_ALIVE = Meaning(alive=True)
_WAITING = Meaning(alive=True, waits=True)


def _over(state: TrialState, cause: str = "") -> Meaning:
    return Meaning(alive=False, state=state, cause=cause)


_TABLE = {
    # Waiting, for the first time or again.
    **dict.fromkeys(("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD"), _WAITING),
    **dict.fromkeys(("RESV_DEL_HOLD", "SPECIAL_EXIT"), _WAITING),
    # Running, or held up while running.
    **dict.fromkeys(("RUNNING", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "SUSPENDED"), _ALIVE),
    **dict.fromkeys(("POWER_UP_NODE", "EXPEDITING"), _ALIVE),
    # Its processes are being ended: over in a moment, but the final word is still to come.
    **dict.fromkeys(("COMPLETING", "UPDATE_DB"), _ALIVE),
    # Over.
    "COMPLETED": _over(TrialState.FINISHED),
    "FAILED": _over(TrialState.FAILED),
    "TIMEOUT": _over(TrialState.CRASHED, "timeout"),
    # The site's latest end time passed: a time limit by another name.
    "DEADLINE": _over(TrialState.CRASHED, "timeout"),
    "OUT_OF_MEMORY": _over(TrialState.CRASHED, "oom"),
    # The last three: the node failed before the job's first process.
    **dict.fromkeys(
        ("NODE_FAIL", "BOOT_FAIL", "LAUNCH_FAILED", "RECONFIG_FAIL"), _over(TrialState.CRASHED, "node_fail")
    ),
    "PREEMPTED": _over(TrialState.PREEMPTED, "preempted"),
    # The job moved to another cluster of a federation, under the same id.
    "REVOKED": _over(TrialState.PREEMPTED, "revoked"),
    "CANCELLED": _over(TrialState.KILLED, "cancelled"),
}

WORDS = tuple(_TABLE)

#: Seconds of its limit that a job had left at least where TIMEOUT means that its end was moved. A preempted job's grace
#: is such a new end (22.05 forgets why where the controller restarts meanwhile), and so is the end of a reservation.
#: Slurm rounds a limit that was moved up to the minute.
_NOT_THE_LIMIT = 90.0


def meaning(word: str) -> Meaning:
    """Return what a word of squeue or sacct means; ``CANCELLED by 1000`` and ``COMPLETED+`` are known too.

    Raises:
        SchedulerError: the word is not in the table, so nothing is concluded from it.
    """
    known = _TABLE.get(base_word(word))
    if known is None:
        raise SchedulerError(
            f"Slurm calls a job {word!r}, which this slurmsweep does not know: nothing was concluded from it"
        )
    return known


def is_alive(word: str) -> bool:
    """Return whether a job with that word waits or runs; False for a word that is not in the table."""
    known = _TABLE.get(base_word(word))
    return known is not None and known.alive


def base_word(word: str) -> str:
    """Return ``CANCELLED`` of ``CANCELLED by 1000``."""
    return word.split(" ", 1)[0].rstrip("+") if word else word


def outcome(
    word: str, exit_code: int | None, signal: int | None, left: float | None = None
) -> tuple[TrialState | None, str]:
    """Return state and cause of a trial whose job ended with that word, and its batch script with that status.

    ``left``: seconds of its time limit that the job did not use; None where that is not known.
    """
    said = meaning(word)
    if base_word(word) == "TIMEOUT" and left is not None and left > _NOT_THE_LIMIT:
        return TrialState.PREEMPTED, CUT_SHORT
    if said.state is TrialState.FAILED and signal:
        return TrialState.CRASHED, f"signal {signal}"
    if said.state is TrialState.FAILED:
        return TrialState.FAILED, f"exit {exit_code}"
    return said.state, said.cause
