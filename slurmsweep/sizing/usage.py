"""What attempts asked for and what they used: from what agents recorded, and from accounting where there is some."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.backends.slurm.queue import JobRef
from slurmsweep.backends.slurm.resources import Asked, asked
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from slurmsweep.backends.slurm.accounting import Account
    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.trial import Attempt, JobSpan, Trial


class Usage(NamedTuple):
    """One attempt that ended.

    Attributes:
        trial, attempt: which.
        state, cause: how it ended.
        job: ``123_4``; None outside Slurm.
        asked_minutes, asked_mib, asked_cpus: of its job, or its share where a job ran several; None where nobody knows.
        seconds: that the command ran; None where nobody saw its end.
        held_seconds: that its job ran, where accounting knows; else the command's.
        cpu_seconds: used; of the whole job where accounting knows.
        max_rss_mib: the most that was seen: of the largest process by its agent, of the job by accounting (sampled).
        origin: ``<sweep>/<trial>`` where it was run, if that was another sweep.
        has_job_alone: no other attempt ran in that start of its job, nor had a seat beside it.
    """

    trial: int
    attempt: int
    state: TrialState
    cause: str
    job: str | None
    asked_minutes: float | None
    asked_mib: float | None
    asked_cpus: float | None
    seconds: float | None
    held_seconds: float | None
    cpu_seconds: float | None
    max_rss_mib: float | None
    origin: str | None = None
    has_job_alone: bool = False

    @property
    def is_timeout(self) -> bool:
        """It was cut off by its time limit."""
        return self.state is TrialState.CRASHED and self.cause == "timeout"

    @property
    def is_out_of_memory(self) -> bool:
        """It was cut off because it needed more memory."""
        return self.state is TrialState.CRASHED and self.cause == "oom"

    @property
    def least_seconds(self) -> float | None:
        """What it needed at least, where it was cut off by its time limit."""
        known = [value for value in (self.seconds, self._limit()) if value is not None]
        return max(known) if self.is_timeout and known else None

    @property
    def least_mib(self) -> float | None:
        """What it needed at least, where it ran out of memory."""
        known = [value for value in (self.max_rss_mib, self.asked_mib) if value is not None]
        return max(known) if self.is_out_of_memory and known else None

    def _limit(self) -> float | None:
        """Seconds of its limit, where no agent was left to say how long it ran."""
        return None if self.seconds is not None or self.asked_minutes is None else self.asked_minutes * 60


class _Share(NamedTuple):
    """What falls to one of several attempts of a job: of its time (one after the other), of its width (at once)."""

    time: float = 1.0
    width: float = 1.0


class Ledger:
    """Usages of a sweep's trials, looked up one at a time: a million of them are never held together.

    Args:
        view: the journal's state.
        ended: ends that witnesses know and the journal does not.
        accounts: what accounting knows.
        among: numbers of the trials that may be asked about; None for all, which costs a pass over them. Of jobs that
            ran several trials, only those among these are seen.
    """

    def __init__(
        self,
        view: SweepView,
        ended: Mapping[AttemptId, Outcome],
        accounts: Mapping[JobRef, Account],
        among: Iterable[int] | None = None,
    ) -> None:
        self._fold = view
        self._ended = ended
        self._accounts = accounts
        self._submitted = {s.job: asked(s.asked or {}) for s in view.submissions.values() if s.job}
        self._shares: dict[AttemptId, _Share] = {}
        self._last: set[AttemptId] = set()
        known = view.trials.spans() if among is None else (s for number in among for s in view.trials[number].spans())
        for stays in _by_job(known):
            self._shares.update(_shares(stays))
            self._last.add(stays[-1].attempt_id)

    def all(self) -> Iterator[list[Usage]]:
        """Of each trial with an attempt that ended, by number."""
        for number in self._fold.trials:
            usages = self.of(number)
            if usages:
                yield usages

    def of(self, number: int) -> list[Usage]:
        """Of the attempts of one trial that ended, oldest first."""
        trial = self._fold.trials.get(number)
        if trial is None:
            return []
        attempts = [trial.attempts[attempt] for attempt in sorted(trial.attempts)]
        return [usage for attempt in attempts if (usage := self._usage(trial, attempt))]

    def _usage(self, trial: Trial, attempt: Attempt) -> Usage | None:
        attempt_id = AttemptId(trial.number, attempt.number)
        outcome = attempt.outcome or self._ended.get(attempt_id)
        if outcome is None or attempt.void:
            return None
        owner = attempt.owner
        job = owner.job if owner and not outcome.origin else None
        account = self._accounts.get(JobRef(job, owner.task)) if owner and job else None
        # accounting knows a job as a whole, and its last start only: what it used is that of one attempt at most
        own = account if attempt_id in self._last and attempt_id not in self._shares else None
        wanted = self._asked(job, account)
        share = self._shares.get(attempt_id, _Share())
        return Usage(
            trial=attempt_id.trial,
            attempt=attempt_id.attempt,
            state=outcome.state,
            cause=outcome.cause,
            job=owner.job_name if owner and job else None,
            asked_minutes=_times(wanted.time, share.time),
            asked_mib=_times(wanted.mem, share.width),
            asked_cpus=_times(wanted.cpus, share.width),
            seconds=own.elapsed if own and outcome.seconds is None else outcome.seconds,
            held_seconds=_largest(outcome.seconds, own.elapsed if own else None),
            cpu_seconds=_largest(outcome.cpu_seconds, own.cpu_seconds if own else None),
            max_rss_mib=_largest(outcome.max_rss_mb, own.max_rss if own else None),
            origin=outcome.origin,
            has_job_alone=bool(job and owner and owner.seat is None and attempt_id not in self._shares),
        )

    def _asked(self, job: str | None, account: Account | None) -> Asked:
        """Accounting knows jobs that were submitted by hand, and what was changed while they waited.

        A row that slurmdbd has only half written (``||16?|``) leaves what the submission asked for.
        """
        wanted = self._submitted.get(job) if job else None
        if account is None or (wanted and account.minutes is None and account.mem is None):
            return wanted or Asked()
        return Asked(account.minutes, account.mem, account.cpus)


def _by_job(stays: Iterable[JobSpan]) -> Iterator[list[JobSpan]]:
    """For each job, the attempts it made, in their order; of one that was requeued, those of each start apart."""
    found: defaultdict[tuple[str, int | None], list[JobSpan]] = defaultdict(list)
    for stay in stays:
        found[stay.job, stay.task].append(stay)
    for same in found.values():
        same.sort(key=lambda stay: (stay.restart, stay.begun, stay.attempt_id))
        yield same


def _shares(stays: Sequence[JobSpan]) -> Iterator[tuple[AttemptId, _Share]]:
    """Of attempts that had a start of a job for themselves nothing is said: they share with nobody."""
    for _, group in groupby(stays, key=lambda stay: stay.restart):
        same = list(group)
        if len(same) > 1:
            yield from _by_seats(same) if all(stay.seat is not None for stay in same) else _by_clock(same)


def _by_seats(stays: Sequence[JobSpan]) -> Iterator[tuple[AttemptId, _Share]]:
    """Seats have the job's width among them and its whole time each, for the attempts of each one after the other."""
    attempts = Counter(stay.seat for stay in stays)
    for stay in stays:
        yield stay.attempt_id, _Share(time=1 / attempts[stay.seat], width=1 / len(attempts))


def _by_clock(stays: Sequence[JobSpan]) -> Iterator[tuple[AttemptId, _Share]]:
    """Where nobody had a seat, as many were side by side as there were at once."""
    together = max(sum(other.begun <= stay.begun < other.ended for other in stays) for stay in stays) or 1
    for stay in stays:
        yield stay.attempt_id, _Share(time=together / len(stays), width=1 / together)


def _times(value: float | None, share: float) -> float | None:
    return None if value is None else value if share == 1 else value * share


def _largest(*values: float | None) -> float | None:
    return max((value for value in values if value is not None), default=None)
