"""What attempts asked for and what they used: from what agents recorded, and from accounting where there is any."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.backends.base import Asked
from slurmsweep.backends.keys import JobRef, job_key
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import RUNG
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from slurmsweep.backends.base import Account, Options
    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.replay import Submission, SweepView
    from slurmsweep.state.submissions import SubmissionFiles
    from slurmsweep.state.trial import Attempt, JobSpan


class Usage(NamedTuple):
    """One attempt that ended.

    Attributes:
        trial, attempt: which one.
        state, cause: how it ended.
        job: ``123_4``; None for a local process.
        asked_minutes, asked_mib, asked_cpus: of its job, or its share where a job ran several trials; None where
            neither the submission nor accounting says it.
        seconds: that the command ran; None where no agent saw its end.
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
        """Return whether its time limit cut it off."""
        return self.state is TrialState.CRASHED and self.cause == "timeout"

    @property
    def is_out_of_memory(self) -> bool:
        """Return whether it, or a process that it started, was killed because it needed more memory."""
        return self.cause == "oom"

    @property
    def least_seconds(self) -> float | None:
        """Seconds it needs at least, where its time limit cut it off: what it ran, else its limit."""
        if not self.is_timeout:
            return None
        limit = None if self.asked_minutes is None else self.asked_minutes * 60
        return limit if self.seconds is None else self.seconds

    @property
    def least_mib(self) -> float | None:
        """MiB it needs at least, where it ran out of memory."""
        return _largest(self.max_rss_mib, self.asked_mib) if self.is_out_of_memory else None


class _Share(NamedTuple):
    """The part of a job that falls to one of several attempts: of its time (in turn), of its width (at once)."""

    time: float = 1.0
    width: float = 1.0


class Ledger:
    """Usages of a sweep's trials, looked up one trial at a time: a million of them are never held together.

    Args:
        view: the journal's state.
        ended: ends that witnesses know and the journal does not.
        accounts: what accounting knows, by job.
        asked: tells what a job with the options of a submission asks for: that of the backend.
        documents: of the submissions, for those whose options did not fit in the journal's record.
        among: numbers of the trials that may be looked up; None for all, which costs a pass over them. Of jobs that
            ran several trials, only those among these are seen.
        here: this cluster, where the ids of others' jobs are other jobs'.
    """

    def __init__(  # noqa: PLR0913 - all that knows of jobs
        self,
        view: SweepView,
        ended: Mapping[AttemptId, Outcome],
        accounts: Mapping[JobRef, Account],
        asked: Callable[[Options], Asked],
        among: Iterable[int] | None = None,
        *,
        documents: SubmissionFiles | None = None,
        here: str,
    ) -> None:
        self._view = view
        self._ended = ended
        self._accounts = accounts
        self._here = here
        taken = [submission for submission in view.submissions.values() if submission.job]
        self._named = {one.name: asked(_options(one, documents)) for one in taken}
        self._submitted = {job_key(one.job or "", one.cluster, here): self._named[one.name] for one in taken}
        self._shares: dict[AttemptId, _Share] = {}
        self._last: set[AttemptId] = set()
        by_job: defaultdict[JobRef, list[JobSpan]] = defaultdict(list)
        for span in view.trials.spans() if among is None else (s for n in among for s in view.trials[n].spans()):
            by_job[JobRef(job_key(span.job, span.cluster, here), span.task)].append(span)
        for spans in by_job.values():
            spans.sort(key=lambda span: (span.restart, span.begun, span.attempt_id))
            self._shares.update(_shares(spans))
            self._last.add(spans[-1].attempt_id)

    def all(self) -> Iterator[list[Usage]]:
        """Yield the usages of each trial with an attempt that ended, by number of the trial."""
        return (usages for number in self._view.trials if (usages := self.of(number)))

    def of(self, number: int) -> list[Usage]:
        """Return the usages of a trial's attempts that ended, oldest first; none for a trial without a record."""
        trial = self._view.trials.get(number)
        attempts = [trial.attempts[attempt] for attempt in sorted(trial.attempts)] if trial else []
        return [usage for attempt in attempts if (usage := self._usage(number, attempt))]

    def of_rung(self, rung: int) -> LedgerOfRung:
        """Return the usages of attempts that ran to one rung, of a sweep with rungs."""
        return LedgerOfRung(self, rung)

    def _usage(self, number: int, attempt: Attempt) -> Usage | None:
        attempt_id = AttemptId(number, attempt.number)
        outcome = attempt.outcome or self._ended.get(attempt_id)
        if outcome is None or attempt.void:
            return None
        owner = attempt.owner
        ref = JobRef.of(owner, self._here) if owner and owner.job and not outcome.origin else None
        account = self._accounts.get(ref) if ref else None
        # accounting knows a job as a whole, and its last start only: what it used is that of one attempt at most
        own = account if attempt_id in self._last and attempt_id not in self._shares else None
        wanted = self._wanted(owner.submission if owner else None, ref, account)
        share = self._shares.get(attempt_id, _Share())
        return Usage(
            trial=number,
            attempt=attempt.number,
            state=outcome.state,
            cause=outcome.cause,
            job=str(ref) if ref else None,
            asked_minutes=_part(wanted.time, share.time),
            asked_mib=_part(wanted.mem, share.width),
            asked_cpus=_part(wanted.cpus, share.width),
            seconds=own.elapsed if own and outcome.seconds is None else outcome.seconds,
            held_seconds=_largest(outcome.seconds, own.elapsed if own else None),
            cpu_seconds=_largest(outcome.cpu_seconds, own.cpu_seconds if own else None),
            max_rss_mib=_largest(outcome.max_rss_mb, own.max_rss if own else None),
            origin=outcome.origin,
            has_job_alone=bool(ref and owner and owner.seat is None and attempt_id not in self._shares),
        )

    def _wanted(self, submission: str | None, ref: JobRef | None, account: Account | None) -> Asked:
        """Return what a job asks for.

        A claim that names its submission is of a service: such jobs cannot be changed, and the service may not know
        them any more. So what the submission asks for counts, if it says anything. Of other jobs accounting counts,
        which knows jobs submitted by hand and later changes. A row that slurmdbd has only half written (``||16?|``)
        leaves what the submission asked for.
        """
        named = self._named.get(submission or "", Asked())
        if named != Asked():
            return named
        submitted = self._submitted.get(ref.job) if ref else None
        if account is None or (submitted and account.minutes is None and account.mem is None):
            return submitted or Asked()
        return Asked(account.minutes, account.mem, account.cpus)


