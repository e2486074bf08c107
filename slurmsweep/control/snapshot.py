"""Find what became of attempts whose end is not recorded: gather every witness, judge, change nothing.

Witnesses, in this order: the outcome in the attempt's folder (the agent's own word), the process on this machine, the
scheduler. Silence is not a witness: where no witness can tell, the attempt counts as running.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.agents.identity import lives_here
from slurmsweep.backends.base import Answer, JobSource
from slurmsweep.backends.keys import JobRef, by_id, is_elsewhere, job_key, parts_of
from slurmsweep.errors import StateUnreadableError
from slurmsweep.state import files
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import service_of
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from slurmsweep.backends.base import JobStatus
    from slurmsweep.control.session import Session
    from slurmsweep.state.owner import Owner
    from slurmsweep.state.replay import Submission, SweepView
    from slurmsweep.state.trial import Attempt

_NOT_ASKED = Answer({}, "not needed")


@dataclass(frozen=True)
class Observation:
    """The statement of witnesses about one attempt without a recorded end.

    Attributes:
        outcome: how it ended; None while it runs, or while no witness can tell.
        final: the witness will not say anything else later. What is not final must be seen twice before it is recorded.
        note: for people: which witness said so, or which one could.
        witnessed: False where no witness that can tell could be asked.
    """

    outcome: Outcome | None
    final: bool
    note: str
    witnessed: bool = True


class EndedInVain(NamedTuple):
    """Jobs that ended alike, and none of which claimed a trial.

    Attributes:
        why: the scheduler's words.
        first: one of them.
        jobs: how many.
        has_run: the first process of the job was started, so that it may have written something.
    """

    why: str
    first: JobRef
    jobs: int
    has_run: bool

    @property
    def words(self) -> str:
        """``24 jobs (123_0 ...) ended without a trial: FAILED: CannotPullContainerError: ...``."""
        named = f"{self.jobs} jobs ({self.first} ...)" if self.jobs > 1 else f"job {self.first}"
        return f"{named} ended without a trial: {self.why}"


@dataclass(frozen=True)
class Snapshot:
    """A sweep as it is now: the journal, and what witnesses add to it.

    Attributes:
        view: the journal's state.
        seen: an observation for each attempt that the journal shows as running.
        answer: of the scheduler about the sweep's jobs.
        token: begins the names of the sweep's jobs.
        counted: names of the submissions whose jobs the answer is about: jobs of others may be there as well.
    """

    view: SweepView
    seen: dict[AttemptId, Observation] = field(default_factory=dict)
    answer: Answer = _NOT_ASKED
    token: str = ""
    counted: frozenset[str] = frozenset()

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """Other clusters to which jobs were submitted, and which cannot be asked from here."""
        return self.answer.silent

    @cached_property
    def named(self) -> dict[JobRef, JobStatus]:
        """The live jobs that carry the sweep's name: commands act on no other.

        A number alone is no proof that a job is of this sweep: a record may name another cluster's.
        """
        return {ref: s for ref, s in self.answer.tasks.items() if s.alive and self._is_ours(s)}

    @cached_property
    def alive(self) -> dict[JobRef, JobStatus]:
        """The live jobs of the sweep: those that carry its name, and those in which an agent of it runs."""
        others = {ref: s for ref, s in self.answer.tasks.items() if s.alive and not self._is_ours(s)}
        claiming = self._claiming(others)
        return self.named | {ref: status for ref, status in others.items() if ref in claiming}

    @property
    def foreign(self) -> tuple[str, ...]:
        """Live jobs that the journal names and commands leave alone, because their names are not the sweep's."""
        others = {ref.job: s.name for ref, s in self.answer.tasks.items() if s.alive and not self._is_ours(s)}
        return tuple(f"{job} ({name})" for job, name in sorted(others.items()))

    def _is_ours(self, status: JobStatus) -> bool:
        return not status.name or status.name == self.token or status.name.startswith(f"{self.token}-")

    @property
    def jobs(self) -> dict[str, int]:
        """Number of live jobs by the scheduler's word in lower case: ``{"pending": 3, "running": 2}``."""
        return dict(Counter(status.word.lower() for status in self.alive.values()))

    @property
    def waiting(self) -> frozenset[JobRef]:
        """Live jobs that have not started, or were put back to start again."""
        return frozenset(ref for ref, status in self.alive.items() if status.waits)

    @cached_property
    def unclaimed(self) -> frozenset[JobRef]:
        """Live jobs that have not claimed a trial yet."""
        return frozenset(self.alive.keys() - self._claiming(self.alive))

    @property
    def claimed(self) -> frozenset[str]:
        """Names of the submissions of which a job in the answer has claimed a trial; on a service jobs have own ids."""
        tasks = self.answer.tasks
        return frozenset(tasks[ref].name for ref in self._claiming(tasks))

    def _claiming(self, refs: Collection[JobRef]) -> set[JobRef]:
        """Return those of the jobs (array elements) that have claimed a trial."""
        numbers = {parts_of(ref.job)[0] for ref in refs}
        trials = self.view.trials.of_jobs(numbers) if numbers else ()
        owners = (attempt.owner for trial in trials for attempt in trial.attempts.values())
        return {JobRef.of(owner, self.answer.cluster) for owner in owners if owner and owner.job} & set(refs)

    @cached_property
    def ended_in_vain(self) -> tuple[EndedInVain, ...]:
        """Jobs that went wrong before they claimed a trial, as far as the scheduler's answer has them, most first.

        Only the newest arrays count: back to the last one of which a job claimed a trial.
        """
        over = {
            ref: status
            for ref, status in self.answer.tasks.items()
            if status.state and not status.alive and status.name and self._is_ours(status)
        }
        claiming = self._claiming(over)
        recent = self._newest_names({over[ref].name for ref in claiming})
        found: dict[str, list[JobRef]] = {}
        for ref, status in over.items():
            wanted = status.state in (TrialState.FINISHED, TrialState.KILLED)
            if ref not in claiming and not wanted and status.name in recent:
                said = status.reason or status.cause
                found.setdefault(f"{status.source} says {status.word}" + (f": {said}" if said else ""), []).append(ref)
        groups = (
            EndedInVain(why, min(refs), len(refs), over[refs[0]].exit_code is not None) for why, refs in found.items()
        )
        return tuple(sorted(groups, key=lambda group: (-group.jobs, group.first)))

    def _newest_names(self, claimed: set[str]) -> set[str]:
        """Return the names of the newest submissions: back to the last one of which a job claimed a trial."""
        names: set[str] = set()
        for submission in reversed(self.view.submissions.values()):
            names.add(submission.name)
            job = submission.job  # without one there is no need to look through all trials
            if submission.name in claimed or (job and any(True for _ in self.view.trials.of_jobs({job}))):
                break
        return names

    @property
    def queued(self) -> int:
        """Number of trials that live jobs will claim and have not claimed yet."""
        made_by = ((self.submission_of(ref), ref.task) for ref in self.unclaimed)
        return sum(submission.trials_of(task) if submission else 1 for submission, task in made_by)

    @property
    def ended(self) -> dict[AttemptId, Outcome]:
        """Ends that witnesses know and the journal does not."""
        return {a: seen.outcome for a, seen in self.seen.items() if seen.outcome}

    def arrays(self, *, only_waiting: bool = False) -> tuple[str, ...]:
        """Return the arrays (or plain jobs) to act on: with live elements, or with elements that wait."""
        chosen = {self._array_of(ref, s) for ref, s in self.named.items() if s.waits or not only_waiting}
        return tuple(sorted(chosen, key=by_id))

    def _array_of(self, ref: JobRef, status: JobStatus) -> str:
        """Return the key of the submission that made a job: on a service its jobs may have ids of their own."""
        submission = self.view.submissions.get(status.name) if service_of(parts_of(ref.job)[1]) else None
        return self._key(submission) if submission and submission.job else ref.job

    @cached_property
    def idle(self) -> frozenset[JobRef]:
        """Jobs submitted for the sweep that wait for their first start; not those that were put back with a trial."""
        waiting, names = self.waiting & self.unclaimed & self.named.keys(), self.view.submissions
        # a service may give each job of a submission an id of its own
        return frozenset(ref for ref in waiting if ref.job in self._by_key or self.named[ref].name in names)

    def submission_of(self, ref: JobRef) -> Submission | None:
        """Return the submission whose array that element is of; None where the journal names none."""
        return self._by_key.get(ref.job)

    @cached_property
    def _by_key(self) -> dict[str, Submission]:
        return {self._key(submission): submission for submission in self.view.submissions.values()}

    def _key(self, submission: Submission) -> str:
        return job_key(submission.job or "", submission.cluster, self.answer.cluster)

    def without_idle(self) -> Snapshot:
        """Return the same after its :attr:`idle` jobs were cancelled."""
        tasks = {ref: status for ref, status in self.answer.tasks.items() if ref not in self.idle}
        return replace(self, answer=self.answer._replace(tasks=tasks))

    def jobs_in(self, job: str, *, waiting: bool) -> int:
        """Return how many live jobs of what :meth:`arrays` names wait, or run: on a service, too, by the submission."""
        return sum(self._array_of(r, s) == job and s.waits == waiting for r, s in self.named.items())

    def tasks_in(self, job: str, *, waiting: bool) -> list[int]:
        """Return the indexes of an array's live elements that wait, or of those that run."""
        return [r.task for r, s in self.named.items() if r.job == job and r.task is not None and s.waits == waiting]


