"""Ctrl-C reaches the function, and nothing between a claim and its record."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


class Interrupts:
    """Puts SIGINT off while an agent claims and records; a second one is not put off.

    Does nothing outside of the main thread, which alone hears signals, and where SIGINT is ignored.

    Attributes:
        pending: one came while it was put off.
    """

    def __init__(self) -> None:
        self.pending = False
        self._before: Any = None
        self._puts_off = False

    def __enter__(self) -> Interrupts:  # noqa: PYI034 - typing.Self needs 3.11
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, None):
            self._before = signal.signal(signal.SIGINT, self._note)
            self._puts_off = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._puts_off:
            signal.signal(signal.SIGINT, self._before)

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """In the body an interrupt does what it did before; one that was put off comes first thing.

        Raises:
            KeyboardInterrupt: it was put off, or comes in the body.
        """
        if not self._puts_off:
            yield
            return
        signal.signal(signal.SIGINT, self._before)
        try:
            if self.pending:
                self.pending = False
                raise KeyboardInterrupt
            yield
        finally:
            self._before = signal.signal(signal.SIGINT, self._note)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self.pending:
            raise KeyboardInterrupt
        self.pending = True
