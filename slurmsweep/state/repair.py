"""Make a journal whole again: every record of the old one that can be read, and what only the attempts' folders know.

The folder of an attempt has its owner and its outcome, so no claim and no outcome is lost whatever happened to the
journal. What no folder tells is lost only where its own record cannot be read: retries that no agent has
claimed yet (the trial shows its last end again, and `resubmit` runs it), ends that Slurm was asked about (it is asked
again), orders such as cancel, and which arrays were submitted. Ends that only folders tell are judged again: one that
reached the sweep's target finishes the sweep.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from slurmsweep.errors import JournalReplacedError, StateUnreadableError
from slurmsweep.state import files
from slurmsweep.state.check import attempt_folders
from slurmsweep.state.fields import WrongFieldError
from slurmsweep.state.journal import encode, header, whole_records
from slurmsweep.state.lock import LockedFile, has_name
from slurmsweep.state.replay import SweepView
from slurmsweep.state.tail import Head
from slurmsweep.state.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slurmsweep.state.journal import Record
    from slurmsweep.state.store import SweepStore
    from slurmsweep.state.tail import AttemptId

T = TypeVar("T")


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

    Agents that wait for the lock meanwhile, or hold the lock of a journal that was removed, notice that the file is
    another one, and go on with it. An attempt whose maker has no name in it yet is voided as a reconciliation does it:
    the maker finds out. Of two repairs the second waits for the first.

    Raises:
        StateUnreadableError: the journal is another sweep's or a newer slurmsweep's, or cannot be read: it is left as
            it is.
        StateUnwritableError: the old journal is still in its place.
        JournalReplacedError: it was removed or replaced meanwhile: what is there now was left as it is.
        LockTimeoutError: agents, or another repair, held the lock for too long; nothing was changed.
    """
    path = store.journal.path
    with _only_repair(store):
        exists = files.is_file(path)
        with store.journal.held(store.lock_timeout) if exists else nullcontext() as locked:
            records = whole_records(path, store.manifest.sweep_id) if exists else []
            journal = _NewJournal(store.manifest.sweep_id)
            done = _add_from_folders(store, journal, _keep(journal, records))
            if not locked:
                with _not_replaced(path):
                    files.write_once(path, bytes(journal.data), store.access)
                return replace(done, records=0, kept=None)
            new = f"{path}.rebuilt"
            files.replace(new, bytes(journal.data), store.access)
            with _not_replaced(path):
                with files.reading(path):
                    is_still_there = has_name(locked[1], path)
                if not is_still_there:
                    raise FileNotFoundError(path)
                kept = _keep_beside(path)
            files.move(new, path)
    return replace(done, records=len(records), kept=kept)


@contextmanager
def _only_repair(store: SweepStore) -> Iterator[None]:
    """Let no other repair begin before this one has ended, also where there is no journal to lock."""
    path = f"{store.journal.path}.repair"
    with suppress(FileExistsError):
        files.write_new(path, b"", store.access)
    with LockedFile(path).held(store.lock_timeout):
        yield


@contextmanager
def _not_replaced(path: str) -> Iterator[None]:
    """Turn the error that the journal is there, or is not there, against what was seen before into one for people."""
    try:
        yield
    except (FileExistsError, FileNotFoundError) as error:
        raise JournalReplacedError(
            f"{path}: it was removed or replaced while it was repaired: repair it again"
        ) from error


def _keep_beside(path: str) -> str:
    """Give the old journal a further name beside it, and return that: its own name is never without a journal."""
    for number in count(1):
        kept = f"{path}.old-{number}"
        with suppress(FileExistsError):
            files.name_too(path, kept)
            return kept
    raise AssertionError


def _keep(journal: _NewJournal, records: list[Record]) -> SweepView:
    """Take the old records over, without the offsets in their heads, which mean nothing in a new file."""
    view = SweepView(thorough=True)
    for record in records:
        kept = {key: value for key, value in record.items() if key != "more"} | {"h": _kept_head(record["h"])}
        with suppress(WrongFieldError):  # it says nothing that can be true: what it meant, the folders tell
            view.apply(kept)
            journal.append(encode(kept), kept)
    return view


def _kept_head(head: Any) -> dict[str, Any]:
    try:
        Head.from_json(head)
    except WrongFieldError:
        return {}
    return {key: value for key, value in head.items() if key not in ("m", "e")}


def _add_from_folders(store: SweepStore, journal: _NewJournal, view: SweepView) -> Rebuilt:
    """Add what only folders know, and a head that fits all of it."""
    head = view.head._replace(queue=(), more=None, exhausted=0, word=view.word, reached=view.reached)
    journal.last = {"h": head.to_json()}
    transaction = Transaction(journal, manifest=store.manifest)
    claims = outcomes = voided = 0
    for attempt_id in sorted(attempt_folders(store)):
        owner, outcome = _told(store.read_owner, attempt_id), _told(store.read_outcome, attempt_id)
        trial, attempt = view.trial(attempt_id.trial), view.attempt(attempt_id)
        if owner is None and attempt.token is None and files.is_file(store.layout.owner(attempt_id)):
            continue  # its maker's, whose name is damaged: only a person may give the trial back
        if trial.allowed < attempt_id.attempt:
            transaction.retry([attempt_id], why="rebuilt")
            trial.allowed = attempt_id.attempt
        if owner is None and attempt.token is None and not attempt.void:
            if store.void(attempt_id):  # never started, and never will be: its maker finds the name taken
                transaction.void(attempt_id)
                attempt.void, trial.allowed, voided = True, attempt_id.attempt + 1, voided + 1
            else:
                owner = store.read_owner(attempt_id)  # its maker has just got its name in
        if owner is not None and attempt.token is None:
            transaction.claim(attempt_id, *owner, store.read_chosen(attempt_id))
            (attempt.token, attempt.owner), claims = owner, claims + 1
        if outcome and owner and (attempt.outcome is None or not attempt.outcome.was_seen):
            transaction.end(attempt_id, owner[0], outcome)
            attempt.outcome, outcomes = outcome, outcomes + 1
        known = view.bands.of(attempt_id)
        transaction.band(
            attempt_id, [pair for pair in _told(store.read_bands, attempt_id) or () if pair[0] not in known]
        )
    waiting = view.waiting()
    transaction.retry(waiting, why="rebuilt")
    next_trial = next(number for number in count() if number not in view.trials)  # adopted ones may be far ahead of it
    transaction.correct(next_trial, view.counts())
    transaction.commit()
    return Rebuilt(0, claims, outcomes, voided, None)


def _told(read: Callable[[AttemptId], T | None], attempt_id: AttemptId) -> T | None:
    """Return what a file of an attempt says; None where it is damaged, which `check` says."""
    try:
        return read(attempt_id)
    except StateUnreadableError:
        return None