class Question(NamedTuple):
    """What a scheduler is to be asked of a sweep.

    Attributes:
        jobs: those of which the live ones count.
        wanted: jobs of which the end counts, too.
        running: the attempts that the answer is about; of an attempt that was claimed later it says nothing.
        submissions: names of the submissions that the jobs are of.
    """

    jobs: set[str]
    wanted: set[JobRef]
    running: dict[AttemptId, Attempt]
    submissions: frozenset[str] = frozenset()


def question(session: Session, also: Collection[JobRef] = ()) -> Question:
    """Return what to ask about a sweep as of its last refresh, and about jobs that are over."""
    running, submissions = running_attempts(session.view), session.view.submissions.values()
    every_end_known = session.view.done() == session.store.manifest.trials
    # without an answer a submission stays where its cluster cannot be asked from here
    silent = {
        s.name
        for s in submissions
        if s.job is None and not service_of(s.cluster) and is_elsewhere(s.cluster, session.here)
    }
    counted = frozenset(s.name for s in submissions if s.job or s.name in silent)
    jobs = set() if every_end_known else set(session.job_keys())
    return Question(jobs, {*_jobs_of(session, running), *also}, running, counted)


def _jobs_of(session: Session, running: Mapping[AttemptId, Attempt]) -> set[JobRef]:
    """Return the jobs in which attempts run."""
    return {JobRef.of(a.owner, session.here) for a in running.values() if a.owner and a.owner.job}


