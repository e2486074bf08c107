"""Records to state: the only place where a record changes what a trial is.

The replay is the truth, and it needs no order between writers: claims and outcomes are kept by (trial, attempt), and
whatever two records could disagree on is decided by what they say, not by which came first. So a record that a slow
client wrote late cannot undo anything.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from slurmsweep.state.band_values import BandValues
from slurmsweep.state.chosen import ChosenPoint, ChosenPoints
from slurmsweep.state.fields import WrongFieldError, text
from slurmsweep.state.journal import SEAL, decode, decode_all
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.outcome import BY_SCHEDULER
from slurmsweep.state.records import (
    DELETED,
    BandRecord,
    ClaimRecord,
    EndRecord,
    OrderRecord,
    RetryRecord,
    SubmitRecord,
    VoidRecord,
)
from slurmsweep.state.tail import AttemptId, Head
from slurmsweep.state.trial import Attempt
from slurmsweep.state.trial_index import TrialIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from slurmsweep.state.journal import Journal, Record
    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.owner import Owner
    from slurmsweep.state.records import AnyRecord
    from slurmsweep.state.tail import TargetReached
    from slurmsweep.state.trial import Trial
    from slurmsweep.sweepfile.config import SweepConfig

#: How a line ends that a dying writer left open, and the next one closed.
_SEALED = SEAL.rstrip(b"\n")


class Expected(NamedTuple):
    """What the records of a sweep may speak of.

    Attributes:
        trials: their number; infinite where the search has no end.
        config: of the sweep, where claims keep points of it.
    """

    trials: float = math.inf
    config: SweepConfig | None = None

    def check(self, record: AnyRecord) -> None:
        """Raise WrongFieldError where a record speaks of a trial or a point that the sweep cannot have."""
        told = vars(record)
        attempts = [told[name] for name in ("attempt_id", "reached") if told.get(name)]
        for trial, _ in (*attempts, *told.get("attempt_ids", ())):
            if trial >= self.trials:
                raise WrongFieldError(f"trial {trial} is none of this sweep, which has {self.trials}")
        if told.get("chosen") and self.config:
            told["chosen"].check(self.config)


#: Of a journal whose sweep is not looked at.
ANYTHING = Expected()


@dataclass(slots=True)
class Submission:
    """One array handed to Slurm.

    Attributes:
        name: the unique job name, known before ``sbatch`` is called.
        tasks: number of array elements.
        job: Slurm's id; empty when Slurm refused; None when no answer was recorded: the job may exist all the same.
        asked: all sbatch options it was submitted with, by long name; None where the record does not say.
        template: of its batch script; None where the record does not say.
        wishes: those of the options that stood on the command line.
        agents: that each element runs side by side.
        again: trial and attempt of what was given back for it: it may be claimed unless Slurm refused the array.
        resumes: what the sweep was (paused, finished, canceled) until it ran again for this array; None where it ran.
        sequence: of its first record; -1 where that was not seen.
        cluster: Slurm's name of itself where it was submitted; empty where the record does not say.
        compared: ``asked`` is what Slurm said of the jobs, and is compared with its answers no more.
        wanted: trials that it is for; None for as many as its elements run.
    """

    name: str
    tasks: int
    job: str | None = None
    asked: dict[str, str | bool] | None = None
    template: str | None = None
    wishes: dict[str, str | bool] = field(default_factory=dict)
    agents: int = 1
    again: list[AttemptId] = field(default_factory=list)
    resumes: SweepState | None = None
    sequence: int = -1
    cluster: str = ""
    compared: bool = False
    wanted: int | None = None

    @property
    def trials(self) -> int:
        """Number of trials that its jobs run: the last of several packed jobs may not be full."""
        full = self.tasks * self.agents
        return full if self.wanted is None else min(self.wanted, full)

    def trials_of(self, task: int | None) -> int:
        """Return how many trials an element of the array runs."""
        if task is None:
            return self.agents
        return min(self.agents, max(1, self.trials - task * self.agents))


@dataclass
class SweepView:
    """State of a sweep after some records.

    Attributes:
        trials: those with records; a trial without any is pending and not here.
        submissions: by job name, in the order of the journal.
        latest: the head of the newest record, as it stands there.
        word: what was ordered last.
        damaged: numbers of lines that no reader can read and no writer sealed.
        wrong: what is wrong with lines whose checksum is right, by number. Of such a record nothing is taken in, or
            all but its head where that alone is wrong.
        sealed: number of torn lines their successor closed.
        word_sequence: of the record that ordered ``word``.
        chosen: points by trial, in the order of their claims, where the search chose them then.
        bands: what trials had at the bands of early termination.
        reached: the trial that ended the sweep by reaching its target; None where a person ordered ``word``.
        expected: what its records may speak of.
        thorough: look at every field of every record, where a large journal is read faster without.
    """

    trials: TrialIndex = field(default_factory=TrialIndex)
    submissions: dict[str, Submission] = field(default_factory=dict)
    latest: dict[str, Any] = field(default_factory=dict)
    word: SweepState | None = None
    damaged: list[int] = field(default_factory=list)
    sealed: int = 0
    word_sequence: int = -1
    chosen: ChosenPoints = field(default_factory=ChosenPoints)
    bands: BandValues = field(default_factory=BandValues)
    reached: TargetReached | None = None
    wrong: dict[int, str] = field(default_factory=dict)
    expected: Expected = ANYTHING
    thorough: bool = False

    def __post_init__(self) -> None:
        self.trials.end = self.expected.trials

    def take_in(self, lines: Sequence[bytes], first: int = 1) -> None:
        """Take in further lines of the journal.

        Args:
            lines: without their LF.
            first: number of the first of them, 1 for the first of the journal.
        """
        take_claim, take_end, is_quick = self._take_claim, self.trials.take_end, not self.thorough
        sound, newest = self.latest, first
        for number, (line, record) in enumerate(zip(lines, decode_all(lines), strict=True), first):
            if record is None:
                if line.endswith(_SEALED):
                    self.sealed += 1
                else:
                    self.damaged.append(number)
                continue
            op = record.get("op")
            if is_quick and ((op == "claim" and take_claim(record)) or (op == "end" and take_end(record))):
                self.latest, newest = record.get("h") or self.latest, number
                continue
            try:
                self.apply(record)
                sound = self.latest
            except WrongFieldError as error:
                self.wrong[number] = f"{op} record: {error}" if isinstance(op, str) else str(error)
        try:
            Head.from_json(self.latest)
        except WrongFieldError as error:
            self.latest, self.wrong[newest] = sound, str(error.below("h"))

    def _take_claim(self, record: Record) -> bool:
        """Take in the claim of a new trial as a row, with its point; return False, and do nothing, for any other."""
        if "p" not in record and "b" not in record:
            return self.trials.take_claim(record)
        try:
            chosen = ChosenPoint.from_json(record)
            if chosen and self.expected.config:
                chosen.check(self.expected.config)
        except WrongFieldError:
            return False
        if chosen is None or not self.trials.take_claim(record):
            return False
        self.chosen.take(record["t"], chosen)
        return True

    def apply(self, record: Record) -> None:
        """Take one record in. A kind that a newer version invented changes nothing here.

        Raises:
            WrongFieldError: a field of the record is not what it should be, and nothing was taken in; where that field
                is in its head, all the rest was.
        """
        head = record.get("h") or {}
        sequence = head.get("s") if isinstance(head, dict) else None
        known = _CHANGES.get(text(record.get("op")))
        if known is not None:
            kind, change = known
            told = kind.from_json(record)
            self.expected.check(told)
            change(self, told, sequence if isinstance(sequence, int) else -1)
        try:
            Head.from_json(head)
        except WrongFieldError as error:
            raise error.below("h") from None
        self.latest = head or self.latest

    def kept(self, number: int) -> dict[str, Any] | None:
        """Return what the claim of a trial keeps of its point; None where the point is given by the number."""
        return self.chosen[number].values if number in self.chosen else None

    @property
    def head(self) -> Head:
        """Of the newest record."""
        return Head.from_json(self.latest)

    def trial(self, number: int) -> Trial:
        """Return the trial of that number, known from now on, to be changed at once."""
        return self.trials.open(number)

    def attempt(self, attempt_id: AttemptId) -> Attempt:
        """Return that attempt, known from now on, to be changed at once."""
        return self.trial(attempt_id.trial).attempts.setdefault(attempt_id.attempt, Attempt(attempt_id.attempt))

    def job_ids(self) -> list[str]:
        """Return the jobs of submissions that a scheduler took, the oldest first."""
        return [submission.job for submission in self.submissions.values() if submission.job]

    def counts(self) -> dict[TrialState, int]:
        """Count trials by state, those with records only."""
        return self.trials.counts()

    def done(self) -> int:
        """Return how many trials are not run again unless a person names them: finished ones, and stopped early."""
        return self.counts().get(TrialState.FINISHED, 0) + len(self.trials.stopped_early())

    def first_attempt(self, number: int) -> int:
        """Return the first attempt of a trial that no person deleted: its run begins with that one."""
        trial = self.trials.get(number)
        return trial.deleted + 1 if trial else 1

    def bands_of(self, number: int) -> tuple[int, set[int]]:
        """Return the first attempt of a trial that no person deleted, and the bands recorded of it and later ones."""
        trial, first = self.trials.get(number), self.first_attempt(number)
        last = trial.newest if trial else 0
        told = (self.bands.of(AttemptId(number, attempt)) for attempt in range(first, last + 1))
        return first, {band for values in told for band in values}

    def values_at(self, band: int, besides: int) -> list[float]:
        """Return what the other trials than ``besides`` had at a band, whatever has become of them."""
        return self.bands.besides(besides, band, self.deleted())

    def deleted(self) -> dict[int, int]:
        """Return by trial the attempts, up to this one, that a person took back; those trials only that have some."""
        return self.trials.deleted()

    def waiting(self) -> list[AttemptId]:
        """Return the retries that were allowed and are not claimed, by number."""
        pending = (self.trials[number] for number in self.trials.in_state(TrialState.PENDING))
        return [AttemptId(trial.number, trial.open_to) for trial in pending if trial.open_to > trial.newest]

    def passed_over(self) -> list[AttemptId]:
        """Return the first attempts of trials below the next new one of which no record speaks."""
        below = int(min(self.head.next_trial, self.expected.trials))
        return [AttemptId(number, 1) for number in self.trials.unknown_below(below)]


class Reading:
    """A view that is brought up to date by reading only what was added to the journal.

    Args:
        journal: to read.
        view: of the lines before ``offset``.
        offset: where the next line begins.
        number: how many lines come before it.
        expected: what the records may speak of.

    Attributes:
        view: as of the last :meth:`refresh`. Another object where the journal was replaced.
        bytes_read: since this reading was made.
    """

    def __init__(
        self,
        journal: Journal,
        view: SweepView | None = None,
        offset: int = 0,
        number: int = 0,
        expected: Expected = ANYTHING,
    ) -> None:
        self._journal = journal
        self._file: tuple[int, int] | None = None
        self._expected = expected
        self.view = view or SweepView(expected=expected)
        self.offset, self.number = offset, number
        self.bytes_read = 0

    def refresh(self) -> SweepView:
        """Take in what was added; all of it where the file is another one or is shorter than it was.

        Raises:
            StateUnreadableError: the journal is missing, is not ours, or cannot be read.
        """
        with self._journal.opened() as file:
            status = os.fstat(file.fileno())
            identity = (status.st_dev, status.st_ino)
            if self._file not in (None, identity) or status.st_size < self.offset:
                self.view, self.offset, self.number = SweepView(expected=self._expected), 0, 0
            self._file = identity
            for lines in self._journal.blocks(file, self.offset):
                self.view.take_in(lines, self.number + 1)
                size = sum(map(len, lines)) + len(lines)
                self.bytes_read += size
                self.offset, self.number = self.offset + size, self.number + len(lines)
        return self.view


def view_after(journal: Journal, sequence: int, expected: Expected = ANYTHING) -> SweepView | None:
    """Return the state after the record with that sequence number: what a process knew that read up to it.

    None where no record of the journal has that number, such as in a journal that was rebuilt. 0 is before the first.

    Raises:
        StateUnreadableError: the journal is missing, is not ours, or cannot be read.
    """
    view = SweepView(expected=expected)
    if not sequence:
        return view
    with journal.opened() as file:
        for lines in journal.blocks(file):
            for line in lines:
                view.take_in([line])
                if view.latest.get("s") == sequence:
                    return view
    return None


def trials_of_job(journal: Journal, owner: Owner) -> Iterator[tuple[Reading, Trial]]:
    """Yield the trials that incarnations of a job claimed, the newest claim first; each with a reading.

    Reads the journal from its end: the view of the reading has what was recorded since that claim, and no more. The
    rest of the journal is searched for the number of the job and not decoded.
    """
    seen = set()
    with journal.opened() as file:
        known = file.seek(0, os.SEEK_END)
        reading = Reading(journal, SweepView(), known)
        for offset, claim in _claims_of_job(journal, file, owner):
            for lines in journal.blocks(file, offset, known):
                reading.view.take_in(lines)
            known = offset
            if claim.attempt_id.trial not in seen:
                seen.add(claim.attempt_id.trial)
                yield reading, reading.view.trials[claim.attempt_id.trial]


def last_owner_of_job(journal: Journal, owner: Owner) -> Owner | None:
    """Return the owner of the newest claim of incarnations of a job; None where it has none.

    The journal is searched from its end to that claim for the id of the job, and not decoded. Raises
    StateUnreadableError.
    """
    with journal.opened() as file:
        return next((claim.owner for _, claim in _claims_of_job(journal, file, owner)), None)


def _claims_of_job(journal: Journal, file: BinaryIO, owner: Owner) -> Iterator[tuple[int, ClaimRecord]]:
    """Yield the claims of incarnations of a job, the newest first, each with the offset of its record."""
    for offset, line in journal.lines_with(file, b'"job":' + json.dumps(owner.job).encode()):
        record = decode(line) or {}
        try:
            claim = ClaimRecord.from_json(record) if record.get("op") == ClaimRecord.op else None
        except WrongFieldError:
            continue  # as of a reading of the whole journal
        if claim is not None and claim.owner.same_job(owner):
            yield offset, claim


def _claim(state: SweepView, record: ClaimRecord, _: int) -> None:
    attempt = state.attempt(record.attempt_id)
    if attempt.token not in (None, record.token):
        if record.token not in attempt.rivals:
            attempt.rivals.append(record.token)
        return
    attempt.token, attempt.owner, attempt.claimed = record.token, record.owner, record.at
    if record.chosen:
        state.chosen.take(record.attempt_id.trial, record.chosen)


def _end(state: SweepView, record: EndRecord, _: int) -> None:
    attempt = state.attempt(record.attempt_id)
    if attempt.outcome is None or _weight(record.outcome) > _weight(attempt.outcome):
        attempt.outcome = record.outcome


def _weight(outcome: Outcome) -> tuple[int, float]:
    """Sort outcomes of one attempt: the heaviest stands, and of equal ones the first.

    What is finished, or was stopped early, stays so; else why Slurm ended it, over what the agent saw, over what others
    were asked.
    """
    if outcome.by == "agent":
        return (3 if outcome.is_done else 1), outcome.ended or 0.0
    return (2 if outcome.by in BY_SCHEDULER else 0), outcome.ended or 0.0


def _void(state: SweepView, record: VoidRecord, _: int) -> None:
    state.attempt(record.attempt_id).void = True
    trial = state.trial(record.attempt_id.trial)
    trial.allowed = max(trial.allowed, record.attempt_id.attempt + 1)


def _retry(state: SweepView, record: RetryRecord, _: int) -> None:
    if record.array:  # given back for an array, as long as Slurm has not refused that
        known = state.submissions.setdefault(record.array, Submission(record.array, 0))
        known.again += record.attempt_ids
        for number, attempt in record.attempt_ids:
            # known to a reader of the end of the journal alone: else the trial would look as if it had never begun
            state.attempt(AttemptId(number, attempt - 1))
        _keep_reserved(state, known, record.attempt_ids)
        return
    for number, attempt in record.attempt_ids:
        trial = state.trial(number)
        trial.allowed = max(trial.allowed, attempt)
        if record.why == DELETED:
            trial.deleted = max(trial.deleted, attempt - 1)


def _keep_reserved(state: SweepView, known: Submission, attempt_ids: Sequence[AttemptId]) -> None:
    """Let each of these trials know which attempt was promised for a submission; none for one that was refused."""
    for number, attempt in attempt_ids:
        promised = state.trial(number).promised
        if known.job == "":
            promised.pop(known.name, None)
        else:
            promised[known.name] = attempt


def _submit(state: SweepView, record: SubmitRecord, sequence: int) -> None:
    known = state.submissions.setdefault(record.name, Submission(record.name, record.tasks))
    known.tasks = record.tasks
    known.agents = record.agents or known.agents
    known.wanted = known.wanted if record.trials is None else record.trials
    known.cluster = record.cluster or known.cluster
    known.compared = record.compared or known.compared
    if record.job is not None:
        known.job = record.job
        _keep_reserved(state, known, known.again)
    else:
        known.resumes, known.sequence = record.resumes, sequence
    if record.asked is not None:
        known.asked, known.template, known.wishes = dict(record.asked), record.template, dict(record.wishes or {})


def _order(state: SweepView, record: OrderRecord, sequence: int) -> None:
    if sequence >= state.word_sequence:  # of two that knew the same the later one counts, as in the head
        state.word_sequence = sequence
        state.word = None if record.state is SweepState.RUNNING else record.state
        state.reached = record.reached


#: By kind of record: its class, and what it changes, given its sequence number.
_CHANGES: dict[str, tuple[Any, Callable[[SweepView, Any, int], None]]] = {
    ClaimRecord.op: (ClaimRecord, _claim),
    BandRecord.op: (BandRecord, lambda state, record, _: state.bands.take(record.attempt_id, record.values)),
    EndRecord.op: (EndRecord, _end),
    VoidRecord.op: (VoidRecord, _void),
    RetryRecord.op: (RetryRecord, _retry),
    SubmitRecord.op: (SubmitRecord, _submit),
    OrderRecord.op: (OrderRecord, _order),
}
