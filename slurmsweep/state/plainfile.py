"""Read a small file of a sweep whole: one that is what it should be, and not a link or a pipe in its place."""

from __future__ import annotations

import os
import stat

from slurmsweep.errors import StateUnreadableError


def read_plain_file(path: str) -> bytes | None:
    """The content; None where there is no such file. A symbolic link is not followed.

    Raises:
        StateUnreadableError: it is not a plain file, or may not be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateUnreadableError(f"{path}: {error.strerror}") from error
    try:
        return _read(path, descriptor)
    except OSError as error:
        raise StateUnreadableError(f"{path}: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _read(path: str, descriptor: int) -> bytes:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise StateUnreadableError(f"{path} is not a plain file")
    data = os.read(descriptor, status.st_size + 1)
    while len(data) < status.st_size and (more := os.read(descriptor, status.st_size)):
        data += more
    return data
