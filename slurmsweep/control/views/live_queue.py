"""Ask the scheduler for a live view: one question at a time, less often while nothing changes."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING

from slurmsweep.control.snapshot import ask, question
from slurmsweep.errors import SchedulerUnavailableError
from slurmsweep.report.live import Queue

if TYPE_CHECKING:
    from slurmsweep.backends.base import Answer
    from slurmsweep.control.session import Session
    from slurmsweep.control.snapshot import Question
    from slurmsweep.report.summary import SweepSummary

#: Seconds between two questions to the queue: after news, and at most where there is none.
QUEUE_PERIOD, LONGEST_QUEUE_PERIOD = 15.0, 60.0

#: Seconds in which the cluster's name is known where a file says it.
_AT_ONCE = 0.2


class QueueWatch:
    """The questions to the scheduler about one sweep: at most one a period.

    Args:
        session: of the sweep.
        shortest: seconds between two questions after news.
        in_background: ask in a thread.

    Attributes:
        has_answer: the scheduler has answered at least once.
        trouble: why the last question has no answer, in words; empty where it has one.
    """

    def __init__(self, session: Session, shortest: float, *, in_background: bool) -> None:
        self._session, self._in_background, self._shortest = session, in_background, shortest
        self._period, self._next, self._asked_at = shortest, 0.0, 0.0
        self._said: list[Answer | Exception] = []
        self._placing: Thread | None = None
        self._asked: Question | None = None
        self._known: object = None
        self._is_used = True
        self.has_answer = False
        self.trouble = ""

    def answer(self, now: float, sequence: int) -> tuple[Question, Answer] | None:
        """Return a question with its answer, once after it came; ask the next one where that is due."""
        if self._asked is None and now >= self._next and self._is_placed():
            self._asked_at = now
            asked = self._asked = question(self._session)
            self._is_used = bool(asked.jobs or asked.wanted)
            if self._in_background and self._is_used:
                Thread(target=self._ask, args=(asked,), daemon=True).start()
            else:
                self._ask(asked)
        if self._asked is None or not self._said:
            return None
        asked, said, self._asked = self._asked, self._said.pop(), None
        if isinstance(said, Exception):
            self.trouble = f"{said}; trials that run or ended unseen are shown as the journal last knew them"
            self._period = LONGEST_QUEUE_PERIOD
        else:
            self.trouble, self.has_answer = "", True
            known = sequence, said.tasks
            self._period = self._shortest if known != self._known else min(2 * self._period, LONGEST_QUEUE_PERIOD)
            self._known = known
        self._next = self._asked_at + self._period
        return None if isinstance(said, Exception) else (asked, said)

    def _is_placed(self) -> bool:
        """Return whether the cluster's name is known, for which the controller may have to be asked: in a thread."""
        if not self._in_background:
            return True
        if self._placing is None:
            self._placing = Thread(target=lambda: self._session.here, daemon=True)
            self._placing.start()
            self._placing.join(_AT_ONCE)
        return not self._placing.is_alive()

    def _ask(self, asked: Question) -> None:
        try:
            self._said.append(ask(self._session, asked.jobs, asked.wanted))
        except SchedulerUnavailableError as error:
            self._said.append(error)

    def told(self, summary: SweepSummary, now: float) -> Queue:
        """Return what is shown of the last answer, and of the next question."""
        if not self._is_used:
            return Queue()
        age = now - self._asked_at if self.has_answer and self._asked is None else None
        waits = summary.waiting[0].meaning if summary.waiting else ""
        return Queue(summary.jobs, age, 0.0 if self._asked else max(0.0, self._next - now), waits)
