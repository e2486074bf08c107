"""The journal: an append-only file of records, its lock, its last record, and a reader that survives any damage.

A line is ``crc32(8 hex) SP json LF``; the JSON is ASCII with sorted keys and without NaN, at most 16 KiB. A record
counts once its LF is there. The first line names format and version.

The lock (:mod:`slurmsweep.state.lock`) orders writers; **nothing relies on it for correctness**
(docs/decisions/0001): which process runs an attempt is decided by the attempt's folder, and replay needs no order.
"""

from __future__ import annotations

import json
import os
import sys
import time
import zlib
from contextlib import contextmanager
from json.scanner import make_scanner
from typing import TYPE_CHECKING, Any, BinaryIO

from slurmsweep.errors import JournalReplacedError, StateUnreadableError
from slurmsweep.state import files
from slurmsweep.state.fields import Fields, WrongFieldError, refuse_constant, text, whole
from slurmsweep.state.files import reading
from slurmsweep.state.lock import LOCK_TIMEOUT, LockedFile, has_name, unreadable
from slurmsweep.state.tail import Head

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Record = dict[str, Any]

FORMAT = "slurmsweep journal"
VERSION = 1

#: Larger records would not fit the tail that claims read; what is big belongs into a file of the attempt's folder.
MAX_RECORD = 16 * 1024

#: Read from the end to find the last record; several times the size of a usual one.
TAIL = 4096

#: Read at once by those that read all.
_BLOCK = 1 << 18

#: Lines that are parsed at once: names are then made once for all of them.
_AT_ONCE = 64

#: Ends a line that a dying writer left open. A bare LF could make a record valid that its writer never saw
#: acknowledged, and whose trial another agent was given since: one cut point per record, found by cutting at every
#: byte.
SEAL = b"~\n"

#: Seconds after which a process that holds the lock counts as held up.
_HELD_UP = 0.05

#: ``json.loads`` without the guess at an encoding and the look for white space, half of its time: there is none.
_parse = make_scanner(json.JSONDecoder(parse_constant=refuse_constant))  # type: ignore[arg-type]  # typeshed has the wrong class


def encode(record: Record) -> bytes:
    """Return the line of a record. Raises ValueError where it is larger than 16 KiB or holds NaN or infinity."""
    content = json.dumps(record, sort_keys=True, allow_nan=False, ensure_ascii=True, separators=(",", ":")).encode()
    if len(content) > MAX_RECORD:
        raise ValueError(f"a record of {len(content)} bytes is larger than {MAX_RECORD}")
    return b"%08x %s\n" % (zlib.crc32(content), content)


def decode(line: bytes) -> Record | None:
    """Return the record of a line without its LF; None where the line is damaged."""
    content = line[9:]
    if not line.startswith(b"%08x " % zlib.crc32(content)):
        return None
    try:
        json_text = content.decode()
        record, end = _parse(json_text, 0)
    except (ValueError, StopIteration, RecursionError):
        return None
    return record if isinstance(record, dict) and end == len(json_text) else None


def decode_all(lines: Sequence[bytes]) -> Iterator[Record | None]:
    """Yield what :func:`decode` returns for each line, a fifth faster: sound lines are parsed many at once.

    Limit: JSON that ends in another line than it begins in is refused only where the number of records shows it. No
    damage makes such lines, since each has its checksum.
    """
    for start in range(0, len(lines), _AT_ONCE):
        some = lines[start : start + _AT_ONCE]
        yield from _decode_together(some) or map(decode, some)


def _decode_together(lines: Sequence[bytes]) -> list[Record] | None:
    """Return the records of lines that are all sound; None where any is not."""
    contents = [line[9:] for line in lines]
    if not all(line.startswith(b"%08x " % zlib.crc32(content)) for line, content in zip(lines, contents, strict=True)):
        return None
    try:
        records, _ = _parse((b"[%s]" % b",".join(contents)).decode(), 0)
    except (ValueError, StopIteration, RecursionError):
        return None
    is_sound = len(records) == len(lines) and all(isinstance(record, dict) for record in records)
    return records if is_sound else None


def header(sweep_id: str) -> bytes:
    """Return the first line of a new journal."""
    return encode({"op": "journal", "format": FORMAT, "version": VERSION, "sweep": sweep_id})


