"""Changes of a sweep while its journal is locked: each method queues one record, and all go to disk together.

Keeping the head in step with the records is this module's business and nobody else's.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from slurmsweep.state.journal import encode
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.records import (
    ClaimRecord,
    EndRecord,
    HeadRecord,
    OrderRecord,
    RetryRecord,
    VoidRecord,
)
from slurmsweep.state.tail import QUEUE_LIMIT, AttemptId, JournalTail, RetryPage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slurmsweep.state.journal import Record
    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.owner import Owner
    from slurmsweep.state.records import AnyRecord, SubmitRecord

#: Slots in one retry record, so that the record is read back by one request of 4 KiB.
_SLOTS_PER_RECORD = 150


class Appender(Protocol):
    """Where records go: a locked journal, or what is to become one."""

    last: Record

    @property
    def end(self) -> int:
        """Offset of the next record."""

    def record_at(self, offset: int) -> Record | None:
        """The record that begins there, if one does."""

    def append(self, data: bytes, last: Record) -> None:
        """Add encoded records after the last."""


class Transaction:
    """Records to append, and the head that goes with them.

    Attributes:
        head: as it will stand after the records queued so far.
    """

    def __init__(self, journal: Appender) -> None:
        self._journal = journal
        self._lines: list[bytes] = []
        self._last: Record = {}
        self.head = JournalTail.from_json(journal.last.get("h", {}))

    def claim(self, attempt_id: AttemptId, token: str, owner: Owner) -> None:
        """The attempt of ``slot`` has a maker."""
        before = TrialState.PENDING if attempt_id.attempt > 1 else None
        self.head = self.head.without(attempt_id).moved(before, TrialState.RUNNING)
        self._queue(ClaimRecord(attempt_id, token, owner, round(time.time(), 3)))

    def adopt(self, attempt_id: AttemptId, token: str, owner: Owner, outcome: Outcome) -> None:
        """The trial of ``slot`` was run in another sweep. The next new trial stays the same: claims pass the folder."""
        self._queue(ClaimRecord(attempt_id, token, owner, round(time.time(), 3)))
        self.end(attempt_id, token, outcome, before=None)

    def end(
        self, attempt_id: AttemptId, token: str | None, outcome: Outcome, before: TrialState | None = TrialState.RUNNING
    ) -> None:
        """The attempt of ``slot`` has ended; ``before`` is what its trial was until now."""
        self.head = self.head.moved(before, outcome.state)
        self._queue(EndRecord(attempt_id, token, outcome))

    def void(self, attempt_id: AttemptId, before: TrialState | None) -> None:
        """The attempt of ``slot`` was never started and never will be: its trial may be claimed again, as the next one.

        One record says both, because of two the second may be torn off.
        """
        again = [AttemptId(attempt_id.trial, attempt_id.attempt + 1)]
        full = self.head.room() == 0
        self.head = self.head.moved(before, TrialState.PENDING).with_queue(again)
        self._queue(VoidRecord(attempt_id))
        if full:
            self._retry(again, "never started")

    def retry(
        self,
        attempt_ids: list[AttemptId],
        before: Mapping[int, TrialState | None],
        why: str,
        *,
        assigned: bool = False,
        array: str = "",
    ) -> None:
        """Each of ``slots`` may be claimed; ``before`` has the state of each trial until now.

        With ``assigned`` each gets a job of its own: the head does not offer them to others, who find them only when
        nothing else is left. With ``array``, the name of one, that is so until Slurm refuses it.
        """
        for start in range(0, len(attempt_ids), _SLOTS_PER_RECORD):
            batch = attempt_ids[start : start + _SLOTS_PER_RECORD]
            for attempt_id in batch:
                self.head = self.head.moved(before[attempt_id.trial], TrialState.PENDING)
            if assigned or array:
                self._queue(RetryRecord(tuple(batch), why, array))
            else:
                self._retry(batch, why)

    def waiting_in(self, more: RetryPage) -> tuple[list[AttemptId], RetryPage | None]:
        """The next retries that had no room in the head, and where those after them wait. One read of 4 KiB."""
        record = self._journal.record_at(more.offset)
        if record is None or record["op"] != RetryRecord.op:
            return [], None  # a writer's stale view: replay finds what was lost by it
        retry = RetryRecord.from_json(record)
        after = more.first + QUEUE_LIMIT
        if after < len(retry.attempt_ids):
            return list(retry.attempt_ids[more.first : after]), RetryPage(more.offset, after)
        return list(retry.attempt_ids[more.first :]), retry.more

    def exhausted(self, offset: int) -> None:
        """A fold of everything before ``offset`` found nothing that waits: who looks next looks from there on."""
        self.head = self.head._replace(exhausted=max(self.head.exhausted, offset))
        self._queue(HeadRecord("exhausted"))

    def submit(self, record: SubmitRecord) -> None:
        """Queue what has become of a submission."""
        self._queue(record)

    def withdrawn(self, states: Iterable[TrialState]) -> None:
        """Trials given back for an array which Slurm refused are again what they were: with the record that says so."""
        for state in states:
            self.head = self.head.moved(TrialState.PENDING, state)

    def order(self, word: SweepState) -> None:
        """A person paused, resumed (running), stopped (finished) or canceled the sweep."""
        self.head = self.head._replace(word=None if word is SweepState.RUNNING else word)
        self._queue(OrderRecord(word))

    def correct(self, next_trial: int, counts: dict[TrialState, int]) -> None:
        """The whole sweep was counted: what the head says from now on."""
        self.head = self.head._replace(next_trial=next_trial, counts=counts)
        self._queue(HeadRecord("counted"))

    def commit(self) -> None:
        """Put the queued records on disk: one write, one fsync. Raises StateUnwritableError."""
        if self._lines:
            data, self._lines = b"".join(self._lines), []
            self._journal.append(data, self._last)

    @property
    def is_written(self) -> bool:
        """Whether readers may see what was committed last, even if putting it on disk failed afterwards."""
        return bool(self._journal.last.get("h", {}).get("s") == self.head.sequence)

    def _retry(self, batch: list[AttemptId], why: str) -> None:
        """One retry record. What has no room in the head stays in it, on top of what waits in earlier ones."""
        room = self.head.room()
        below = self.head.more
        self.head = self.head.with_queue(batch)
        if len(batch) > room:
            self.head = self.head._replace(more=RetryPage(self._journal.end + sum(map(len, self._lines)), room))
        self._queue(RetryRecord(tuple(batch), why, more=below if len(batch) > room else None))

    def _queue(self, record: AnyRecord) -> None:
        self.head = self.head._replace(sequence=self.head.sequence + 1)
        self._last = {"op": record.op, **record.to_json(), "h": self.head.to_json()}
        self._lines.append(encode(self._last))
