"""Rebuild a journal from the attempts' folders: who made each, and what it said when it ended.

What folders cannot tell is lost: retries that were allowed and not claimed yet (the trial shows its last end again, and
`resubmit` runs it), ends that only Slurm was asked about (asked again), orders such as pause and cancel, and which
arrays were submitted. No claim and no outcome is lost.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slurmsweep.state import durable
from slurmsweep.state.check import attempt_folders
from slurmsweep.state.head import Slot
from slurmsweep.state.journal import encode, header
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.transaction import Transaction

if TYPE_CHECKING:
    from slurmsweep.state.journal import Record
    from slurmsweep.state.store import SweepStore


@dataclass(frozen=True)
class Rebuilt:
    """What a repair recovered.

    Attributes:
        trials: with at least one attempt.
        claims: of attempts whose owner is known.
        outcomes: that agents wrote.
        kept: path of the old journal; None where there was none.
    """

    trials: int
    claims: int
    outcomes: int
    kept: str | None


class _NewJournal:
    """Records of a journal that is not on disk yet."""

    def __init__(self) -> None:
        self.last: Record = {}
        self.records: list[Record] = []

    def append(self, records: list[Record]) -> None:
        """Add records after the last."""
        self.records += records
        self.last = self.records[-1]


def rebuild(store: SweepStore) -> Rebuilt:
    """Replace the journal by one made of the folders; the old one is kept beside it.

    Agents that wait for the lock meanwhile notice that the file is another one, and go on with it. The lock is held
    throughout, where there is a file to lock.

    Raises:
        StateUnwritableError: the old journal is still in its place.
        LockTimeoutError: agents held the lock for too long; nothing was changed.
    """
    exists = os.path.isfile(store.journal.path)
    with store.journal.locked_whatever_is_in_it() if exists else nullcontext():
        journal, claims, outcomes, trials = _read_folders(store)
        new = f"{store.journal.path}.rebuilt"
        durable.replace(new, header(store.manifest.sweep_id) + b"".join(map(encode, journal.records)))
        kept = _free_name(store.journal.path) if exists else None
        if kept:
            durable.move(store.journal.path, kept)
        durable.move(new, store.journal.path)
    return Rebuilt(trials, claims, outcomes, kept)


def _read_folders(store: SweepStore) -> tuple[_NewJournal, int, int, int]:
    """The new journal, and how many claims, outcomes and trials are in it."""
    journal = _NewJournal()
    transaction = Transaction(journal)
    states: dict[int, TrialState | None] = {}
    claims = outcomes = 0
    for slot in sorted(attempt_folders(store), key=lambda s: (s.trial, s.attempt)):
        if slot.attempt > 1:
            transaction.retry([slot], {slot.trial: states.get(slot.trial)}, why="rebuilt")
        owner, outcome = store.read_owner(slot), store.read_outcome(slot)
        if owner is None:
            states[slot.trial] = _void(transaction, slot)
            continue
        transaction.claim(slot, *owner)
        states[slot.trial] = TrialState.RUNNING
        claims += 1
        if outcome:
            transaction.end(slot, owner[0], outcome)
            states[slot.trial] = outcome.state
            outcomes += 1
    transaction.commit()
    return journal, claims, outcomes, len(states)


def _void(transaction: Transaction, slot: Slot) -> TrialState:
    """An attempt without an owner was never started: its trial may be claimed again."""
    transaction.void(slot)
    before = TrialState.PENDING if slot.attempt > 1 else None
    transaction.retry([Slot(slot.trial, slot.attempt + 1)], {slot.trial: before}, why="never started")
    return TrialState.PENDING


def _free_name(path: str) -> str:
    """A name for the old journal that nothing has yet."""
    number = 1
    while os.path.exists(f"{path}.old-{number}"):
        number += 1
    return f"{path}.old-{number}"
