"""Copy what a function prints to its trial's log; it goes to the terminal, too.

Guarantee: text written to the objects ``sys.stdout`` and ``sys.stderr`` of this process (by print, warnings, loggers
that hold them, tracebacks) is in the log when the write returns, even if the process is killed then. Limit: output that
bypasses them goes to the terminal alone: ``sys.stdout.buffer``, processes that the function starts, libraries that
write to descriptor 1 or 2 themselves. A trial that runs a program has all output in its log.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from slurmsweep.state import files as durable

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Copier:
    """A replacement of a stream's ``write``; it copies to ``log``, a descriptor, or does not while that is None."""

    def __init__(self, write: Any) -> None:
        self.write = write
        self.log: int | None = None

    def __call__(self, text: Any, /) -> Any:
        written = self.write(text)
        if self.log is not None and isinstance(text, str):
            append(self.log, text)
        return written


#: Copiers by stream. wandb, too, replaces ``write`` when it is imported, which cannot be undone: if it came later, it
#: holds the copier, which then stays, and does nothing until the next trial.
_copiers: WeakKeyDictionary[Any, _Copier] = WeakKeyDictionary()


@contextmanager
def copied_to(log: int) -> Iterator[None]:
    """Copy what is written to ``sys.stdout`` and ``sys.stderr`` to the log of that descriptor.

    The log says so of a stream that cannot be copied.
    """
    streams: list[Any] = [stream for stream in dict.fromkeys((sys.stdout, sys.stderr)) if stream is not None]
    copying = {}
    for stream in streams:
        copier = _copier(stream)
        if copier is None:
            append(log, f"slurmsweep: what is written to {stream!r} cannot be copied to this log\n")
        else:
            copier.log = log
            copying[stream] = copier
    try:
        yield
    finally:
        for stream, copier in copying.items():
            copier.log = None
            if stream.__dict__.get("write") is copier:
                del stream.write
                if stream.write != copier.write:  # it was not the class's own method, but wandb's, for example
                    stream.write = copier.write
                del _copiers[stream]


def report(text: str, log: int) -> None:
    """Write lines of slurmsweep's own to ``sys.stderr`` and to the log, each once."""
    copier = _copiers.get(sys.stderr) if sys.stderr is not None else None
    if copier is None or copier.log is None:
        append(log, text)
    if sys.stderr is not None:
        sys.stderr.write(text)


def append(log: int, text: str) -> None:
    """Write text to a log; a log that cannot be written must not end the function that prints."""
    with suppress(OSError):
        durable.write_all(log, text.encode("utf-8", "backslashreplace"))


def note(message: str) -> None:
    """Print a line of slurmsweep's own on ``sys.stderr``, outside of any trial."""
    print(f"slurmsweep: {message}", file=sys.stderr, flush=True)


def _copier(stream: Any) -> _Copier | None:
    """Return the copier of a stream, made now if there is none; None for streams whose ``write`` cannot be replaced."""
    with suppress(TypeError, AttributeError):
        known = _copiers.get(stream)
        if known is not None:
            return known
        copier = _Copier(stream.write)
        stream.write = copier
        _copiers[stream] = copier
        return copier
    return None
