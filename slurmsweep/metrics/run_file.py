"""Read the file of a wandb run (``run-<id>.wandb``): history, summary, exit code. Standard library only.

The agent's Python need not have wandb installed (the training script's may be another), so the format is read by hand
instead of asking ``wandb-core leet inspect``: ``docs/decisions/0006-own-reader-of-run-files.md``.

Format (``wandb.sdk.internal.datastore`` up to 0.28, unchanged in the wandb-core of 0.31): a 7-byte header, then blocks
of 32 KiB holding LevelDB log frames: crc32 of type and content (zlib's, not LevelDB's crc32c), length, type, content. A
record is a frame, or several; its content is a protobuf ``Record`` (``wandb/proto/wandb_internal.proto``).
"""

from __future__ import annotations

import json
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from slurmsweep.metrics.protobuf import fields, spans

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: ``:W&B``, the magic number 0xBEE1, version 0.
HEADER = b":W&B\xe1\xbe\x00"

_BLOCK = 32 * 1024
_FRAME_HEADER = 7
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4

#: Field numbers of wandb_internal.proto.
_RECORD_HISTORY, _RECORD_SUMMARY, _RECORD_EXIT, _RECORD_PREEMPTING = 2, 3, 18, 23
_ITEM, _REMOVED, _KEY, _NESTED_KEY, _VALUE_JSON, _EXIT_CODE = 1, 2, 1, 2, 16, 1


@dataclass
class RunFile:
    """The content of a run file, as far as it has been read.

    Attributes:
        history: one dictionary per logged step, nested keys joined by dots.
        summary: the newest value of each key; with ``define_metric(summary="min")`` a dictionary ``{"min": ...}``.
        exit_code: None while the run goes on, or when it was cut off.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None


class RecordReader:
    """Reader of the records of a run file, piece by piece, while it is being written.

    A record whose last bytes are not there yet is left for the next call; a damaged frame in a block that is complete
    costs the rest of that block, as for LevelDB. A call opens the file once, reads what was added since the last call,
    and reads the begun block (at most 32 KiB) again. Memory is one block and one record.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._offset = len(HEADER)
        self._parts: bytes | None = None

    def new(self) -> Iterator[bytes]:
        """Yield the records that have become whole since the last call. Raises OSError."""
        with open(self._path, "rb") as file:
            while True:
                start = self._offset - self._offset % _BLOCK
                file.seek(start)
                block = file.read(_BLOCK)
                yield from self._in_block(start, block)
                if self._offset < start + _BLOCK:
                    return

    def _in_block(self, start: int, block: bytes) -> Iterator[bytes]:
        """Yield the records that end in this block; move on to the next block where this one is read to its end."""
        complete = len(block) == _BLOCK
        position = self._offset - start
        while _BLOCK - position >= _FRAME_HEADER:
            frame = _sound_frame(block, position)
            if frame is None:
                if not complete:
                    return  # not all of it is there yet
                self._parts = None
                break
            kind, content = frame
            position += _FRAME_HEADER + len(content)
            self._offset = start + position
            if kind in (_FULL, _FIRST):
                self._parts = content
            elif self._parts is not None:
                self._parts += content
            if kind in (_FULL, _LAST) and self._parts is not None:
                record, self._parts = self._parts, None
                yield record
        self._offset = start + _BLOCK


def _sound_frame(block: bytes, position: int) -> tuple[int, bytes] | None:
    """Return type and content of the frame at ``position``; None if there is none, or its checksum is wrong."""
    end = position + _FRAME_HEADER + int.from_bytes(block[position + 4 : position + 6], "little")
    if position + _FRAME_HEADER > len(block) or end > len(block):
        return None
    checked = block[position + 6 : end]
    if checked[0] not in (_FULL, _FIRST, _MIDDLE, _LAST):
        return None
    if zlib.crc32(checked) != int.from_bytes(block[position : position + 4], "little"):
        return None
    return checked[0], checked[1:]


def log_bytes(records: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a run file that holds these records, in pieces."""
    yield HEADER
    offset = len(HEADER)
    for record in records:
        rest, first = record, True
        while first or rest:
            left = _BLOCK - offset % _BLOCK
            if left < _FRAME_HEADER:
                yield bytes(left)
                offset += left
                left = _BLOCK
            content, rest = rest[: left - _FRAME_HEADER], rest[left - _FRAME_HEADER :]
            opening, following = (_FIRST, _MIDDLE) if rest else (_FULL, _LAST)
            kind = opening if first else following
            checked = bytes([kind]) + content
            yield zlib.crc32(checked).to_bytes(4, "little") + len(content).to_bytes(2, "little") + checked
            offset += _FRAME_HEADER + len(content)
            first = False


def read(path: str) -> RunFile:
    """Return everything that is whole in the file. Never raises for its content. Raises OSError."""
    run = RunFile()
    for record in RecordReader(path).new():
        take(record, run)
    return run


def is_marked_preempting(path: str) -> bool:
    """Return whether the run called ``mark_preempting``. Never raises for the file's content. Raises OSError."""
    for record in RecordReader(path).new():
        with suppress(IndexError, ValueError):  # a record of another shape holds nothing that is known here
            if any(number == _RECORD_PREEMPTING for number, *_ in spans(record)):
                return True
    return False


def take(record: bytes, run: RunFile, keys: Sequence[str] = ()) -> None:
    """Add history, summary and exit code of a record to ``run``. Never raises for the content.

    Only items that contain one of the ``keys`` are read, all if there are none: decoding the values of other keys would
    be nearly all of the work.
    """
    needles = [key.encode() for key in keys]
    # a record of another kind or version may have another shape: it holds nothing that is known here
    with suppress(IndexError, ValueError, RecursionError):
        for number, _, content in fields(record):
            if number == _RECORD_EXIT:
                codes = [integer for inner, integer, _ in fields(content) if inner == _EXIT_CODE]
                run.exit_code = codes[-1] if codes else 0
            elif needles and not any(needle in content for needle in needles):
                continue
            elif number == _RECORD_HISTORY:
                run.history.append(dict(item(part) for kind, part in _wanted(content, needles) if kind == _ITEM))
            elif number == _RECORD_SUMMARY:
                for kind, part in _wanted(content, needles):
                    if kind == _ITEM:
                        run.summary.update((item(part),))
                    elif kind == _REMOVED:
                        run.summary.pop(_joined_key(list(fields(part))), None)


def _wanted(message: bytes, needles: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of the fields that contain one of the needles; of all fields if there are no needles."""
    for number, _, start, end in spans(message):
        if not needles or any(message.find(needle, start, end) >= 0 for needle in needles):
            yield number, message[start:end]


def item(message: bytes) -> tuple[str, Any]:
    """Return key and value of a HistoryItem or SummaryItem."""
    parts = list(fields(message))
    text = next((content for number, _, content in parts if number == _VALUE_JSON), b"null")
    return _joined_key(parts), json.loads(text)


def _joined_key(parts: list[tuple[int, int, bytes]]) -> str:
    nested = [content.decode() for number, _, content in parts if number == _NESTED_KEY]
    return ".".join(nested or [content.decode() for number, _, content in parts if number == _KEY])
