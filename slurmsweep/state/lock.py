"""The lock of a file that many processes append to: the operating system's, on the file's own descriptor.

Taking it makes a network filesystem look at the file again, it leaves no other file behind, and it is gone with its
holder. It orders writers; **nothing relies on it for correctness** (docs/decisions/0001).
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from slurmsweep.errors import LockTimeoutError, StateUnreadableError
from slurmsweep.state.paths import rescued_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds to wait for a lock. Long enough for thousands of jobs that start together, short enough that a job does not
#: wait for ever.
LOCK_TIMEOUT = 600.0

#: Seconds that a process waits at most: before its second try; in the first two seconds; and after 40 seconds.
_FIRST_WAIT = 0.01
_LONGEST_FIRST_WAIT = 0.25
_LONGEST_WAIT_OF_ALL = 5.0

#: Seconds after which a process that waits says so, once.
_SILENT = 10.0

#: A link or a pipe that was put in the place of the file must neither be followed nor wait for ever.
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

#: A file server that restarts answers these for a while.
_PASSING_ERRORS = frozenset({errno.ENOLCK, errno.ESTALE, errno.EIO})


class LockedFile:
    """A file that one process at a time may append to.

    Args:
        path: of the file; it must exist.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.tries = 0
        """How often the lock was asked for so far: what waiting costs the file server."""
        self._has_said = False
        self.first_wait = _FIRST_WAIT
        """Seconds within which the second try falls. An agent of an array of thousands sets it higher."""

    @contextmanager
    def held(self, timeout: float = LOCK_TIMEOUT) -> Iterator[tuple[int, os.stat_result]]:
        """Hold the lock; give the descriptor of the file, open for appending, and what the system says of the file.

        Waiting is by full-jitter back-off, so that thousands of jobs neither march in step nor hammer the file server.

        Raises:
            LockTimeoutError: other processes held it for ``timeout`` seconds.
            StateUnreadableError: the file is missing, not a plain file, or not permitted.
        """
        descriptor, status = self._acquire(timeout)
        try:
            yield descriptor, status
        finally:
            _let_go(descriptor)  # of the lock, too

    def _acquire(self, timeout: float) -> tuple[int, os.stat_result]:
        """Return a descriptor that holds the lock of the file that has the name now, and the status of that file."""
        started = time.monotonic()
        longest = self.first_wait
        while True:
            try:
                descriptor = os.open(self.path, _FLAGS)
            except OSError as error:
                raise unreadable(self.path, error) from error
            try:
                status = self._wait_for_lock(descriptor, started, timeout, longest)
            except BaseException:
                _let_go(descriptor)
                raise
            if status is not None:
                return descriptor, status
            _let_go(descriptor)
            longest = _LONGEST_FIRST_WAIT
            self._wait(started, timeout, longest)

    def _wait_for_lock(self, descriptor: int, started: float, timeout: float, longest: float) -> os.stat_result | None:
        """Return the status of the file once its lock is held; None where the file has to be opened again.

        That is: the file server is out of order for a while, or a repair replaced the file while this process waited.
        A process that has waited long asks less often: thousands of jobs behind one lock then cost the file server a
        few hundred tries a second and not thousands.

        Raises StateUnreadableError where it is no plain file, or where another error of the system keeps it from being
        locked; and LockTimeoutError.
        """
        while True:
            self.tries += 1
            try:
                if self._try_lock(descriptor):
                    status = os.fstat(descriptor)
                    if not stat.S_ISREG(status.st_mode):
                        raise StateUnreadableError(f"{self.path} is not a plain file: it is not this sweep's journal")
                    return status if has_name(status, self.path) else None
            except OSError as error:
                if error.errno in _PASSING_ERRORS:
                    return None
                raise unreadable(self.path, error) from error
            self._wait(started, timeout, longest)
            bound = min(_LONGEST_WAIT_OF_ALL, max(_LONGEST_FIRST_WAIT, (time.monotonic() - started) / 8))
            longest = min(longest * 1.6, max(self.first_wait, bound))

    def _wait(self, started: float, timeout: float, longest: float) -> None:
        if time.monotonic() - started >= timeout:
            raise LockTimeoutError(
                f"{self.path}: other processes held its lock for {timeout:.0f} s; nothing was changed. "
                "If none of them lives, a file server may hold a dead lock: see docs/failure.md",
            )
        if not self._has_said and time.monotonic() - started >= _SILENT:
            self._has_said = True
            import logging  # few processes wait so long

            logger = logging.getLogger("slurmsweep")
            logger.warning("slurmsweep: %s is locked by other processes: waiting, %.0f s at most", self.path, timeout)
        import random  # a process that finds the lock free needs none

        time.sleep(random.uniform(0, longest))  # noqa: S311 - jitter, not a secret

    def _try_lock(self, descriptor: int) -> bool:
        """Return whether the lock is held now. Raises OSError where the file server is out of order."""
        from filelock import lock_descriptor  # as costly as all of ours for `status`, which locks nothing

        try:
            return lock_descriptor(descriptor, blocking=False)
        except OSError as error:
            if error.errno in _PASSING_ERRORS:
                raise
            raise StateUnreadableError(
                f"{self.path}: this filesystem does not lock files ({error.strerror}): put the sweep on another one by "
                "WANDB_DIR; nothing was changed",
            ) from error


def has_name(file: os.stat_result, path: str) -> bool:
    """Return whether a file still has that name; False where no file or another one has it. Raises OSError."""
    try:
        return os.path.samestat(file, os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def unreadable(path: str, error: OSError) -> StateUnreadableError:
    """Return the error that says why the journal at ``path`` cannot be opened, and what to do."""
    folder = os.path.dirname(path)
    missing = "it is missing; `slurmsweep check` says what can be recovered"
    if not os.path.exists(os.path.join(folder, "sweep.json")):
        missing = f"the folder of the sweep was removed; agents keep what they still know in {rescued_folder(folder)}"
    hints = {
        errno.ENOENT: missing,
        errno.EACCES: "you may not open it: ask the sweep's owner",
        errno.ELOOP: "a symbolic link stands in its place: it was not followed",
    }
    return StateUnreadableError(f"{path}: {hints.get(error.errno or 0, error.strerror)}")


def _let_go(descriptor: int) -> None:
    """Close the file. What was to be on disk has been fsynced, so an error that comes this late changes nothing."""
    with suppress(OSError):  # close(2): the descriptor is closed all the same
        os.close(descriptor)
