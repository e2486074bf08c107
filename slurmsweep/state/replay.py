"""Records to state: the only place where a record changes what a trial is.

The fold is the truth, and it needs no order between writers: claims and outcomes are kept by (trial, attempt), and
whatever two records could disagree on is decided by what they say, not by which came first. So a record that a slow
client wrote late cannot undo anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.tail import AttemptId, JournalTail
from slurmsweep.state.trial import Attempt
from slurmsweep.state.trials import Trials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from slurmsweep.state.journal import Journal, Line, Record
    from slurmsweep.state.trial import Trial


#: Why a retry was allowed, where a person took the earlier attempts back.
DELETED = "deleted"


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
    """

    name: str
    tasks: int
    job: str | None = None
    asked: dict[str, str | bool] | None = None
    template: str | None = None
    wishes: dict[str, str | bool] = field(default_factory=dict)
    agents: int = 1
    again: list[tuple[int, int]] = field(default_factory=list)
    resumes: str | None = None
    sequence: int = -1
    cluster: str = ""


@dataclass
class SweepView:
    """State of a sweep after some records.

    Attributes:
        trials: those with records; a trial without any is pending and not here.
        submissions: by job name, in the order of the journal.
        latest: the head of the newest record, as it stands there.
        word: what a person ordered last.
        damaged: lines that no reader can read and no writer sealed.
        sealed: number of torn lines their successor closed.
        word_sequence: of the record that ordered ``word``.
    """

    trials: Trials = field(default_factory=Trials)
    submissions: dict[str, Submission] = field(default_factory=dict)
    latest: dict[str, Any] = field(default_factory=dict)
    word: SweepState | None = None
    damaged: list[Line] = field(default_factory=list)
    sealed: int = 0
    word_sequence: int = -1

    def add(self, lines: Iterable[Line]) -> SweepView:
        """Take further lines in; itself, for chaining."""
        for line in lines:
            if line.record is not None:
                self.apply(line.record)
            elif line.sealed:
                self.sealed += 1
            else:
                self.damaged.append(line)
        return self

    def apply(self, record: Record) -> None:
        """Take one record in. A kind that a newer version invented changes nothing here."""
        change = _CHANGES.get(record["op"])
        if change is not None:
            change(self, record)
        head = record.get("h")
        if head is not None:
            self.latest = head

    @property
    def head(self) -> JournalTail:
        """Of the newest record."""
        return JournalTail.from_json(self.latest)

    def trial(self, number: int) -> Trial:
        """The trial of that number, known from now on, to be changed."""
        return self.trials.open(number)

    def attempt(self, attempt_id: AttemptId) -> Attempt:
        """The attempt of that slot, known from now on."""
        return self.trial(attempt_id.trial).attempts.setdefault(attempt_id.attempt, Attempt(attempt_id.attempt))

    def job_ids(self) -> list[str]:
        """Return the jobs of submissions that a scheduler took, the oldest first."""
        return [submission.job for submission in self.submissions.values() if submission.job]

    def counts(self) -> dict[TrialState, int]:
        """Trials by state, those with records only."""
        return self.trials.counts()

    def waiting(self) -> list[AttemptId]:
        """Retries that were allowed and that nobody claimed, by number."""
        found = (t for t in self.trials.unsettled() if t.open_to > t.newest)
        return [AttemptId(t.number, t.open_to) for t in found]

    def passed_over(self) -> list[AttemptId]:
        """First attempts of trials below the next new one of which no record speaks: their makers died before it."""
        return [AttemptId(number, 1) for number in self.trials.unknown_below(self.head.next_trial)]


class Reading:
    """A fold, and how far in the journal it goes.

    Args:
        view: of the lines so far.
        offset: of the next line.
        number: of lines so far.
    """

    def __init__(self, view: SweepView, offset: int = 0, number: int = 0) -> None:
        self.view, self.offset, self.number = view, offset, number

    def read_on(self, journal: Journal) -> Reading:
        """Take in what was added; itself, for chaining. Raises StateUnreadableError."""
        for line in journal.lines(self.offset, self.number):
            self.view.add([line])
            self.offset, self.number = line.end, line.number
        return self


