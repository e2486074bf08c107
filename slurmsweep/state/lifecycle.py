"""The words for what a trial and a sweep can be, and the questions asked of them.

The words are W&B's (``sweeps.run.RunState``, ``Sweep.state``), so that a W&B user knows them and exports agree.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Word(str, Enum):
    """A word that is written as it is, in tables and messages."""

    __str__ = str.__str__


class TrialState(_Word):
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


#: What ``run`` runs again without being asked: trials that were cut off. One that failed waits for ``resubmit``.
CUT_OFF = frozenset({TrialState.CRASHED, TrialState.KILLED, TrialState.PREEMPTED})


class SweepState(_Word):
    """State that is ordered of a sweep, and W&B's word for one; ``canceled`` has one L, as W&B's API spells it."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    CANCELED = "canceled"


class Standing(_Word):
    """What a sweep is doing, as people see it: an order says that it is over, but not that anything runs."""

    PENDING = "pending"
    """Nothing was started."""
    RUNNING = "running"
    """A trial runs, or a job waits in the queue."""
    IDLE = "idle"
    """Trials are open, and nothing runs or waits."""
    PAUSED = "paused"
    STOPPED = "stopped"
    """A person stopped it before all trials had ended."""
    FINISHED = "finished"
    """All trials have ended, or one reached the target."""
    CANCELED = "canceled"

    @classmethod
    def of_order(cls, order: SweepState) -> Standing:
        """Return what people call a sweep that was ordered so: one that a person finished was stopped."""
        return cls.STOPPED if order is SweepState.FINISHED else cls(order.value)

    def for_wandb(self) -> SweepState:
        """Return W&B's word: on W&B a sweep runs until it has finished or an order ends it."""
        others = {Standing.IDLE: SweepState.RUNNING, Standing.STOPPED: SweepState.FINISHED}
        return others.get(self) or SweepState(self.value)


def counts_in_words(counts: Mapping[TrialState, int], stopped_early: int, not_needed: int = 0) -> dict[str, int]:
    """Return counts by word for people, without zeros: of the killed, those that were stopped early have their own.

    ``stopped_early`` includes those that were ``not_needed``, which have a word of their own, too.
    """
    words = {state.value: n - (stopped_early if state is TrialState.KILLED else 0) for state, n in counts.items()}
    words |= {"stopped early": stopped_early - not_needed, "not needed": not_needed}
    return {word: n for word, n in words.items() if n}
