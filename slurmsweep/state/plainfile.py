"""Read what is on disk, with errors that say what could not be read."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from slurmsweep.errors import StateUnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn an operating-system error on ``path`` into a StateUnreadableError; a missing file passes through."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StateUnreadableError(f"cannot read {path}: {error.strerror}; nothing was changed") from error


def read_plain_file(path: str) -> bytes | None:
    """The whole content of a small file; None where there is none. A symbolic link is not followed.

    Raises:
        StateUnreadableError: it is not a plain file, or may not or cannot be read.
    """
    try:
        with reading(path):
            return _read(path)
    except FileNotFoundError:
        return None


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise StateUnreadableError(f"{path} is not a plain file")
        data = os.read(descriptor, status.st_size + 1)
        while len(data) < status.st_size and (more := os.read(descriptor, status.st_size)):
            data += more
        return data
    finally:
        os.close(descriptor)
