"""Bring the journal up to what is known: record ends nobody recorded, close what was left half-made, give back.

The only functions that write what an observation says. Each writes under the lock, after looking at the journal again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slurmsweep.observe.live import with_last_metric
from slurmsweep.observe.reasons import doubtful_jobs, reasons
from slurmsweep.observe.snapshot import Observation, Snapshot, look, running_attempts
from slurmsweep.state.head import Slot
from slurmsweep.state.lifecycle import SweepState, TrialState

if TYPE_CHECKING:
    from collections.abc import Callable

    from slurmsweep.state.fold import Fold
    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.store import SweepStore
    from slurmsweep.state.transaction import Transaction
    from slurmsweep.state.trial import Trial

#: Seconds between two looks at what is not final: longer than sacct lags behind squeue.
SECOND_LOOK = 2.0


@dataclass(frozen=True)
class Settled:
    """What a reconciliation wrote, and what it could not know.

    Attributes:
        ended: attempts whose end was recorded.
        explained: recorded ends whose reason Slurm told now.
        snapshot: the last look at the sweep, before anything of this was written.
        voided: attempts that were made but never started; their trials may be claimed again.
        unknown: attempts of which nobody could tell, with the reason.
    """

    ended: tuple[Slot, ...]
    voided: tuple[Slot, ...]
    unknown: dict[Slot, str]
    explained: tuple[Slot, ...] = ()
    snapshot: Snapshot | None = None


def reconcile(store: SweepStore, sleep: Callable[[float], None] = time.sleep) -> Settled:
    """Record every end that witnesses agree on: what is final at once, anything else when it is seen twice.

    What a maker left without a record comes first: it may turn out to be a claim whose process is gone.

    Raises:
        SchedulerUnavailableError: no end was recorded: no answer is not "no job".
        StateError: the journal could not be locked, read or written.
    """
    with store.transaction() as transaction:
        voided = _close_holes(store, transaction, store.fold())
    fold = store.fold()
    snapshot = look(store, fold, doubtful_jobs(fold))
    first = snapshot.seen
    ends, snapshot = _certain(store, snapshot, sleep)
    certain = with_last_metric(store, ends)
    better = reasons(store.fold(), snapshot.answer)
    with store.transaction() as transaction:
        fold = store.fold()
        ended = _record_ends(transaction, fold, certain)
        explained = _record_reasons(transaction, fold, better)
    unknown = {slot: seen.note for slot, seen in first.items() if not seen.witnessed}
    return Settled(tuple(ended), tuple(voided), unknown, tuple(explained), snapshot)


def give_back(store: SweepStore, wanted: Callable[[Trial], bool], why: str) -> list[Slot]:
    """Let every ended, not finished trial that is ``wanted`` be claimed again; a paused or ended sweep runs again.

    For agents that start anyway; trials for which Slurm is asked are given back with their jobs (:mod:`.submit`).

    Args:
        store: of the sweep.
        wanted: asked about each, under the lock.
        why: for the record.
    """
    with store.transaction() as transaction:
        fold = store.fold()
        if fold.word is not None:
            transaction.order(SweepState.RUNNING)
        chosen = [trial for trial in may_run_again(fold) if wanted(trial)]
        slots = [Slot(trial.number, trial.newest + 1) for trial in chosen]
        transaction.retry(slots, {t.number: t.state for t in chosen}, why)
    return slots


def may_run_again(fold: Fold) -> list[Trial]:
    """Trials that ended and did not finish, by number."""
    states = [state for state in TrialState if state.has_ended() and state is not TrialState.FINISHED]
    return [fold.trials[number] for number in sorted(n for state in states for n in fold.trials.in_state(state))]


def _certain(
    store: SweepStore, first: Snapshot, sleep: Callable[[float], None]
) -> tuple[dict[Slot, Observation], Snapshot]:
    """The observations of ends that are final, or that a second look confirms; and the last look."""
    doubtful = {slot for slot, seen in first.seen.items() if seen.outcome and not seen.final}
    if not doubtful:
        return {slot: seen for slot, seen in first.seen.items() if seen.outcome}, first
    sleep(SECOND_LOOK)
    fold = store.fold()
    second = look(store, fold, doubtful_jobs(fold))
    ends = {slot: seen for slot, seen in second.seen.items() if seen.outcome and (seen.final or slot in doubtful)}
    return ends, second


def _record_ends(transaction: Transaction, fold: Fold, certain: dict[Slot, Observation]) -> list[Slot]:
    """Record the ends of attempts that the journal, looked at under the lock, still shows as running."""
    running = running_attempts(fold)
    ended = []
    for slot, seen in certain.items():
        if slot in running and seen.outcome:
            transaction.end(slot, running[slot].token, seen.outcome)
            fold.attempt(slot).outcome = seen.outcome
            ended.append(slot)
    return ended


def _record_reasons(transaction: Transaction, fold: Fold, better: dict[Slot, Outcome]) -> list[Slot]:
    """Record why Slurm ended trials, as far as these ends are still what the journal shows of them."""
    explained = []
    for slot, outcome in better.items():
        trial = fold.trials[slot.trial]
        current = trial.current
        if current and current.number == slot.attempt and trial.state.has_ended():
            transaction.end(slot, current.token, outcome, before=trial.state)
            explained.append(slot)
    return explained


def _close_holes(store: SweepStore, transaction: Transaction, fold: Fold) -> list[Slot]:
    """Settle attempts with a folder and no claim: their makers died between the two, or sleep and must not go on."""
    passed_over, waiting = fold.passed_over(), fold.waiting()
    made = [slot for slot in passed_over + waiting if store.is_made(slot)] + _made_ahead(store, fold)
    for slot in passed_over:
        if slot not in made:
            transaction.retry([slot], {slot.trial: None}, why="passed over")
    return [slot for slot in made if _close(store, transaction, slot, counted=slot in waiting)]


def _made_ahead(store: SweepStore, fold: Fold) -> list[Slot]:
    """Attempts that were made where the next new trial would be: their makers died before any record went past them."""
    made = []
    slot = Slot(fold.head.next_trial, 1)
    while store.is_made(slot):
        if slot.trial not in fold.trials:
            made.append(slot)
        slot = Slot(slot.trial + 1, 1)
    return made


def _close(store: SweepStore, transaction: Transaction, slot: Slot, *, counted: bool) -> bool:
    """Void an attempt without an owner and give its trial back; one with an owner gets the claim it lacks."""
    if not store.void(slot):
        owner = store.read_owner(slot)
        if owner is not None:
            transaction.claim(slot, *owner)
        return False
    transaction.void(slot, TrialState.PENDING if counted else None)
    return True
