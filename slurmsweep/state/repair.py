"""Make a journal whole again: every record of the old one that can be read, and what only the attempts' folders know.

The folder of an attempt has its owner and its outcome, so no claim and no outcome is lost whatever happened to the
journal. What no folder tells is lost only where its own record cannot be read: retries that no agent has
claimed yet (the trial shows its last end again, and `resubmit` runs it), ends that Slurm was asked about (it is asked
again), orders such as cancel, and which arrays were submitted. Ends that only folders tell are judged again: one that
reached the sweep's target finishes the sweep.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

from slurmsweep.state import files
from slurmsweep.state.check import attempt_folders
from slurmsweep.state.journal import encode, header, whole_records
from slurmsweep.state.replay import SweepView
from slurmsweep.state.transaction import Transaction

if TYPE_CHECKING:
    from slurmsweep.state.journal import Record
    from slurmsweep.state.store import SweepStore


@dataclass(frozen=True)
class Rebuilt:
    """What a repair recovered.

    Attributes:
        records: whole records of the old journal, kept as they were.
        claims: of attempts that only their folders knew.
        outcomes: of agents that only the folders had.
        voided: attempts that were made and never started; their trials may be claimed again.
        kept: path of the old journal; None where there was none.
    """

    records: int
    claims: int
    outcomes: int
    voided: int
    kept: str | None


class _NewJournal:
    """Lines of a journal that is not on disk yet."""

    def __init__(self, sweep_id: str) -> None:
        self.last: Record = {}
        self.data = bytearray(header(sweep_id))

    @property
    def end(self) -> int:
        """The offset of the next record."""
        return len(self.data)

    def record_at(self, offset: int) -> Record | None:
        """Return None: no agent claims from a journal that is not there yet."""

    def append(self, data: bytes, last: Record) -> None:
        """Add encoded records after the last."""
        self.data += data
        self.last = last


def rebuild(store: SweepStore) -> Rebuilt:
    """Replace the journal by one made of its own records and the folders; the old one is kept beside it.

    Agents that wait for the lock meanwhile notice that the file is another one, and go on with it. The lock is held
    throughout, where there is a file to lock.

    Raises:
        StateUnreadableError: the journal is another sweep's, or a newer slurmsweep's: it is left as it is.
        StateUnwritableError: the old journal is still in its place.
        LockTimeoutError: agents held the lock for too long; nothing was changed.
    """
    exists = os.path.isfile(store.journal.path)
    with store.journal.held() if exists else nullcontext():
        records = whole_records(store.journal.path, store.manifest.sweep_id) if exists else []
        journal = _NewJournal(store.manifest.sweep_id)
        view = _keep(journal, records)
        done = _add_from_folders(store, journal, view)
        new = f"{store.journal.path}.rebuilt"
        files.replace(new, bytes(journal.data), store.access)
        names = (f"{store.journal.path}.old-{number}" for number in count(1))
        kept = next(name for name in names if not os.path.exists(name)) if exists else None
        if kept:
            files.move(store.journal.path, kept)
        files.move(new, store.journal.path)
    return replace(done, records=len(records), kept=kept)


def _keep(journal: _NewJournal, records: list[Record]) -> SweepView:
    """Take the old records over, without the offsets in their heads, which mean nothing in a new file."""
    view = SweepView()
    for record in records:
        head = {key: value for key, value in record.get("h", {}).items() if key not in ("m", "e")}
        kept = {key: value for key, value in record.items() if key != "more"} | {"h": head}
        journal.append(encode(kept), kept)
        view.apply(kept)
    return view


def _add_from_folders(store: SweepStore, journal: _NewJournal, view: SweepView) -> Rebuilt:
    """Add what only folders know, and a head that fits all of it."""
    head = view.head._replace(queue=(), more=None, exhausted=0, word=view.word, reached=view.reached)
    journal.last = {"h": head.to_json()}
    transaction = Transaction(journal, metric=store.manifest.config.metric)
    claims = outcomes = voided = 0
    for attempt_id in sorted(attempt_folders(store), key=lambda s: (s.trial, s.attempt)):
        owner, outcome = store.read_owner(attempt_id), store.read_outcome(attempt_id)
        trial, attempt = view.trial(attempt_id.trial), view.attempt(attempt_id)
        if trial.allowed < attempt_id.attempt:
            transaction.retry([attempt_id], why="rebuilt")
            trial.allowed = attempt_id.attempt
        if owner is None and not attempt.void:  # never started, and never will be
            transaction.void(attempt_id)
            attempt.void, trial.allowed, voided = True, attempt_id.attempt + 1, voided + 1
        elif owner is not None and attempt.token is None:
            transaction.claim(attempt_id, *owner, store.read_chosen(attempt_id))
            (attempt.token, attempt.owner), claims = owner, claims + 1
        if outcome and owner and (attempt.outcome is None or not attempt.outcome.was_seen):
            transaction.end(attempt_id, owner[0], outcome)
            attempt.outcome, outcomes = outcome, outcomes + 1
        known = view.bands.of(attempt_id)
        transaction.band(attempt_id, [pair for pair in store.read_bands(attempt_id) if pair[0] not in known])
    waiting = view.waiting()
    transaction.retry(waiting, why="rebuilt")
    next_trial = next(number for number in count() if number not in view.trials)  # adopted ones may be far ahead of it
    transaction.correct(next_trial, view.counts())
    transaction.commit()
    return Rebuilt(0, claims, outcomes, voided, None)