class LockedJournal:
    """The journal while its lock is held: the last record, and appending. Made by :meth:`Journal.locked`."""

    def __init__(self, path: str, descriptor: int, status: os.stat_result) -> None:
        self._path = path
        self._descriptor, self._status, self._locked = descriptor, status, time.monotonic()
        self._size = status.st_size
        tail = self._read(TAIL, max(0, self._size - TAIL))
        self._torn = not tail.endswith(b"\n")
        self.last = self._last_record(tail)
        """The newest whole record. A reader's cache may hide newer ones: what it says is a hint."""

    @property
    def end(self) -> int:
        """Offset of the next record. A hint, as :attr:`last` is: a reader of an offset checks what is there."""
        return self._size + (len(SEAL) if self._torn else 0)

    def append(self, data: bytes, last: Record) -> None:
        """Add encoded records in one write, on disk when this returns.

        Args:
            data: the lines of all of them.
            last: the last one.

        Raises:
            StateUnwritableError: either writing failed, and no reader will ever see the last record; or the fsync
                failed, and readers may. In the second case only, :attr:`last` is the newest of the records.
            JournalReplacedError: they were written to a file that is not the journal any more. This is looked for only
                where the process was held up since it had the lock, as by a stop signal: in a shorter time a person
                does not replace a file, and a look makes clients of a network filesystem split records of others
                (``tests/faults/test_network_filesystem.py``: 3 of 4 runs without locks had torn records, else none).
        """
        line = (SEAL if self._torn else b"") + data
        self._torn = True  # until every byte is there
        with files.writing(self._path):
            files.write_all(self._descriptor, line)
        self._torn = False
        self._size += len(line)
        self.last = last
        with files.writing(self._path):
            os.fsync(self._descriptor)
            if time.monotonic() - self._locked < _HELD_UP or has_name(self._status, self._path):
                return
        raise JournalReplacedError(
            f"{self._path}: it was removed or replaced in this moment, and the change may be missing in it: run the "
            "command again"
        )

    def record_at(self, offset: int) -> Record | None:
        """Return the record that begins at ``offset``; None where none does: offsets in records are hints."""
        if offset >= self._size:
            return None
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
                if record is not None and _has_sound_head(record):
                    return record
            if window >= self._size:
                raise StateUnreadableError(
                    f"{self._path}: not one whole record in it; `slurmsweep check` says what can be recovered",
                )
            window *= 8
            tail = self._read(window, max(0, self._size - window))


class Journal(LockedFile):
    """A sweep's journal on disk."""

    @contextmanager
    def locked(self, timeout: float = LOCK_TIMEOUT) -> Iterator[LockedJournal]:
        """Hold the lock. Other processes wait, so no scheduler is asked and no search is done inside.

        Raises as :meth:`held`, and StateUnreadableError where not one whole record is in the file.
        """
        with self.held(timeout) as (descriptor, status):
            yield LockedJournal(self.path, descriptor, status)

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Open the file to read it; takes no lock. Raises StateUnreadableError."""
        try:
            file = os.fdopen(os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
        except OSError as error:
            raise unreadable(self.path, error) from error
        with reading(self.path), file:
            yield file

    def blocks(self, file: BinaryIO, offset: int = 0, end: int = sys.maxsize) -> Iterator[list[bytes]]:
        """Yield the lines from ``offset`` on, without their LF, many at a time; an unfinished last line is left out.

        Args:
            file: the open journal.
            offset: where a line begins. At 0 the first line is checked.
            end: where to stop: after a line.

        Raises:
            StateUnreadableError: it is no journal, or a newer slurmsweep's.
        """
        file.seek(offset)
        if offset == 0:
            _refuse_newer(self.path, decode(file.readline(MAX_RECORD).rstrip(b"\n")))
            file.seek(0)
        rest = b""
        while block := file.read(min(_BLOCK, end - file.tell())):
            *lines, rest = (rest + block).split(b"\n")
            if lines:
                yield lines

    def lines_with(self, file: BinaryIO, word: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield offset and text of the lines that contain ``word``, from the end of the file backwards.

        Much faster than decoding each line.
        """
        start, rest = file.seek(0, os.SEEK_END), b""
        while start:
            size = min(_BLOCK, start)
            start = file.seek(start - size)
            data = file.read(size) + rest
            whole = data.find(b"\n") + 1 if start else 0  # a line that begins before is met with the next block
            found, end = [], whole if whole or not start else len(data)
            while (position := data.find(word, end)) >= 0:  # forwards: several times as fast as rfind
                begin, end = data.rfind(b"\n", 0, position) + 1, data.find(b"\n", position)
                if end < 0:
                    break  # the line is not finished yet
                found.append((start + begin, data[begin:end]))
            yield from reversed(found)
            rest = data[:whole] if whole or not start else data


def whole_records(path: str, sweep_id: str) -> list[Record]:
    """Return every record that can be read, whatever is broken around it; that of the first line is left out.

    Raises:
        StateUnreadableError: the file is another sweep's, or of a newer version; or it cannot be opened, or read.
    """
    with Journal(path).opened() as file:
        records = [record for raw in file if raw.endswith(b"\n") and (record := decode(raw[:-1]))]
    for first in (record for record in records if record.get("format") == FORMAT):
        _refuse_newer(path, first)
        if first["sweep"] != sweep_id:
            raise StateUnreadableError(f"{path} is the journal of sweep {first['sweep']}, not of {sweep_id}")
    return [record for record in records if "h" in record]


def _refuse_newer(path: str, record: Record | None) -> None:
    try:
        first = _HEADER(record or {})
    except WrongFieldError as error:
        raise StateUnreadableError(f"{path}: its first line is not that of a slurmsweep journal: {error}") from error
    if first["format"] != FORMAT:
        raise StateUnreadableError(f"{path}: its first line is not that of a slurmsweep journal")
    if first["version"] > VERSION:
        raise StateUnreadableError(
            f"{path}: written by a newer slurmsweep (journal version {first['version']}, this one reads {VERSION}): "
            "update slurmsweep; nothing was read or changed",
        )


def _has_sound_head(record: Record) -> bool:
    """Return whether claims can go on from the head of a record; an absent one is empty, as that of the first line."""
    try:
        Head.from_json(record.get("h", {}))
    except WrongFieldError:
        return False
    return True


_HEADER = Fields({"format": text, "version": whole(), "sweep": text})