def answered(session: Session, asked: Question, answer: Answer) -> Snapshot:
    """Return the sweep as an answer and the folders show it; the answer is older than what the folders say.

    An agent writes its outcome before its job ends: the other way round a trial that ends in between would look lost.
    """
    seen = {a: _from_folder(session, a) or judge(attempt, answer) for a, attempt in asked.running.items()}
    return Snapshot(session.view, seen, answer, _token(session), asked.submissions)


def look(session: Session, also: Collection[JobRef] = ()) -> Snapshot:
    """Look at a sweep as of its last refresh: at most one question to the queue and one to accounting. Writes nothing.

    Args:
        session: of the sweep.
        also: jobs that are over, whose end is to be in the answer too.

    Raises:
        SchedulerUnavailableError: there are jobs that only the scheduler can tell of, and it could not be asked.
    """
    asked = question(session, also)
    return answered(session, asked, ask(session, asked.jobs, asked.wanted))


def look_at_jobs(session: Session, place: str | None = None) -> Snapshot:
    """Ask the scheduler about the sweep's live jobs, whatever became of its trials: one question.

    Args:
        session: of the sweep.
        place: the word of a service, or empty for Slurm: only its jobs; None for all.

    Raises:
        SchedulerUnavailableError: the scheduler could not be asked.
    """
    jobs = {key for key in _job_keys(session) if place is None or service_of(parts_of(key)[1]) == place}
    return Snapshot(session.view, {}, ask(session, jobs, set()), _token(session))


def places_of_jobs(session: Session) -> list[str]:
    """Return each place that has, or had, jobs of the sweep: words of services, and empty for Slurm."""
    return sorted({service_of(parts_of(key)[1]) for key in _job_keys(session)})


def _job_keys(session: Session) -> set[str]:
    """Return the jobs of submissions, and those in which attempts run."""
    return {*session.job_keys(), *(ref.job for ref in _jobs_of(session, running_attempts(session.view)))}


def of_answer(session: Session, answer: Answer) -> Snapshot:
    """Return what the journal says, with an answer that the scheduler gave about jobs of the sweep."""
    return Snapshot(session.view, {}, answer._replace(cluster=session.here), _token(session))


def ask(session: Session, jobs: set[str], wanted: set[JobRef]) -> Answer:
    """Ask the scheduler, if there is anything to ask. Raises SchedulerUnavailableError."""
    if not jobs and not wanted:
        return _NOT_ASKED
    return session.scheduler.poll(jobs, wanted)._replace(cluster=session.here)


def _token(session: Session) -> str:
    """Return what begins the names of the sweep's jobs."""
    return JobSource.of(session.store).name


def look_without_scheduler(session: Session) -> Snapshot:
    """Return what the journal and the folders alone say."""
    said = {a: _from_folder(session, a) for a in running_attempts(session.view)}
    return Snapshot(session.view, {a: seen for a, seen in said.items() if seen})