class LedgerOfRung(NamedTuple):
    """Usages of those attempts of a sweep's trials that ran to one rung.

    Attributes:
        ledger: of all attempts.
        rung: its index.
    """

    ledger: Ledger
    rung: int

    def of(self, number: int) -> list[Usage]:
        """Return as :meth:`Ledger.of`. Each attempt that ended at its rung is followed by those to the next one."""
        found, rung = [], 0
        for usage in self.ledger.of(number):
            if rung == self.rung:
                found.append(usage)
            rung += usage.cause.startswith(f"{RUNG} ")
        return found

    def of_rung(self, rung: int) -> LedgerOfRung:
        """Return the usages of attempts that ran to another rung."""
        return self._replace(rung=rung)


def _options(submission: Submission, documents: SubmissionFiles | None) -> Options:
    """Return all options of a submission: as the journal has them, else as its document has them."""
    document = documents.read(submission.name) if documents and submission.asked is None else None
    return document.options if document else submission.asked or {}


def _shares(spans: Sequence[JobSpan]) -> Iterator[tuple[AttemptId, _Share]]:
    """Yield the shares of attempts in one job, sorted by its starts; none for an attempt that had a start alone.

    The job's width is divided among its seats; each has the whole time, for its attempts one after the other. Without
    seats the width is divided by the largest number of attempts that ran at once.
    """
    for _, group in groupby(spans, key=lambda span: span.restart):
        together = list(group)
        in_seat = Counter(span.seat for span in together)
        if len(together) > 1 and None not in in_seat:
            for span in together:
                yield span.attempt_id, _Share(time=1 / in_seat[span.seat], width=1 / len(in_seat))
        elif len(together) > 1:
            at_once = max(sum(other.begun <= span.begun < other.ended for other in together) for span in together) or 1
            for span in together:
                yield span.attempt_id, _Share(time=at_once / len(together), width=1 / at_once)


def _part(value: float | None, share: float) -> float | None:
    return None if value is None else value if share == 1 else value * share


def _largest(*values: float | None) -> float | None:
    return max((value for value in values if value is not None), default=None)
