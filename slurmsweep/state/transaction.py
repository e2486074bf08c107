"""Changes of a sweep while its journal is locked: each method queues one record, and all go to disk together.

Only this module keeps the head in step with the records.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from slurmsweep.state.journal import encode
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.records import (
    BandRecord,
    ClaimRecord,
    EndRecord,
    HeadRecord,
    OrderRecord,
    RetryRecord,
    VoidRecord,
)
from slurmsweep.state.tail import QUEUE_LIMIT, AttemptId, Head, RetryPage, TargetReached

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurmsweep.state.chosen import ChosenPoint
    from slurmsweep.state.journal import Record
    from slurmsweep.state.manifest import Manifest
    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.owner import Owner
    from slurmsweep.state.records import AnyRecord, BandValue, SubmitRecord
    from slurmsweep.state.replay import SweepView

#: Attempts in one retry record, so that the record is read back by one request of 4 KiB.
_MOST_IN_A_RECORD = 150


class Appender(Protocol):
    """Where records go: a locked journal, or what is to become one."""

    last: Record

    @property
    def end(self) -> int:
        """The offset of the next record."""

    def record_at(self, offset: int) -> Record | None:
        """Return the record that begins there, if one does."""

    def append(self, data: bytes, last: Record) -> None:
        """Add encoded records after the last."""


class Transaction:
    """Records to append, and the head that goes with them.

    The head counts trials by state, so each record is told what its trial was before: as the view says, where there is
    one; else as it must have been. An agent claims a retry that was pending or a new trial, and ends what ran.

    Args:
        journal: whose lock is held.
        view: the state after all records of the journal. Records that are queued here are not taken in.
        manifest: of the sweep: an end with the target of its metric ends the sweep, too.

    Attributes:
        head: as it will stand after the records queued so far.
    """

    def __init__(
        self,
        journal: Appender,
        view: SweepView | None = None,
        manifest: Manifest | None = None,
    ) -> None:
        self._journal = journal
        self._view = view
        self._manifest = manifest
        self._metric = manifest.config.metric if manifest else None
        self._lines: list[bytes] = []
        self._last: Record = {}
        self._states: dict[int, TrialState] = {}  # of trials that records in the queue change
        self.head = Head.from_json(journal.last.get("h", {}))

    def claim(self, attempt_id: AttemptId, token: str, owner: Owner, chosen: ChosenPoint | None = None) -> None:
        """Queue that an attempt has a maker, and the point of its trial where that was chosen for it."""
        self.head = self.head.without(attempt_id)
        self._move(attempt_id.trial, TrialState.PENDING if attempt_id.attempt > 1 else None, TrialState.RUNNING)
        self._queue(ClaimRecord(attempt_id, token, owner, round(time.time(), 3), chosen))

    def adopt(
        self, attempt_id: AttemptId, token: str, owner: Owner, outcome: Outcome, chosen: ChosenPoint | None = None
    ) -> None:
        """Queue that a trial was run in another sweep. Claims pass the folders of those beyond the next new one."""
        self.head = self.head.without(attempt_id)
        self._queue(ClaimRecord(attempt_id, token, owner, round(time.time(), 3), chosen))
        self._judge(attempt_id, outcome)
        self._move(attempt_id.trial, None, outcome.state)
        self._queue(EndRecord(attempt_id, token, outcome))

    def band(self, attempt_id: AttemptId, values: Sequence[BandValue]) -> None:
        """Queue what an attempt had at bands of early termination; nothing for none."""
        if values:
            self._queue(BandRecord(attempt_id, tuple(values)))

    def end(self, attempt_id: AttemptId, token: str | None, outcome: Outcome) -> None:
        """Queue that the newest attempt of a trial has ended; and with it the sweep, where that reached the target."""
        self._judge(attempt_id, outcome)
        self._move(attempt_id.trial, TrialState.RUNNING, outcome.state)
        self._queue(EndRecord(attempt_id, token, outcome))

    def void(self, attempt_id: AttemptId, was: TrialState = TrialState.RUNNING) -> None:
        """Queue that an attempt was never started and never will be: its trial, which was so, may be claimed again."""
        again = [AttemptId(attempt_id.trial, attempt_id.attempt + 1)]
        full = self.head.room() == 0
        self._move(attempt_id.trial, was, TrialState.PENDING)
        self.head = self.head.with_queue(again)
        self._queue(VoidRecord(attempt_id))
        if full:
            self._retry(again, "never started")

    def retry(self, attempt_ids: Sequence[AttemptId], why: str, *, assigned: bool = False, array: str = "") -> None:
        """Queue that these attempts may be claimed.

        With ``assigned`` each gets a job of its own: the head does not offer them to other agents, which find them only
        when nothing else is left. With ``array``, the name of a submission, that is so until it is refused.
        """
        for start in range(0, len(attempt_ids), _MOST_IN_A_RECORD):
            batch = tuple(attempt_ids[start : start + _MOST_IN_A_RECORD])
            for attempt_id in batch:
                self._move(attempt_id.trial, None, TrialState.PENDING)
            if assigned or array:
                self._queue(RetryRecord(batch, why, array))
            else:
                self._retry(batch, why)

    def waiting_in(self, more: RetryPage) -> tuple[list[AttemptId], RetryPage | None]:
        """Return the next retries that had no room in the head, and where those after them wait. One read of 4 KiB."""
        record = self._journal.record_at(more.offset)
        if record is None or record["op"] != RetryRecord.op:
            return [], None  # a writer's stale view: replay finds what was lost by it
        retry = RetryRecord.from_json(record)
        after = more.first + QUEUE_LIMIT
        if after < len(retry.attempt_ids):
            return list(retry.attempt_ids[more.first : after]), RetryPage(more.offset, after)
        return list(retry.attempt_ids[more.first :]), retry.more

    def exhausted(self, offset: int) -> None:
        """Queue that nothing before ``offset`` waits to be claimed: the next agent looks from there on."""
        self.head = self.head._replace(exhausted=max(self.head.exhausted, offset))
        self._queue(HeadRecord("exhausted"))

    def submit(self, record: SubmitRecord) -> None:
        """Queue what has become of a submission; trials given back for one that was refused are what they were."""
        known = self._view.submissions.get(record.name) if self._view else None
        if known and self._view and record.job == "":
            for number, _ in known.again:
                trial = self._view.trials[number]
                others = {name: attempt for name, attempt in trial.promised.items() if name != record.name}
                self._move(number, None, replace(trial, promised=others).state)
        self._queue(record)

    def order(self, word: SweepState, reached: TargetReached | None = None) -> None:
        """Queue that a person paused, resumed (running), stopped (finished) or canceled the sweep.

        Finished it is, too, because a trial ``reached`` its target.
        """
        self.head = self.head._replace(word=None if word is SweepState.RUNNING else word, reached=reached)
        self._queue(OrderRecord(word, reached))

    def correct(self, next_trial: int, counts: dict[TrialState, int]) -> None:
        """Queue that the whole sweep was counted, which the head says from now on."""
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

    def _judge(self, attempt_id: AttemptId, outcome: Outcome) -> None:
        """Queue that the sweep is finished, where this end's metric reached the target: no agent claims in between.

        Every end in the journal comes by here, of whatever state: W&B's rule is of a value that a run reaches, and asks
        no more of the run. A second record of an end, with a better reason, does not end a sweep that was resumed. The
        record goes before that of the end: of two records the second may be torn off, and an end is found again.
        """
        value = self._compared(attempt_id, outcome)
        if self._metric is None or value is None or not self._metric.is_reached(value):
            return
        if self.head.word not in (SweepState.FINISHED, SweepState.CANCELED) and not self._has_reached(attempt_id):
            self.order(SweepState.FINISHED, TargetReached(attempt_id.trial, value))

    def _has_reached(self, attempt_id: AttemptId) -> bool:
        """Return whether the view knows an end of that attempt that reached the target."""
        trial = self._view.trials.get(attempt_id.trial) if self._view else None
        known = trial.attempts.get(attempt_id.attempt) if trial else None
        value = self._compared(attempt_id, known.outcome) if known and known.outcome else None
        return bool(self._metric and self._metric.is_reached(value))

    def _compared(self, attempt_id: AttemptId, outcome: Outcome) -> float | None:
        """Return the value that the target is compared with at the end of an attempt.

        Where points run several times that is what the point is worth, once the view knows all of its other runs.
        """
        numbers = self._manifest.numbering if self._manifest and self._manifest.judges_points else None
        repeats = self._manifest.config.extensions.repeats if self._manifest else None
        if numbers is None or repeats is None or self._metric is None:
            return outcome.metric
        values = [outcome.metric]
        for other in numbers.trials(numbers.of(attempt_id.trial)[0]):
            if other != attempt_id.trial:
                trial = self._view.trials.get(other) if self._view else None
                ended = trial.outcome if trial and trial.is_done else None
                values.append(ended.metric if ended else None)
        known = [value for value in values if value is not None]
        return repeats.worth(known, self._metric.goal) if len(known) == len(values) else None

    def _retry(self, batch: Sequence[AttemptId], why: str) -> None:
        """Queue one retry record. What has no room in the head stays in it, on top of what waits in earlier ones."""
        room = self.head.room()
        below = self.head.more
        self.head = self.head.with_queue(batch)
        if len(batch) > room:
            self.head = self.head._replace(more=RetryPage(self._journal.end + sum(map(len, self._lines)), room))
        self._queue(RetryRecord(tuple(batch), why, more=below if len(batch) > room else None))

    def _move(self, number: int, implied: TrialState | None, after: TrialState) -> None:
        """Count a trial as ``after``; without a view it was ``implied`` before (None: no record spoke of it)."""
        before = self._states.get(number, implied)
        if self._view and number not in self._states:
            before = self._view.trials[number].state if number in self._view.trials else None
        self.head = self.head.moved(before, after)
        self._states[number] = after

    def _queue(self, record: AnyRecord) -> None:
        self.head = self.head._replace(sequence=self.head.sequence + 1)
        self._last = {"op": record.op, **record.to_json(), "h": self.head.to_json()}
        self._lines.append(encode(self._last))
