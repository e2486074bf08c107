"""The journal: an append-only file of records, its lock, its last record, and a reader that survives any damage.

A line is ``crc32(8 hex) SP json LF``; the JSON is ASCII with sorted keys and without NaN, at most 16 KiB. A record
counts once its LF is there. The first line names format and version.

The lock is the operating system's, on the journal's own descriptor: taking it makes a network filesystem look at the
file again, it leaves no file behind, and it is gone with its holder. It orders writers; **nothing relies on it for
correctness** (docs/decisions/0001): who runs an attempt is decided by its folder, and the fold needs no order.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import time
import zlib
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from filelock import lock_descriptor

from slurmsweep.errors import LockTimeoutError, StateUnreadableError
from slurmsweep.state import files as durable
from slurmsweep.state.plainfile import reading

if TYPE_CHECKING:
    from collections.abc import Iterator

Record = dict[str, Any]

FORMAT = "slurmsweep journal"
VERSION = 1

#: Larger records would not fit the tail that claims read; what is big belongs into a file of the attempt's folder.
MAX_RECORD = 16 * 1024

#: Read from the end to find the last record; several times the size of a usual one.
TAIL = 4096

#: Ends a line that a dying writer left open. A bare LF could make a record valid that its writer never saw
#: acknowledged, and whose trial somebody else was given since: one cut point per record, found by cutting at every
#: byte.
SEAL = b"~\n"

#: Seconds. Long enough for thousands of jobs that start together, short enough that a job does not wait for ever.
LOCK_TIMEOUT = 600.0
_FIRST_WAIT = 0.01
_LONGEST_FIRST_WAIT = 0.25
_LONGEST_WAIT_OF_ALL = 5.0

#: ``json.loads`` without the guess at an encoding and the look for white space, a third of its time: there is none.
_parse = json.JSONDecoder().raw_decode

#: A file server that restarts answers these for a while.
_PASSING_ERRORS = frozenset({errno.ENOLCK, errno.ESTALE, errno.EIO})


def encode(record: Record) -> bytes:
    """The line of a record. Raises ValueError where it is larger than 16 KiB or holds NaN or infinity."""
    text = json.dumps(record, sort_keys=True, allow_nan=False, ensure_ascii=True, separators=(",", ":")).encode()
    if len(text) > MAX_RECORD:
        raise ValueError(f"a record of {len(text)} bytes is larger than {MAX_RECORD}")
    return b"%08x %s\n" % (zlib.crc32(text), text)


def decode(line: bytes) -> Record | None:
    """The record of a line without its LF; None where the line is damaged."""
    checksum, _, text = line.partition(b" ")
    if len(checksum) != 8 or checksum != b"%08x" % zlib.crc32(text):
        return None
    try:
        json_text = text.decode()
        record, end = _parse(json_text)
    except ValueError:
        return None
    return record if isinstance(record, dict) and end == len(json_text) else None


def header(sweep_id: str) -> bytes:
    """The first line of a new journal."""
    return encode({"op": "journal", "format": FORMAT, "version": VERSION, "sweep": sweep_id})


class Line(NamedTuple):
    """One line of the journal as a reader met it.

    Attributes:
        number: 1-based.
        end: offset of the byte after its LF.
        record: None where the line is damaged.
        sealed: the line is what a dying writer left, closed by its successor: harmless, nobody relied on it.
    """

    number: int
    end: int
    record: Record | None
    sealed: bool = False


class LockedJournal:
    """The journal while its lock is held: the last record, and appending. Made by :meth:`Journal.locked`."""

    def __init__(self, path: str, descriptor: int, size: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._size = size
        tail = self._read(TAIL, max(0, size - TAIL))
        self._torn = not tail.endswith(b"\n")
        self.last = self._last_record(tail)
        """The newest whole record. A reader's cache may hide newer ones: what it says is a hint."""

    @property
    def end(self) -> int:
        """Offset of the next record. A hint, as :attr:`last` is: who follows an offset checks what is there."""
        return self._size + (len(SEAL) if self._torn else 0)

    def append(self, data: bytes, last: Record) -> None:
        """Add encoded records in one write, on disk when this returns.

        Args:
            data: the lines of all of them.
            last: the last one.

        Raises:
            StateUnwritableError: either writing failed, and no reader will ever see the last record; or the fsync
                failed, and readers may. In the second case only, :attr:`last` is the newest of the records.
        """
        line = (SEAL if self._torn else b"") + data
        self._torn = True  # until every byte is there
        with durable.writing(self._path):
            durable.write_all(self._descriptor, line)
        self._torn = False
        self._size += len(line)
        self.last = last
        with durable.writing(self._path):
            os.fsync(self._descriptor)

    def record_at(self, offset: int) -> Record | None:
        """The record that begins at ``offset``; None where none does: offsets in records are hints."""
        line, end, _ = self._read(TAIL, offset).partition(b"\n")
        return decode(line) if end else None

    def _read(self, size: int, offset: int) -> bytes:
        with reading(self._path):
            return os.pread(self._descriptor, size, offset)

    def _last_record(self, tail: bytes) -> Record:
        window = TAIL
        while True:
            for line in reversed(tail.split(b"\n")[:-1]):
                record = decode(line)
                if record is not None:
                    return record
            if window >= self._size:
                raise StateUnreadableError(
                    f"{self._path}: not one whole record in it; `slurmsweep check` says what can be recovered",
                )
            window *= 8
            tail = self._read(window, max(0, self._size - window))