def _claim(state: SweepView, record: Record) -> None:
    attempt = state.attempt(AttemptId(record["t"], record["a"]))
    if attempt.token not in (None, record["k"]):
        _keep_rival(attempt, record["k"])
        return
    attempt.token = record["k"]
    attempt.owner = Owner.from_json(record["o"])
    attempt.claimed = record.get("at")


def _keep_rival(attempt: Attempt, token: str) -> None:
    if token not in attempt.rivals:
        attempt.rivals.append(token)


def _end(state: SweepView, record: Record) -> None:
    attempt = state.attempt(AttemptId(record["t"], record["a"]))
    outcome = Outcome.from_json(record["out"])
    if attempt.outcome is None or _weight(outcome) > _weight(attempt.outcome):
        attempt.outcome = outcome
    state.trials.settle(record["t"])


def _weight(outcome: Outcome) -> tuple[int, float]:
    """What is finished stays finished; else why Slurm ended it, over what the agent saw, over what others were asked.

    Of equals the later word stands.
    """
    if outcome.by == "agent":
        return (3 if outcome.state is TrialState.FINISHED else 1), outcome.ended or 0.0
    return (2 if outcome.by == "slurm" else 0), outcome.ended or 0.0


def _void(state: SweepView, record: Record) -> None:
    state.attempt(AttemptId(record["t"], record["a"])).void = True
    trial = state.trial(record["t"])
    trial.allowed = max(trial.allowed, record["a"] + 1)


def _retry(state: SweepView, record: Record) -> None:
    if record.get("for"):
        _promise(state, record["for"], [tuple(pair) for pair in record["t"]])
        return
    for number, attempt in record["t"]:
        trial = state.trial(number)
        trial.allowed = max(trial.allowed, attempt)
        if record.get("why") == DELETED:
            trial.deleted = max(trial.deleted, attempt - 1)


def _promise(state: SweepView, name: str, attempt_ids: list[tuple[int, int]]) -> None:
    """What is given back for an array, as long as Slurm has not refused that."""
    known = state.submissions.setdefault(name, Submission(name, 0))
    known.again += attempt_ids
    for number, attempt in attempt_ids:
        # known to whoever reads the end of the journal alone: else the trial would look as if it had never begun
        state.attempt(AttemptId(number, attempt - 1))
    _keep_promise(state, known, attempt_ids)


def _keep_promise(state: SweepView, known: Submission, attempt_ids: list[tuple[int, int]]) -> None:
    for number, attempt in attempt_ids:
        promised = state.trial(number).promised
        if known.job == "":
            promised.pop(known.name, None)
            state.trials.settle(number)
        else:
            promised[known.name] = attempt


def _submit(state: SweepView, record: Record) -> None:
    known = state.submissions.setdefault(record["name"], Submission(record["name"], record["tasks"]))
    known.tasks = record["tasks"]
    known.agents = record.get("agents", known.agents)
    known.cluster = record.get("cluster", known.cluster)
    if record.get("job") is not None:
        known.job = record["job"]
        _keep_promise(state, known, known.again)
    else:
        known.resumes, known.sequence = record.get("resumes"), record.get("h", {}).get("s", -1)
    if record.get("asked") is not None:
        known.asked, known.template = record["asked"], record.get("template")
        known.wishes = record.get("wishes", {})


def _order(state: SweepView, record: Record) -> None:
    sequence = record["h"]["s"]
    if sequence > state.word_sequence:
        state.word_sequence = sequence
        word = SweepState(record["state"])
        state.word = None if word is SweepState.RUNNING else word


_CHANGES: dict[str, Callable[[SweepView, dict[str, Any]], None]] = {
    "claim": _claim,
    "end": _end,
    "void": _void,
    "retry": _retry,
    "submit": _submit,
    "sweep": _order,
}