def renewed(snapshot: Snapshot, view: SweepView) -> Snapshot:
    """Return the same answers of witnesses with what the journal says by now."""
    running = running_attempts(view)
    return replace(snapshot, view=view, seen={a: seen for a, seen in snapshot.seen.items() if a in running})


def running_attempts(view: SweepView) -> dict[AttemptId, Attempt]:
    """Return the newest attempts without a recorded end."""
    found = {}
    for trial in view.trials.unsettled():
        current = trial.current
        if trial.state is TrialState.RUNNING and current:
            found[AttemptId(trial.number, current.number)] = current
    return found


def stray_output(session: Session) -> list[str]:
    """Return output files of jobs that ended without claiming a trial: they say why, and nothing else does."""
    said, folder = {}, session.store.layout.jobs
    for name in files.names_in(folder):
        if name.endswith(".out"):
            path = os.path.join(folder, name)
            status = files.status_of(path)  # a job that ends cleanly removes its file meanwhile
            if status and status.st_size:
                said[name.removesuffix(".out")] = path
    jobs = {name.partition("_")[0] for name in said}
    owners = (a.owner for trial in session.view.trials.of_jobs(jobs) for a in trial.attempts.values())
    claiming = {owner.job_name for owner in owners if owner}
    return sorted(path for name, path in said.items() if name not in claiming)


def judge(attempt: Attempt, answer: Answer) -> Observation:
    """Decide for one attempt whose folder has no outcome."""
    owner = attempt.owner
    if owner is None:
        return Observation(None, final=False, note="its claim is not in the journal", witnessed=False)
    lives = lives_here(owner)
    if lives:
        return Observation(None, final=False, note=f"process {owner.pid} on this machine")
    if owner.job is not None:
        return _from_scheduler(owner, answer, process_is_gone=lives is False)
    if lives is False:
        return Observation(_vanished(), final=True, note=f"process {owner.pid} is gone")
    return Observation(None, final=False, note=f"only {owner.host} can tell: ask there", witnessed=False)


def _from_folder(session: Session, attempt_id: AttemptId) -> Observation | None:
    """Return what the folder of an attempt says of its end; None where it says nothing.

    Where it cannot be read, nothing follows, whatever others say: the trial may have finished.
    """
    try:
        outcome = session.store.read_outcome(attempt_id)
    except StateUnreadableError as error:
        return Observation(None, final=False, note=str(error), witnessed=False)
    return Observation(outcome, final=True, note="its folder says so") if outcome else None


def _from_scheduler(owner: Owner, answer: Answer, *, process_is_gone: bool) -> Observation:
    silence = _says_nothing(owner, answer)
    if silence:
        return Observation(None, final=False, note=silence, witnessed=False)
    status = answer.tasks.get(JobRef.of(owner, answer.cluster))
    if status is None:
        note = f"{service_of(owner.cluster) or 'Slurm'} does not know job {owner.job_name} any more"
        return Observation(_vanished(), final=process_is_gone, note=note)
    note = f"{status.source} says {status.word}"
    if status.alive:
        # A job between its processes' end and its own: the process is a witness, but the scheduler's cause is still to
        # come. A job that waits was put back, and goes on with its trial when it starts.
        ending = process_is_gone and not status.waits
        return Observation(_vanished() if ending else None, final=False, note=note)
    if status.state is None or status.state is TrialState.FINISHED:
        return Observation(_vanished(), final=True, note=f"{note}, but no outcome was written")
    if owner.seat is not None and status.state is TrialState.FAILED:  # the exit code may be another seat's
        return Observation(_vanished(), final=True, note=f"{note}, which several agents share")
    outcome = Outcome(status.state, status.cause, status.exit_code or None, ended=_now(), by="reconcile")
    return Observation(outcome, final=True, note=note)


def _says_nothing(owner: Owner, answer: Answer) -> str:
    """Return why nothing follows from an answer about a job; empty where something does."""
    ref = JobRef.of(owner, answer.cluster)
    if parts_of(ref.job)[1] in answer.silent:
        return f"job {owner.job_name} is of cluster {owner.cluster}, and this is {answer.cluster}: ask there"
    if answer.lags(ref):
        return f"accounting knows array {owner.job}, and does not name its element {owner.task}"
    if answer.failed and ref not in answer.tasks:
        unknown = f"squeue does not know job {owner.job_name} any more"
        return f"{unknown}, and accounting did not answer: {answer.accounting}"
    return ""


def _vanished() -> Outcome:
    return Outcome(TrialState.CRASHED, "lost", ended=_now(), by="reconcile")


def _now() -> float:
    return round(time.time(), 3)
