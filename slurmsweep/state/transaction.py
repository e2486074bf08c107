"""Changes of a sweep while its journal is locked: each method queues one record, and all go to disk together.

Keeping the head in step with the records is this module's business and nobody else's.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from slurmsweep.state.journal import encode
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.tail import QUEUE_LIMIT, AttemptId, JournalTail, RetryPage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slurmsweep.state.journal import Record
    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.owner import Owner
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.submissions import SubmissionDocument

#: Slots in one retry record, so that the record is read back by one request of 4 KiB.
_SLOTS_PER_RECORD = 150

#: Characters of a submission's options that one record keeps, of the 16 KiB it may have.
_LONGEST_OPTION, _LONGEST_OPTIONS = 500, 4000


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

    def __init__(self, journal: Appender, view: SweepView | None = None) -> None:
        self._journal = journal
        self._view = view
        self._lines: list[bytes] = []
        self._last: Record = {}
        self.head = JournalTail.from_json(journal.last.get("h", {}))

    def claim(self, attempt_id: AttemptId, token: str, owner: Owner) -> None:
        """The attempt of ``slot`` has a maker."""
        before = self._before(attempt_id, TrialState.PENDING if attempt_id.attempt > 1 else None)
        self.head = self.head.without(attempt_id).moved(before, TrialState.RUNNING)
        self._queue(
            "claim", t=attempt_id.trial, a=attempt_id.attempt, k=token, o=owner.to_json(), at=round(time.time(), 3)
        )

    def adopt(self, attempt_id: AttemptId, token: str, owner: Owner, outcome: Outcome) -> None:
        """The trial of ``slot`` was run in another sweep. The next new trial stays the same: claims pass the folder."""
        self._queue(
            "claim", t=attempt_id.trial, a=attempt_id.attempt, k=token, o=owner.to_json(), at=round(time.time(), 3)
        )
        self.end(attempt_id, token, outcome, before=None)

    def end(
        self, attempt_id: AttemptId, token: str | None, outcome: Outcome, before: TrialState | None = TrialState.RUNNING
    ) -> None:
        """The attempt has ended; ``before`` is what its trial was until now, where there is no view to tell."""
        self.head = self.head.moved(self._before(attempt_id, before), outcome.state)
        self._queue("end", t=attempt_id.trial, a=attempt_id.attempt, k=token, out=outcome.to_json())

    def _before(self, attempt_id: AttemptId, implied: TrialState | None) -> TrialState | None:
        """Return the state of a trial before the next record: the view's, else what the record implies."""
        if self._view is None:
            return implied
        trial = self._view.trials.get(attempt_id.trial)
        return trial.state if trial else None

    def void(self, attempt_id: AttemptId, before: TrialState | None = None) -> None:
        """The attempt of ``slot`` was never started and never will be: its trial may be claimed again, as the next one.

        One record says both, because of two the second may be torn off.
        """
        again = [AttemptId(attempt_id.trial, attempt_id.attempt + 1)]
        full = self.head.room() == 0
        self.head = self.head.moved(self._before(attempt_id, before), TrialState.PENDING).with_queue(again)
        self._queue("void", t=attempt_id.trial, a=attempt_id.attempt)
        if full:
            self._retry(again, "never started")

    def retry(
        self,
        attempt_ids: list[AttemptId],
        why: str,
        *,
        before: Mapping[int, TrialState | None] | None = None,
        assigned: bool = False,
        array: str = "",
    ) -> None:
        """Each of the attempts may be claimed; ``before`` has the state of each trial where there is no view to tell.

        With ``assigned`` each gets a job of its own: the head does not offer them to others, who find them only when
        nothing else is left. With ``array``, the name of one, that is so until Slurm refuses it.
        """
        for start in range(0, len(attempt_ids), _SLOTS_PER_RECORD):
            batch = attempt_ids[start : start + _SLOTS_PER_RECORD]
            for attempt_id in batch:
                implied = (before or {}).get(attempt_id.trial)
                self.head = self.head.moved(self._before(attempt_id, implied), TrialState.PENDING)
            if assigned or array:
                condition = {"for": array} if array else {}
                self._queue("retry", t=[[a.trial, a.attempt] for a in batch], why=why, **condition)
            else:
                self._retry(batch, why)

    def waiting_in(self, more: RetryPage) -> tuple[list[AttemptId], RetryPage | None]:
        """The next retries that had no room in the head, and where those after them wait. One read of 4 KiB."""
        record = self._journal.record_at(more.offset)
        if record is None or record["op"] != "retry":
            return [], None  # a writer's stale view: the fold finds what was lost by it
        attempt_ids = [AttemptId(*pair) for pair in record["t"]]
        after = more.first + QUEUE_LIMIT
        if after < len(attempt_ids):
            return attempt_ids[more.first : after], RetryPage(more.offset, after)
        return attempt_ids[more.first :], RetryPage(*record["more"]) if "more" in record else None

    def exhausted(self, offset: int) -> None:
        """A fold of everything before ``offset`` found nothing that waits: who looks next looks from there on."""
        self.head = self.head._replace(exhausted=max(self.head.exhausted, offset))
        self._queue("exhausted")

    def submit(  # noqa: PLR0913, PLR0917 - the fields of one record
        self,
        name: str,
        tasks: int,
        job: str | None,
        asked: Mapping[str, str | bool] | None = None,
        template: str | None = None,
        wishes: Mapping[str, str | bool] | None = None,
        agents: int = 1,
        resumes: SweepState | None = None,
        cluster: str = "",
    ) -> None:
        """An array named ``name`` is about to be handed to Slurm (None), was taken as ``job``, or refused (empty).

        The first of its records says what is asked for (:class:`~slurmsweep.state.replay.Submission`): who submits its
        trials again has to know; and how many agents each of its elements runs side by side. Options that would make
        the record too long are left out. ``resumes`` is what the sweep was before it ran again for this array.
        """
        said: dict[str, Any] = {}
        if asked is not None:
            said = {"asked": _short(asked), "template": template, "wishes": _short(wishes or {})}
        if agents != 1:
            said["agents"] = agents
        said |= {"resumes": resumes.value} if resumes else {}
        said |= {"cluster": cluster} if cluster else {}
        self._queue("submit", name=name, tasks=tasks, job=job, **said)

    def announce(self, document: SubmissionDocument, resumes: SweepState | None) -> None:
        """An array is about to be asked for; ``resumes`` is what the sweep was before it ran again for this array."""
        said: dict[str, Any] = {
            "asked": _short(document.options),
            "template": document.template,
            "wishes": _short(document.wishes),
        }
        if document.agents != 1:
            said["agents"] = document.agents
        said |= {"resumes": resumes.value} if resumes else {}
        said |= {"cluster": document.cluster} if document.cluster else {}
        self._queue("submit", name=document.name, tasks=document.tasks, job=None, **said)

    def submitted(self, name: str, tasks: int, job: str) -> None:
        """An array was taken as ``job``, or refused (empty): trials given back for it are again what they were."""
        if not job and self._view is not None:
            trials = self._view.trials
            for number, attempt in self._view.submissions[name].again:
                current = trials[number].current
                if trials[number].newest < attempt and current and current.outcome:
                    self.head = self.head.moved(TrialState.PENDING, current.outcome.state)
        self._queue("submit", name=name, tasks=tasks, job=job)

    def order(self, word: SweepState) -> None:
        """A person paused, resumed (running), stopped (finished) or canceled the sweep."""
        self.head = self.head._replace(word=None if word is SweepState.RUNNING else word)
        self._queue("sweep", state=word.value)

    def correct(self, next_trial: int, counts: dict[TrialState, int]) -> None:
        """The whole sweep was counted: what the head says from now on."""
        self.head = self.head._replace(next_trial=next_trial, counts=counts)
        self._queue("counted")

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
        fields: dict[str, Any] = {"t": [[attempt_id.trial, attempt_id.attempt] for attempt_id in batch], "why": why}
        if len(batch) > room:
            fields |= {} if below is None else {"more": [below.offset, below.first]}
            self.head = self.head._replace(more=RetryPage(self._journal.end + sum(map(len, self._lines)), room))
        self._queue("retry", **fields)

    def _queue(self, op: str, **fields: Any) -> None:
        self.head = self.head._replace(sequence=self.head.sequence + 1)
        self._last = {"op": op, **fields, "h": self.head.to_json()}
        self._lines.append(encode(self._last))


def _short(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those that fit."""
    kept: dict[str, Any] = {}
    room = _LONGEST_OPTIONS
    for name, value in options.items():
        length = len(name) + len(str(value))
        if len(str(value)) <= _LONGEST_OPTION and length <= room:
            kept[name], room = value, room - length
    return kept
