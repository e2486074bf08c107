"""One trial and its attempts, as records tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.owner import Owner


@dataclass(slots=True)
class Attempt:
    """One execution of a trial, as far as records tell.

    Attributes:
        number: 1.. within the trial.
        token: the claim's random word; None while no claim record was seen.
        owner: of the claim.
        claimed: wall-clock time of the claim.
        outcome: None while no end is recorded.
        void: its maker never started it, and may not any more.
        rivals: tokens of other claims of the same attempt: never seen where ``mkdir`` is exclusive; ``check`` reports
            it.
    """

    number: int
    token: str | None = None
    owner: Owner | None = None
    claimed: float | None = None
    outcome: Outcome | None = None
    void: bool = False
    rivals: list[str] = field(default_factory=list)


class JobSpan(NamedTuple):
    """An attempt in a Slurm job.

    Attributes:
        job, task: which job: the array and its index, or a plain one.
        restart: which start of the job.
        seat: which of the agents that it ran side by side; None where it ran one.
        begun, ended: by the clock of its node; the same where it is not known how long the command ran.
        attempt_id: which attempt.
        cluster: of the job, as Slurm calls itself; None where that is not known.
    """

    job: str
    task: int | None
    restart: int
    seat: int | None
    begun: float
    ended: float
    attempt_id: AttemptId
    cluster: str | None = None


@dataclass(slots=True)
class Trial:
    """One point, with all its attempts.

    Attributes:
        number: 0.. in the sweep.
        attempts: by number. An attempt is here once any record speaks of it.
        allowed: the highest attempt number that may be claimed, whatever becomes of a submission.
        promised: attempt numbers that may be claimed, by the name of the array they were given back for; of one that
            Slurm refused there is none.
        deleted: a person took back the attempts up to this one, also where they finished.
    """

    number: int
    attempts: dict[int, Attempt] = field(default_factory=dict)
    allowed: int = 1
    deleted: int = 0
    promised: dict[str, int] = field(default_factory=dict)

    @property
    def open_to(self) -> int:
        """The highest attempt number that may be claimed now."""
        return max(self.allowed, *self.promised.values()) if self.promised else self.allowed

    @property
    def current(self) -> Attempt | None:
        """The newest attempt that was not voided."""
        real = [a for a in self.attempts.values() if not a.void]
        return max(real, key=lambda a: a.number, default=None)

    @property
    def outcome(self) -> Outcome | None:
        """The end of :attr:`current`; None while it has none."""
        current = self.current
        return current.outcome if current else None

    @property
    def newest(self) -> int:
        """The highest attempt number any record speaks of; 0 for none."""
        return max(self.attempts, default=0)

    @property
    def next_attempt(self) -> AttemptId:
        """The first attempt of which no record speaks."""
        return AttemptId(self.number, self.newest + 1)

    @property
    def state(self) -> TrialState:
        """Pending while an allowed attempt waits for its claim; else the word of the newest attempt."""
        current = self.current
        if current is None or self.open_to > self.newest:
            return TrialState.PENDING
        return current.outcome.state if current.outcome else TrialState.RUNNING

    @property
    def ended_at_rung(self) -> bool:
        """Whether it ran to its rung and no further, so that it may go on."""
        outcome = self.outcome
        return self.state is TrialState.FINISHED and bool(outcome and outcome.ended_at_rung)

    @property
    def is_done(self) -> bool:
        """Whether it is not run again unless a person names it: it has ended, and finished or was stopped early."""
        outcome = self.outcome
        return self.state.has_ended() and bool(outcome and outcome.is_done)

    def is_held_by_earlier(self, owner: Owner) -> bool:
        """Return whether the newest attempt is an earlier incarnation's of the same job, and the trial is to go on."""
        current = self.current
        if current is None or current.owner is None or self.is_done:
            return False
        return current.owner.same_job(owner) and current.owner.restart < owner.restart

    def spans(self) -> Iterator[JobSpan]:
        """Yield the spans of its attempts that Slurm jobs made."""
        for attempt in self.attempts.values():
            owner = attempt.owner
            if owner and owner.job:
                begun, seconds = attempt.claimed or 0.0, attempt.outcome.seconds if attempt.outcome else None
                ended, attempt_id = begun + (seconds or 0.0), AttemptId(self.number, attempt.number)
                yield JobSpan(owner.job, owner.task, owner.restart, owner.seat, begun, ended, attempt_id, owner.cluster)

    @property
    def cause(self) -> str:
        """The cause beside the state; for a pending trial, why its last attempt ended."""
        outcome = self.outcome
        return outcome.cause if outcome else ""
