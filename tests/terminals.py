"""A real pseudo-terminal with a process in it, and what a person sees there."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pyte

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

#: Seconds after which a test has failed that waits for something to be shown.
PATIENCE = 120

#: Opens the side of a terminal that its program has, by the other side (ioctl_tty(2)).
_TIOCGPTPEER = 0x5441

ENTER_SCREEN, LEAVE_SCREEN, SHOW_CURSOR = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"


class Terminal:
    """A terminal of that size in which ``argv`` runs, as the leader of its session."""

    def __init__(self, argv: Sequence[str], cwd: Path, columns: int = 80, lines: int = 24, **environ: str) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
            clean = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
            os.execvpe(argv[0], argv, {**clean, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **environ})
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self.bytes = b""
        self.code: int | None = None

    @property
    def text(self) -> str:
        """What is on the screen, without blanks at the ends of lines."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    def press(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        self._screen.resize(lines, columns)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def modes(self) -> list:
        """How the terminal treats keys: what ``stty`` shows."""
        return termios.tcgetattr(self._fd)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the terminal as it is when its program ends: the kernel resets one that no process has open any more."""
        side = fcntl.ioctl(self._fd, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)
        try:
            yield
        finally:
            os.close(side)

    def has_ended(self) -> bool:
        """Return whether the program has ended; :meth:`end` says how."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def see(self, what: str | Callable[[], bool], why: str = "") -> None:
        """Read until a text is on the screen, or something holds."""
        deadline = time.monotonic() + PATIENCE
        while not (what in self.text if isinstance(what, str) else what()):
            if time.monotonic() > deadline or not self._read():
                raise AssertionError(f"never seen: {why or what}; the screen:\n{self.text}\n{self.bytes[-2000:]!r}")

    def end(self) -> int:
        """Read until the process has ended; return its exit code, negative for a signal."""
        deadline = time.monotonic() + PATIENCE
        while self._read() and time.monotonic() < deadline:
            pass
        _, status = os.waitpid(self.pid, 0)
        self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def _read(self) -> bool:
        ready, _, _ = select.select([self._fd], [], [], 0.2)
        if not ready:
            return True
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError:  # the last process has closed it
            data = b""
        self.bytes += data
        self._stream.feed(data)
        return bool(data)

    def close(self) -> None:
        if self.code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._fd)


def slurmsweep(*words: str) -> list[str]:
    """Return the command line of slurmsweep."""
    return [sys.executable, "-m", "slurmsweep", *words]
