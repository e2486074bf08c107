"""Stop a function early, as ``wandb.agent`` does (``wandb.agents.pyagent``): by an exception in its thread."""

from __future__ import annotations

import ctypes
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from slurmsweep.agents.watch import TrialWatch


class StoppedEarly(BaseException):
    """Other trials are better. Unlike W&B's it is not caught by an ``except Exception`` of the function."""


class EarlyStop:
    """A context in which a function runs; a thread looks at its trial meanwhile, and may end it. Used once.

    The exception comes at the next line of Python: a function that waits inside a library hears of it when that
    returns. It never comes outside of the body. Without a ``watch`` nothing is started.

    Attributes:
        has_come: the function was told to end, whatever it made of that.
    """

    def __init__(self, watch: TrialWatch | None) -> None:
        self.has_come = False
        self._watch = watch
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._of_function = 0
        self._thread = threading.Thread(target=self._look_on, daemon=True)

    def __enter__(self) -> None:
        self._of_function = threading.get_ident()
        if self._watch:
            self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with self._lock:
            self._is_over.set()
        if self.has_come and kind is not StoppedEarly:
            # It has not come yet, or the function caught it: one in its place comes here. NULL takes one back, too, but
            # CPython 3.11 then looks for it for ever, and a call that a debugger or a coverage tool traces never ends.
            with suppress(StoppedEarly):
                _raise_in(self._of_function, StoppedEarly)
                while True:
                    time.sleep(0)

    def close(self) -> None:
        """Wait until the thread has ended; call it after the body, outside of which no exception comes."""
        self._is_over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _look_on(self) -> None:
        watch = self._watch
        while watch and not self._is_over.wait(max(0.0, watch.due - time.monotonic())):
            if watch.is_due and watch.look():
                with self._lock:
                    if not self._is_over.is_set():
                        self.has_come = True
                        _raise_in(self._of_function, StoppedEarly)
                return


def _raise_in(thread: int, error: type[BaseException]) -> None:
    """Raise an exception in a thread at its next line of Python, in the place of one that has not come yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))