class Journal:
    """A sweep's journal on disk.

    Args:
        path: of the file; it must exist, made by :func:`create`.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.tries = 0
        """How often the lock was asked for so far: what waiting costs the file server."""
        self.first_wait = _FIRST_WAIT
        """Seconds within which the second try falls. Who knows to be one of thousands sets it higher."""

    @contextmanager
    def locked(self, timeout: float = LOCK_TIMEOUT) -> Iterator[LockedJournal]:
        """Hold the lock. Other processes wait, so no scheduler is asked and no search is done inside.

        Waiting is by full-jitter back-off, so that thousands of jobs neither march in step nor hammer the file server.

        Raises:
            LockTimeoutError: others held it for ``timeout`` seconds.
            StateUnreadableError: the file is missing, not a plain file, or not permitted.
        """
        descriptor, size = self._acquire(timeout)
        try:
            yield LockedJournal(self.path, descriptor, size)
        finally:
            _let_go(descriptor)  # of the lock, too

    @contextmanager
    def locked_whatever_is_in_it(self, timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
        """Hold the lock of a file that may be damaged beyond reading. Raises as :meth:`locked`."""
        descriptor, _ = self._acquire(timeout)
        try:
            yield
        finally:
            _let_go(descriptor)

    def lines(self, offset: int = 0, number: int = 0) -> Iterator[Line]:
        """Every line from ``offset`` on, damaged ones too; an unfinished last line is left out. Takes no lock.

        Args:
            offset: where a line begins.
            number: how many lines come before it.
        """
        with reading(self.path), self._open_to_read() as file:
            file.seek(offset)
            for raw in file:
                if not raw.endswith(b"\n"):
                    return
                number += 1
                record = decode(raw[:-1])
                if offset == 0:
                    _refuse_newer(self.path, record)
                offset += len(raw)
                yield Line(number, offset, record, sealed=record is None and raw.endswith(SEAL))

    def _open_to_read(self) -> BinaryIO:
        try:
            return os.fdopen(os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def _acquire(self, timeout: float) -> tuple[int, int]:
        """A descriptor that holds the lock of the file that is the journal now, and the file's size."""
        started = time.monotonic()
        longest = self.first_wait
        while True:
            descriptor = self._open()
            try:
                size = self._wait_for_lock(descriptor, started, timeout, longest)
            except BaseException:
                _let_go(descriptor)
                raise
            if size is not None:
                return descriptor, size
            _let_go(descriptor)
            longest = _LONGEST_FIRST_WAIT
            self._wait(started, timeout, longest)

    def _wait_for_lock(self, descriptor: int, started: float, timeout: float, longest: float) -> int | None:
        """The file's size once its lock is held; None where another file has to be opened.

        That is: the file server is out of order for a while, or a repair replaced the file while this process waited.
        """
        while True:
            self.tries += 1
            try:
                if self._try_lock(descriptor):
                    return self._size_if_current(descriptor)
            except OSError as error:
                if error.errno in _PASSING_ERRORS:
                    return None
                raise _unreadable(self.path, error) from error
            self._wait(started, timeout, longest)
            longest = min(longest * 1.6, max(self.first_wait, _longest_wait(time.monotonic() - started)))

    def _wait(self, started: float, timeout: float, longest: float) -> None:
        if time.monotonic() - started >= timeout:
            raise LockTimeoutError(
                f"{self.path}: other processes held its lock for {timeout:.0f} s; nothing was changed. "
                "If none of them lives, a file server may hold a dead lock: see docs/failure.md",
            )
        import random  # who finds the lock free needs none

        time.sleep(random.uniform(0, longest))  # noqa: S311 - jitter, not a secret

    def _try_lock(self, descriptor: int) -> bool:
        """Whether the lock is held now. Raises OSError where the file server is out of order."""
        try:
            return lock_descriptor(descriptor, blocking=False)
        except OSError as error:
            if error.errno in _PASSING_ERRORS:
                raise
            raise StateUnreadableError(
                f"{self.path}: this filesystem does not lock files ({error.strerror}): put the sweep on another one by "
                "WANDB_DIR; nothing was changed",
            ) from error

    def _size_if_current(self, descriptor: int) -> int | None:
        """Size of the open file; None where it is not the journal any more.

        Raises:
            StateUnreadableError: what stands in the journal's place is not a plain file.
            OSError: the file server is out of order.
        """
        here = os.fstat(descriptor)
        if not stat.S_ISREG(here.st_mode):
            raise StateUnreadableError(f"{self.path} is not a plain file: it is not this sweep's journal")
        try:
            there = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return here.st_size if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino) else None

    def _open(self) -> int:
        # O_NOFOLLOW and O_NONBLOCK: a link or a pipe put in the journal's place must neither be followed nor wait for
        # ever
        flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            return os.open(self.path, flags)
        except OSError as error:
            raise _unreadable(self.path, error) from error


