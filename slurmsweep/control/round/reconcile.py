"""Bring the journal up to what is known: record ends, close what was left half-made, find unanswered submissions.

These are facts, so every command that changes a sweep records them first. Each function writes under the lock, after
the session's view was read on; in a rehearsal the same records stay in memory.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slurmsweep.agents.identity import lives_here
from slurmsweep.backends.keys import by_id, is_elsewhere, key_on, parts_of
from slurmsweep.control.round import granted
from slurmsweep.control.round.end_reasons import doubtful_jobs, explained_ends
from slurmsweep.control.snapshot import Snapshot, look, renewed, running_attempts
from slurmsweep.errors import SchedulerUnavailableError, StateUnreadableError
from slurmsweep.metrics.objective_values import measure_ended
from slurmsweep.state.assignment import ranges
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.owner import service_of
from slurmsweep.state.records import SubmitRecord
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from slurmsweep.control.session import Session
    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.records import BandValue
    from slurmsweep.state.replay import Submission
    from slurmsweep.state.transaction import Transaction
    from slurmsweep.state.trial import Trial

#: Why trials may be claimed again that jobs were submitted for, in the journal.
AGAIN = "resubmit"

#: Seconds between two looks at what is not final: longer than accounting lags behind the queue.
_SECOND_LOOK = 2.0

#: Seconds between two looks for jobs whose submission was not answered: a hung controller shows them two later.
_SECOND_SEARCH = 3.0

#: Looks for them at most, where the process that asks lives: its question to the scheduler ends within a minute.
_MOST_SEARCHES = 21


@dataclass(frozen=True)
class ReconcileResult:
    """The facts that a reconciliation recorded, and those that it could not know.

    Attributes:
        ended: attempts whose end was recorded.
        voided: attempts that were made but never started; their trials may be claimed again.
        unknown: attempts of which no witness could tell, with the reason.
        explained: recorded ends whose reason the scheduler told now.
        cancelled: jobs that waited for trials that there are none of, as the scheduler names them.
        granted: what jobs have otherwise than was asked for, in words.
        snapshot: of the sweep, after all of this was recorded.
    """

    ended: tuple[AttemptId, ...]
    voided: tuple[AttemptId, ...]
    unknown: dict[AttemptId, str]
    explained: tuple[AttemptId, ...]
    snapshot: Snapshot
    cancelled: tuple[str, ...] = ()
    granted: tuple[str, ...] = ()

    def words_of_jobs(self) -> list[str]:
        """Return lines about jobs that were cancelled, and about those that have what was not asked for."""
        named = ", ".join(self.cancelled)
        return [
            *self.granted,
            *([f"cancelled, because no trial is left for them: jobs {named}"] if named else []),
        ]


def reconcile(session: Session, sleep: Callable[[float], None] = time.sleep) -> ReconcileResult:
    """Record every end that witnesses agree on: what is final at once, anything else when it is seen twice.

    What a maker left without a record comes first: it may turn out to be a claim whose process is gone. One question to
    the queue and at most one to accounting; twice that where something has to be seen twice. Last, jobs are cancelled
    that wait for a sweep that has ended, by its target or by its number of trials.

    Raises:
        SchedulerUnavailableError: no end was recorded: no answer is not "no job".
        StateError: the journal could not be locked, read or written.
    """
    session.refresh()
    voided = close_holes(session)
    first, snapshot = look_twice(
        session, lambda: look(session, doubtful_jobs(session.view, lambda: session.here)), sleep
    )
    ended, explained = _record(session, certain_ends(session, first, snapshot), snapshot)
    unknown = {a: seen.note for a, seen in first.seen.items() if not seen.witnessed}
    snapshot = renewed(snapshot, session.view)
    said = granted.record(session, snapshot)
    cancelled = cancel_idle(session, snapshot)
    snapshot = snapshot.without_idle() if cancelled else snapshot
    return ReconcileResult(ended, voided, unknown, explained, snapshot, cancelled, said)


def look_twice(
    session: Session, take: Callable[[], Snapshot], sleep: Callable[[float], None]
) -> tuple[Snapshot, Snapshot]:
    """Return what ``take`` shows of a sweep, and what it shows 2 s later where something in it is not final."""
    first = take()
    if not any(seen.outcome and not seen.final for seen in first.seen.values()):
        return first, first
    sleep(_SECOND_LOOK)
    session.refresh()
    return first, take()


def certain_ends(session: Session, first: Snapshot, second: Snapshot) -> dict[AttemptId, Outcome]:
    """Return the ends that are final, or that two looks have shown, with the metrics that the scripts left."""
    shown = {attempt_id for attempt_id, seen in first.seen.items() if seen.outcome}
    return {
        attempt_id: with_last_metric(session, attempt_id, seen.outcome)
        for attempt_id, seen in second.seen.items()
        if seen.outcome and (seen.final or attempt_id in shown)
    }


def cancel_idle(session: Session, snapshot: Snapshot) -> tuple[str, ...]:
    """Cancel the jobs that would start, find nothing to claim, and end; return them as the scheduler names them.

    That is so where a trial reached the target, or the search has no trial left that no agent has claimed. Jobs that
    wait to go on with a trial are left alone. One request to the scheduler, where there are such jobs; where it does
    not answer they end by themselves within seconds of their start.
    """
    if session.is_rehearsal or not snapshot.waiting:
        return ()
    is_over = session.view.reached is not None or session.open_trials() == 0
    if not is_over or not snapshot.idle:
        return ()
    elements: defaultdict[str, list[int]] = defaultdict(list)
    for ref in snapshot.idle:
        elements[ref.job] += [] if ref.task is None else [ref.task]
    targets = []
    for key in sorted(elements, key=by_id):  # ``5000_[0-3,5]@other``
        (job, cluster), tasks = parts_of(key), sorted(elements[key])
        targets.append(key_on(f"{job}_[{','.join(ranges(tasks))}]" if tasks else job, cluster))
    try:
        session.scheduler.cancel(targets, only_waiting=True)
    except SchedulerUnavailableError:
        return ()
    return tuple(targets)


def recover_submissions(session: Session, sleep: Callable[[float], None] = time.sleep) -> None:
    """Look for jobs whose submission was never answered, by their unique names, and record what is found.

    What the scheduler does not know at two looks was never taken: a controller that hung while it was asked shows the
    jobs seconds after it answers again. A process of this machine that still asks for them is waited for, for as long
    as a question to a scheduler may take. Submissions to another cluster are looked for there; they stay as they are
    where it cannot be asked from here.

    Raises:
        SchedulerUnavailableError: the scheduler could not be asked: nothing is known.
    """
    missing = [s for s in session.refresh().submissions.values() if s.job is None]
    missing = [s for s in missing if _found(session, s) is False]
    for searches in range(1, _MOST_SEARCHES + 1):
        if not missing:
            return
        sleep(_SECOND_SEARCH)
        known = session.refresh().submissions
        missing = [s for s in missing if known[s.name].job is None and _found(session, s) is False]
        asked = [s for s in missing if searches < _MOST_SEARCHES and _is_being_asked(session, s.name)]
        for submission in missing:
            if submission not in asked:
                record_refusal(session, submission.name)
        missing = asked


def _is_being_asked(session: Session, name: str) -> bool:
    """Return whether another process of this machine lives that announced this submission."""
    try:
        document = session.submissions.read(name)
    except StateUnreadableError:  # a damaged one is no reason to ask for ever: no command would go on
        document = None
    by = document.by if document else None
    return by is not None and by.pid != os.getpid() and bool(lives_here(by))


def record_job(session: Session, name: str, tasks: int, job: str, shared: Sequence[AttemptId] = ()) -> None:
    """Record that the scheduler took the jobs of that name; any agent may claim ``shared`` attempts now.

    ``job`` is their key: the cluster that the scheduler named stands in it, whichever was asked for.
    """
    number, cluster = parts_of(job)
    with session.transaction() as transaction:
        transaction.submit(SubmitRecord(name, tasks, number, cluster=cluster))
        trials = session.view.trials
        transaction.retry([a for a in shared if trials[a.trial].newest < a.attempt], AGAIN)
    _note_answer(session, name, number, cluster)


def record_refusal(session: Session, name: str) -> None:
    """Record that the scheduler has no such jobs and never will: the sweep is what it was before they were announced.

    Trials that an agent claimed meanwhile go on, and an order that was given since then stands.
    """
    with session.transaction() as transaction:
        view = session.view
        known = view.submissions[name]
        if known.job is not None:  # its submitter got an answer after all
            return
        transaction.submit(SubmitRecord(name, known.tasks, ""))
        if known.resumes and view.word is None and view.word_sequence < known.sequence:
            transaction.order(SweepState(known.resumes))
    _note_answer(session, name, "")


def _note_answer(session: Session, name: str, job: str, cluster: str = "") -> None:
    """Write the answer into the submission's document too, if it has one."""
    document = None if session.is_rehearsal else session.submissions.read(name)
    if document is not None:
        session.submissions.note_job(document, job, cluster)


