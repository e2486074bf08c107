"""What a function prints goes to the terminal, and into its trial's log as well.

Guaranteed for all that is written to the objects ``sys.stdout`` and ``sys.stderr`` of this process (print, warnings,
loggers that hold them, tracebacks): it is in the log when the write returns, also if the process is killed then. Not
for what bypasses them: ``sys.stdout.buffer``, processes that the function starts, libraries that write to descriptor 1
or 2 themselves. That goes to the terminal alone. A trial that runs a program has all of it in its log.
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
    """Stands in the place of a stream's ``write``."""

    def __init__(self, write: Any) -> None:
        self.write = write
        self.log: int | None = None

    def __call__(self, text: Any, /) -> Any:
        written = self.write(text)
        if self.log is not None and isinstance(text, str):
            append(self.log, text)
        return written


#: Of streams whose ``write`` was replaced. wandb does the same when it is imported and cannot be undone: where it came
#: later, it holds ours, which then stays and does nothing until the next trial.
_copiers: WeakKeyDictionary[Any, _Copier] = WeakKeyDictionary()


@contextmanager
def copied_to(log: int) -> Iterator[None]:
    """Copy what is written to ``sys.stdout`` and ``sys.stderr`` to the log of that descriptor.

    A stream that cannot be copied is said so in the log, once.
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
                _put_back(stream, copier)


def report(text: str, log: int) -> None:
    """Write lines of ours to ``sys.stderr`` and to the log, each once."""
    copier = _copiers.get(sys.stderr) if sys.stderr is not None else None
    if copier is None or copier.log is None:
        append(log, text)
    if sys.stderr is not None:
        sys.stderr.write(text)


def append(log: int, text: str) -> None:
    """Write text to a log. A log that cannot be written is no reason to end what prints."""
    with suppress(OSError):
        durable.write_all(log, text.encode("utf-8", "backslashreplace"))


def _put_back(stream: Any, copier: _Copier) -> None:
    del stream.write
    if stream.write != copier.write:  # what stood there was not the class's own method: wandb's, for example
        stream.write = copier.write
    del _copiers[stream]


def _copier(stream: Any) -> _Copier | None:
    """What copies a stream, put there now unless it is there; None for streams that let nobody do so."""
    with suppress(TypeError, AttributeError):
        known = _copiers.get(stream)
        if known is not None:
            return known
        copier = _Copier(stream.write)
        stream.write = copier
        _copiers[stream] = copier
        return copier
    return None