def _let_go(descriptor: int) -> None:
    """Close the journal. What was to be on disk has been fsynced, so an error that comes this late changes nothing."""
    with suppress(OSError):  # close(2): the descriptor is closed all the same
        os.close(descriptor)


def _longest_wait(waited: float) -> float:
    """The longest pause between two tries, in seconds: who has waited long asks less often.

    Thousands of jobs behind one lock then cost the file server a few hundred tries a second and not thousands.
    """
    return min(_LONGEST_WAIT_OF_ALL, max(_LONGEST_FIRST_WAIT, waited / 8))


def _try_lock(descriptor: int) -> bool | None:
    """True: held now. False: somebody else holds it. None: the file server is out of order, open the file again."""
    try:
        return lock_descriptor(descriptor, blocking=False)
    except OSError as error:
        if error.errno in _PASSING_ERRORS:
            return None
        _let_go(descriptor)
        raise StateUnreadableError(
            f"this filesystem does not lock files ({error.strerror}): put the sweep on another one by WANDB_DIR",
        ) from error


def _unreadable(path: str, error: OSError) -> StateUnreadableError:
    hints = {
        errno.ENOENT: "it is missing; `slurmsweep check` says what can be recovered",
        errno.EACCES: "you may not open it: ask the sweep's owner",
        errno.ELOOP: "a symbolic link stands in its place: it was not followed",
    }
    return StateUnreadableError(f"{path}: {hints.get(error.errno or 0, error.strerror)}")


def whole_records(path: str, sweep_id: str) -> list[Record]:
    """Every record that can be read, wherever it stands, whatever is broken around it; the first line's is left out.

    Raises:
        StateUnreadableError: the file is another sweep's, or of a newer version; or it cannot be opened.
    """
    with Journal(path)._open_to_read() as file:  # noqa: SLF001 - the same module
        records = [record for raw in file if raw.endswith(b"\n") and (record := decode(raw[:-1]))]
    for first in (record for record in records if record.get("format") == FORMAT):
        _refuse_newer(path, first)
        if first["sweep"] != sweep_id:
            raise StateUnreadableError(f"{path} is the journal of sweep {first['sweep']}, not of {sweep_id}")
    return [record for record in records if "h" in record]


def _refuse_newer(path: str, record: Record | None) -> None:
    if record is None or record.get("format") != FORMAT:
        raise StateUnreadableError(f"{path}: its first line is not that of a slurmsweep journal")
    if record["version"] > VERSION:
        raise StateUnreadableError(
            f"{path}: written by a newer slurmsweep (journal version {record['version']}, this one reads {VERSION}): "
            "update slurmsweep; nothing was read or changed",
        )
