"""Let Ctrl-C and SIGTERM interrupt the function, and nothing between a claim and its record."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


class Terminated(BaseException):
    """SIGTERM came. Like KeyboardInterrupt it is not caught by an ``except Exception`` of the function."""


class Interrupts:
    """A context that puts off SIGINT and SIGTERM while an agent claims and records; a second one is not put off.

    In the function SIGINT does what it did before, and SIGTERM raises :class:`Terminated`. A SIGTERM that the program
    handles itself is left alone. Does nothing outside of the main thread, which alone receives signals.

    Attributes:
        pending: the signal that came while it was put off; None without one.
    """

    def __init__(self) -> None:
        self.pending: signal.Signals | None = None
        self._others: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:  # noqa: PYI034 - typing.Self needs 3.11
        if threading.current_thread() is threading.main_thread():
            if signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, None):
                self._put_off(signal.SIGINT)
            if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                self._put_off(signal.SIGTERM)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._others.items():
            signal.signal(number, handler)

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Let signals through in the body; one that was put off comes first.

        Raises:
            KeyboardInterrupt, Terminated: a signal was put off, or comes in the body.
        """
        try:
            for number, handler in self._others.items():
                signal.signal(number, _raise if handler is signal.SIG_DFL else handler)
            if self.pending is not None:
                number, self.pending = self.pending, None
                _raise(number)
            yield
        finally:
            for number in self._others:
                self._put_off(number)

    def _put_off(self, number: signal.Signals) -> None:
        """Remember the handler from before the agent, or the one that the function has set since."""
        before = signal.signal(number, self._note)
        if before != self._note:  # else a signal came before this one was let through
            self._others[number] = signal.SIG_DFL if before is _raise else before

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.pending is not None:
            _raise(number)
        self.pending = signal.Signals(number)


def _raise(number: int, _frame: FrameType | None = None) -> None:
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated
