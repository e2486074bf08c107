"""Watch a running trial by what it logs: say when it is to stop, and in the end what it reached.

Only agents of sweeps that compare trials while they run load this. There is no server: each agent reads the history of
its own trial, and of the others what their agents recorded in the journal.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.records import BandsReached

#: Seconds until the next look at a trial that has just begun, and the part of its age for an older one: what stops a
#: trial of seconds in time would be needless for one of days.
_SHORTEST, _OF_ITS_AGE = 1.0, 0.05

#: A look waits for so many times the CPU time that the one before took, so that of a large sweep it is no load for the
#: training, and for as long as that one waited for files, which may be slow. Waiting costs the training nothing, and on
#: a busy machine most of a look is that: to wait for ten times as long would miss the bands of short trials.
_LEISURE = 10


class TrialWatch(ABC):
    """The watch over one attempt.

    Args:
        what: names it in the trial's log.
        period: seconds between two looks at most; at a young trial it looks more often.
        say: takes a line for the trial's log: why it is stopped, and once what cannot be read.

    Attributes:
        due: when to look next, by the monotonic clock.
    """

    def __init__(self, what: str, period: float, say: Callable[[str], None]) -> None:
        self._what, self._period, self._say = what, period, say
        self._begun = time.monotonic()
        self.due = self._begun + min(period, _SHORTEST)
        self._has_complained = False

    @property
    def is_due(self) -> bool:
        """Whether the time for a :meth:`look` has come."""
        return time.monotonic() >= self.due

    def look(self) -> bool:
        """Return whether the trial is to stop. Raises nothing.

        What cannot be read or written is tried again at the next look.
        """
        begun, used, why = time.monotonic(), time.thread_time(), ""
        try:
            why = self.why_stop()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with these files, the trial goes on
            self._complain(error)
        ended = time.monotonic()
        period = min(self._period, max(_SHORTEST, _OF_ITS_AGE * (ended - self._begun)))
        self.due = ended + max(period, ended - begun, _LEISURE * (time.thread_time() - used))
        if why:
            self._say(f"{why} ({self._what})")
        return bool(why)

    def concluded(self, outcome: Outcome) -> tuple[Outcome, BandsReached]:
        """Return the outcome as the sweep sees it, and what the trial reached in the end. Raises nothing."""
        try:
            self.read()
        except Exception as error:  # noqa: BLE001 - the outcome matters more
            self._complain(error)
        return self.judged(outcome)

    @abstractmethod
    def read(self) -> Sequence[float]:
        """Take in what the trial has logged; return all values of the metric so far. Raises OSError, StateError."""

    @abstractmethod
    def why_stop(self) -> str:
        """Return why the trial is to stop now, for people; empty if it goes on. Raises OSError, StateError."""

    @abstractmethod
    def judged(self, outcome: Outcome) -> tuple[Outcome, BandsReached]:
        """Return what :meth:`concluded` returns, by what was read last."""

    def _complain(self, error: Exception) -> None:
        if not self._has_complained:
            self._has_complained = True
            self._say(
                f"{self._what} cannot look at this trial now, and tries again: {str(error) or type(error).__name__}"
            )
