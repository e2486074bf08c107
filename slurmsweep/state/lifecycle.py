"""The words for what a trial and a sweep can be, and the questions asked of them.

The words are W&B's (``sweeps.run.RunState``, ``Sweep.state``), so that a W&B user knows them and exports agree.
"""

from __future__ import annotations

from enum import Enum


class TrialState(str, Enum):
    """State of a trial: that of its newest attempt, or pending when it waits for one."""

    PENDING = "pending"
    """Not started, or given back to be run again."""
    RUNNING = "running"
    """Claimed by an attempt whose end is not recorded."""
    FINISHED = "finished"
    """The command ended with exit code 0. Final: a finished trial is never run again."""
    FAILED = "failed"
    """The command ended by itself with another exit code."""
    CRASHED = "crashed"
    """It vanished or was cut off: killed by a signal, out of memory, out of time, node lost."""
    KILLED = "killed"
    """Ended on purpose: cancelled, interrupted, or stopped early."""
    PREEMPTED = "preempted"
    """Slurm took its node for another job, or requeued its job."""

    def has_ended(self) -> bool:
        """Return whether nothing more happens to the trial unless another attempt is asked for."""
        return self not in (TrialState.PENDING, TrialState.RUNNING)

    @property
    def can_retry(self) -> bool:
        """Whether another attempt of the trial may be asked for: it has ended and did not finish."""
        return self.has_ended() and self is not TrialState.FINISHED

    def __str__(self) -> str:
        """Return the bare word, for tables and messages."""
        return self.value


class SweepState(str, Enum):
    """State of a sweep; ``canceled`` has one L, as W&B's API spells it."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    CANCELED = "canceled"

    def __str__(self) -> str:
        """Return the bare word, for tables and messages."""
        return self.value