def give_back(session: Session, wanted: Callable[[Trial], bool], why: str) -> list[AttemptId]:
    """Let every ended, not finished trial that is ``wanted`` be claimed again; a paused or ended sweep runs again.

    One that reached its target does not: only ``resume`` lifts that.

    For agents that start anyway; trials for which a scheduler is asked are given back with their jobs
    (:mod:`.apply`).

    Args:
        session: of the sweep.
        wanted: asked about each trial, under the lock.
        why: for the record.
    """
    with session.transaction() as transaction:
        if session.view.word is not None and session.view.reached is None:
            transaction.order(SweepState.RUNNING)
        again = [trial.next_attempt for trial in may_run_again(session) if wanted(trial)]
        transaction.retry(again, why)
    return again


def may_run_again(session: Session) -> list[Trial]:
    """Return the trials that ended and did not finish, by number."""
    trials = session.view.trials
    states = [state for state in TrialState if state.can_retry]
    return [trials[number] for number in sorted(n for state in states for n in trials.in_state(state))]


def _found(session: Session, submission: Submission) -> bool | None:
    """Record the jobs of a submission where the scheduler knows them; None where the cluster cannot be asked here.

    Raises:
        SchedulerUnavailableError: this cluster could not be asked.
    """
    try:
        job = session.scheduler.find(submission.name, submission.cluster)
    except SchedulerUnavailableError:
        if is_elsewhere(submission.cluster, session.scheduler.cluster()) and not service_of(submission.cluster):
            return None
        raise
    if job:
        record_job(session, submission.name, submission.tasks, job)
    return bool(job)


