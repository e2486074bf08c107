"""A whole terminal as a screen: lines to show, keys that come, and a terminal that is left as it was found."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import termios
import tty
from contextlib import suppress
from threading import RLock
from typing import TYPE_CHECKING, TextIO

from slurmsweep.report.live import ASCII, BLOCKS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from rich.live import Live

    from slurmsweep.report.live import Glyphs, Line

#: What terminals send for keys that are no characters (ECMA-48, xterm).
_KEYS = {
    "\x1b[A": "up", "\x1b[B": "down", "\x1bOA": "up", "\x1bOB": "down", "\x1b[5~": "pgup", "\x1b[6~": "pgdn",
    "\x1b": "escape", "\r": "enter", "\n": "enter", "\x7f": "backspace", "\b": "backspace",
}  # fmt: skip

#: A key: a sequence, whole or cut off, or one character.
_KEY = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]?|O[@-~]?)?|.", re.DOTALL)

#: Asks the terminal to mark what is pasted, the marks, and what asks it to stop.
_MARK_PASTES, _PASTED, _END_OF_PASTE, _NO_MARKS = "\x1b[?2004h", "\x1b[200~", "\x1b[201~", "\x1b[?2004l"

#: So many different characters at once were not typed.
_NOT_TYPED = 4

#: Signals that end a command, which the terminal must not notice; and what shells add to their numbers.
_ENDING, _BY_SIGNAL = (signal.SIGTERM, signal.SIGHUP), 128


def is_possible(stream: TextIO) -> bool:
    """Return whether a screen can be shown there: a terminal that this process is in the foreground of."""
    if not stream.isatty() or os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        return False
    try:
        return os.tcgetpgrp(stream.fileno()) == os.getpgrp()
    except OSError:  # a terminal that is not this session's
        return True


def glyphs(stream: TextIO) -> Glyphs:
    """Return the characters of bars and curves that a stream's encoding has."""
    return BLOCKS if (stream.encoding or "").lower().replace("-", "") == "utf8" else ASCII


class Screen:
    """A context in which a terminal is a screen; after it, and while the process is stopped, it is as it was before.

    Ctrl-Z stops the process and ``fg`` shows the screen again; SIGTERM and SIGHUP raise SystemExit. Signals are handled
    where the context is entered in the main thread, and drawing may be another thread's. Keys come where standard input
    is a terminal, too.

    Args:
        stream: the terminal, :func:`is_possible` being true.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream, self._lock = stream, RLock()
        self._live: Live | None = None
        self._modes: list[object] | None = None
        self._is_pasting = False
        self._handlers = {
            signal.SIGTSTP: self._stop,
            signal.SIGCONT: self._go_on,
            **dict.fromkeys(_ENDING, lambda number, _frame: sys.exit(_BY_SIGNAL + number)),
        }
        self._before: dict[signal.Signals, object] = {}
        self._shown: Sequence[Line] = ()
        self._awake, self._wake = os.pipe()

    def __enter__(self) -> Screen:  # noqa: PYI034 - typing.Self needs 3.11
        for number, handler in self._handlers.items():
            if signal.getsignal(number) is signal.SIG_DFL:  # else nohup ignores it, or a command ends its trials by it
                self._before[number] = signal.signal(number, handler)
        self._show()
        return self

    def __exit__(self, *_: object) -> None:
        self._hide()
        for number, handler in self._before.items():
            if signal.getsignal(number) == self._handlers[number]:  # else a command has set its own meanwhile
                signal.signal(number, handler)  # type: ignore[arg-type]
        os.close(self._wake)
        os.close(self._awake)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines now."""
        try:
            found = os.get_terminal_size(self.stream.fileno())
        except OSError:
            return 80, 24
        return found.columns or 80, found.lines or 24

    def draw(self, lines: Sequence[Line]) -> None:
        """Show these lines; nothing where they are shown already, or the process is in the background."""
        from rich.text import Text

        with self._lock:
            self._shown = lines
            if self._live:
                text = Text("\n", end="").join(Text.assemble(*line) for line in lines)
                text.no_wrap, text.overflow = True, "crop"
                with suppress(OSError):  # a terminal that is gone: SIGHUP follows
                    self._live.update(text, refresh=True)

    def keys(self, seconds: float, *, is_typing: bool = False) -> list[str]:
        """Return the keys that come, once some do or after so many seconds; ``resize`` where the size has changed.

        What is pasted is no key: what the terminal marks as such, and many different characters at once, unless the
        person is typing a text.
        """
        size, waits = self.size, [self._awake, *([sys.stdin.fileno()] if self._modes is not None else [])]
        ready, _, _ = select.select(waits, [], [], max(0.0, seconds))
        if self._awake in ready:
            os.read(self._awake, 64)
        data = b""
        if len(waits) > 1 and waits[1] in ready:
            with suppress(OSError):
                data = os.read(waits[1], 4096)
        found = []
        for key in _KEY.findall(data.decode("utf-8", "replace")):
            if key in (_PASTED, _END_OF_PASTE):
                self._is_pasting = key == _PASTED
            elif not self._is_pasting and (len(key) == 1 or key in _KEYS):
                found.append(_KEYS.get(key, key))
        if not is_typing and len({key for key in found if len(key) == 1}) >= _NOT_TYPED:
            found = []
        return found if self.size == size else [*found, "resize"]

    def wake(self) -> None:
        """Let :meth:`keys` return at once."""
        os.write(self._wake, b".")

    def _show(self) -> None:
        """Take the terminal, if this process is in its foreground."""
        from rich.console import Console
        from rich.live import Live

        with self._lock:
            if self._live or not is_possible(self.stream):
                return
            if sys.stdin.isatty():
                with suppress(termios.error):
                    self._modes = termios.tcgetattr(sys.stdin)
                    tty.setcbreak(sys.stdin, termios.TCSANOW)
            console = Console(file=self.stream, highlight=False, emoji=False, markup=False)
            self._live = Live(
                console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
            )
            self._live.start()
            self._write(_MARK_PASTES)
            self.draw(self._shown)

    def _hide(self) -> None:
        """Give the terminal back as it was."""
        with self._lock:
            live, self._live = self._live, None
            with suppress(OSError):
                self._write(_NO_MARKS)
                if live:
                    live.stop()
            modes, self._modes = self._modes, None
            if modes is not None and sys.stdin.isatty():
                with suppress(termios.error):
                    termios.tcsetattr(sys.stdin, termios.TCSANOW, modes)  # type: ignore[arg-type]

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self._hide()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # stops here until SIGCONT, whose handler shows the screen again
        signal.signal(number, self._stop)

    def _go_on(self, _number: int, _frame: FrameType | None) -> None:
        """Show the screen again: after `kill -STOP` another program may have changed the terminal."""
        self._hide()
        self._show()
        self.wake()
