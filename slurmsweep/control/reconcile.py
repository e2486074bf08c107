"""Bring the journal up to what is known: record ends nobody recorded, close what was left half-made, give back.

The only functions that write what an observation says. Each writes under the lock, after looking at the journal again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slurmsweep.control.end_reasons import doubtful_jobs, reasons
from slurmsweep.control.live_metrics import with_last_metric
from slurmsweep.control.snapshot import Observation, Snapshot, look, running_attempts
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Callable

    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.store import SweepStore
    from slurmsweep.state.transaction import Transaction
    from slurmsweep.state.trial import Trial

#: Seconds between two looks at what is not final: longer than sacct lags behind squeue.
SECOND_LOOK = 2.0


@dataclass(frozen=True)
class ReconcileResult:
    """What a reconciliation wrote, and what it could not know.

    Attributes:
        ended: attempts whose end was recorded.
        explained: recorded ends whose reason Slurm told now.
        snapshot: the last look at the sweep, before anything of this was written.
        voided: attempts that were made but never started; their trials may be claimed again.
        unknown: attempts of which nobody could tell, with the reason.
    """

    ended: tuple[AttemptId, ...]
    voided: tuple[AttemptId, ...]
    unknown: dict[AttemptId, str]
    explained: tuple[AttemptId, ...] = ()
    snapshot: Snapshot | None = None


def reconcile(store: SweepStore, sleep: Callable[[float], None] = time.sleep) -> ReconcileResult:
    """Record every end that witnesses agree on: what is final at once, anything else when it is seen twice.

    What a maker left without a record comes first: it may turn out to be a claim whose process is gone.

    Raises:
        SchedulerUnavailableError: no end was recorded: no answer is not "no job".
        StateError: the journal could not be locked, read or written.
    """
    reading = store.reading()
    reading.refresh()
    with store.transaction(reading) as transaction:
        voided = _close_holes(store, transaction, reading.view)
    view = reading.refresh()
    snapshot = look(store, view, doubtful_jobs(view))
    first = snapshot.seen
    ends, snapshot = _certain(store, snapshot, sleep)
    certain = with_last_metric(store, ends)
    better = reasons(reading.refresh(), snapshot.answer)
    with store.transaction(reading) as transaction:
        ended = _record_ends(transaction, reading.view, certain)
        explained = _record_reasons(transaction, reading.view, better)
    unknown = {attempt_id: seen.note for attempt_id, seen in first.items() if not seen.witnessed}
    return ReconcileResult(tuple(ended), tuple(voided), unknown, tuple(explained), snapshot)


def give_back(store: SweepStore, wanted: Callable[[Trial], bool], why: str) -> list[AttemptId]:
    """Let every ended, not finished trial that is ``wanted`` be claimed again; a paused or ended sweep runs again.

    For agents that start anyway; trials for which Slurm is asked are given back with their jobs (:mod:`.submit`).

    Args:
        store: of the sweep.
        wanted: asked about each, under the lock.
        why: for the record.
    """
    reading = store.reading()
    reading.refresh()
    with store.transaction(reading) as transaction:
        if reading.view.word is not None:
            transaction.order(SweepState.RUNNING)
        chosen = [trial for trial in may_run_again(reading.view) if wanted(trial)]
        attempt_ids = [trial.next_attempt for trial in chosen]
        transaction.retry(attempt_ids, why)
    return attempt_ids


def may_run_again(view: SweepView) -> list[Trial]:
    """Trials that ended and did not finish, by number."""
    states = [state for state in TrialState if state.can_retry]
    return [view.trials[number] for number in sorted(n for state in states for n in view.trials.in_state(state))]


def _certain(
    store: SweepStore, first: Snapshot, sleep: Callable[[float], None]
) -> tuple[dict[AttemptId, Observation], Snapshot]:
    """The observations of ends that are final, or that a second look confirms; and the last look."""
    doubtful = {attempt_id for attempt_id, seen in first.seen.items() if seen.outcome and not seen.final}
    if not doubtful:
        return {attempt_id: seen for attempt_id, seen in first.seen.items() if seen.outcome}, first
    sleep(SECOND_LOOK)
    view = store.replay()
    second = look(store, view, doubtful_jobs(view))
    ends = {
        attempt_id: seen
        for attempt_id, seen in second.seen.items()
        if seen.outcome and (seen.final or attempt_id in doubtful)
    }
    return ends, second


def _record_ends(transaction: Transaction, view: SweepView, certain: dict[AttemptId, Observation]) -> list[AttemptId]:
    """Record the ends of attempts that the journal, looked at under the lock, still shows as running."""
    running = running_attempts(view)
    ended = []
    for attempt_id, seen in certain.items():
        if attempt_id in running and seen.outcome:
            transaction.end(attempt_id, running[attempt_id].token, seen.outcome)
            ended.append(attempt_id)
    return ended


def _record_reasons(transaction: Transaction, view: SweepView, better: dict[AttemptId, Outcome]) -> list[AttemptId]:
    """Record why Slurm ended trials, as far as these ends are still what the journal shows of them."""
    explained = []
    for attempt_id, outcome in better.items():
        trial = view.trials[attempt_id.trial]
        current = trial.current
        if current and current.number == attempt_id.attempt and trial.state.has_ended():
            transaction.end(attempt_id, current.token, outcome)
            explained.append(attempt_id)
    return explained


def _close_holes(store: SweepStore, transaction: Transaction, view: SweepView) -> list[AttemptId]:
    """Settle attempts with a folder and no claim: their makers died between the two, or sleep and must not go on."""
    passed_over, waiting = view.passed_over(), view.waiting()
    made = [attempt_id for attempt_id in passed_over + waiting if store.is_made(attempt_id)] + _made_ahead(store, view)
    for attempt_id in passed_over:
        if attempt_id not in made:
            transaction.retry([attempt_id], why="passed over")
    return [attempt_id for attempt_id in made if _close(store, transaction, attempt_id)]


def _made_ahead(store: SweepStore, view: SweepView) -> list[AttemptId]:
    """Attempts that were made where the next new trial would be: their makers died before any record went past them."""
    made = []
    attempt_id = AttemptId(view.head.next_trial, 1)
    while store.is_made(attempt_id):
        if attempt_id.trial not in view.trials:
            made.append(attempt_id)
        attempt_id = AttemptId(attempt_id.trial + 1, 1)
    return made


def _close(store: SweepStore, transaction: Transaction, attempt_id: AttemptId) -> bool:
    """Void an attempt without an owner and give its trial back; one with an owner gets the claim it lacks."""
    if not store.void(attempt_id):
        owner = store.read_owner(attempt_id)
        if owner is not None:
            transaction.claim(attempt_id, *owner)
        return False
    transaction.void(attempt_id)
    return True