def with_last_metric(session: Session, attempt_id: AttemptId, outcome: Outcome) -> Outcome:
    """Return the outcome; one that only a witness tells of gets the metrics that the script left."""
    if outcome.metric is not None or outcome.by == "agent":
        return outcome
    measured = measure_ended(
        session.store.manifest.config, session.store.layout, attempt_id, session.view.first_attempt(attempt_id.trial)
    )
    return outcome._replace(metric=measured.metric.value, metrics=measured.metrics, no_metric=measured.why or None)


def bands_left(session: Session, attempt_id: AttemptId) -> list[BandValue]:
    """Return what an attempt had at bands of early termination that its agent did not live to record."""
    store = session.store
    if store.manifest.config.early_terminate is None:
        return []
    from slurmsweep.metrics.logged_values import values_at_bands

    first, recorded = session.view.bands_of(attempt_id.trial)
    had = values_at_bands(store.manifest.config, store.layout, attempt_id, first)
    return [pair for pair in had if pair[0] not in recorded]


def _record(
    session: Session, certain: dict[AttemptId, Outcome], snapshot: Snapshot
) -> tuple[tuple[AttemptId, ...], tuple[AttemptId, ...]]:
    """Record ends of attempts that still run, and better reasons of ends that still stand, under the lock."""
    better = explained_ends(session.view, snapshot.answer)
    if not certain and not better:
        return (), ()
    explained = []
    bands = {attempt_id: bands_left(session, attempt_id) for attempt_id in certain}
    with session.transaction() as transaction:
        ended = record_ends(session, transaction, certain, bands)
        for attempt_id, outcome in better.items():
            trial = session.view.trials[attempt_id.trial]
            current = trial.current
            if current and current.number == attempt_id.attempt and trial.state.has_ended():
                transaction.end(attempt_id, current.token, outcome)
                explained.append(attempt_id)
    return tuple(ended), tuple(explained)


def record_ends(
    session: Session,
    transaction: Transaction,
    certain: Mapping[AttemptId, Outcome],
    bands: Mapping[AttemptId, Sequence[BandValue]],
) -> list[AttemptId]:
    """Record the ends of those attempts that still run, under the lock; return these attempts."""
    running = running_attempts(session.view)
    ended = [attempt_id for attempt_id in certain if attempt_id in running]
    for attempt_id in ended:
        transaction.band(attempt_id, bands[attempt_id])
        transaction.end(attempt_id, running[attempt_id].token, certain[attempt_id])
    return ended


def close_holes(session: Session) -> tuple[AttemptId, ...]:
    """Settle attempts with a folder and no claim: their makers died between the two, or sleep and must not go on.

    An attempt without an owner is voided and its trial given back; one with an owner gets the claim it lacks.
    """
    if not session.view.passed_over() and not _made_without_claim(session):
        return ()  # the lock is not needed
    voided = []
    with session.transaction() as transaction:
        made = _made_without_claim(session)
        transaction.retry([a for a in session.view.passed_over() if a not in made], why="passed over")
        for attempt_id in made:
            if session.void(attempt_id):
                transaction.void(attempt_id)
                voided.append(attempt_id)
            else:
                with suppress(StateUnreadableError):  # it is its maker's, whose name is damaged: `check` says so
                    if owner := session.store.read_owner(attempt_id):
                        transaction.claim(attempt_id, *owner)
    return tuple(voided)


def _made_without_claim(session: Session) -> list[AttemptId]:
    """Return attempts with a folder and no record, also where the next new trials would be."""
    view, store = session.view, session.store
    made = [a for a in (*view.passed_over(), *view.waiting()) if store.is_made(a)]
    ahead = AttemptId(view.head.next_trial, 1)
    while store.is_made(ahead):
        if ahead.trial not in view.trials:
            made.append(ahead)
        ahead = AttemptId(ahead.trial + 1, 1)
    return made
