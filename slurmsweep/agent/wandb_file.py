"""Reads the file of an offline wandb run (``run-<id>.wandb``): history, summary, exit code. Standard library only.

The agent's Python need not have wandb installed (the training script's may be another), and asking wandb's own
``wandb-core leet inspect`` needs one that is recent enough; so the format is read by hand.

Format (``wandb.sdk.internal.datastore`` up to 0.28, unchanged in wandb-core 0.31): a 7-byte header, then blocks of 32
KiB holding LevelDB log frames (crc32c, length, type); a record is a frame, or several; its content is a protobuf
``Record`` (``wandb/proto/wandb_internal.proto``). Checksums are not verified: Python has no crc32c, and a torn tail
shows by its length.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADER = 7
_BLOCK = 32 * 1024
_FRAME_HEADER = 7
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4

#: Field numbers of wandb_internal.proto.
_RECORD_HISTORY, _RECORD_SUMMARY, _RECORD_EXIT = 2, 3, 18
_ITEM, _KEY, _NESTED_KEY, _VALUE_JSON, _EXIT_CODE = 1, 1, 2, 16, 1

#: Protobuf wire types.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass
class RunFile:
    """What a run file says so far.

    Attributes:
        history: one dictionary per logged step, nested keys joined by dots.
        summary: the newest value of each key; with ``define_metric(summary="min")`` a dictionary ``{"min": ...}``.
        exit_code: None while the run goes on, or when it was cut off.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None


def read(path: str) -> RunFile:
    """Everything whole in the file. A torn or empty tail is left out; never raises for content. Raises OSError."""
    with open(path, "rb") as file:
        data = file.read()
    run = RunFile()
    for record in _records(data):
        # a record of a kind, or from a version, that has another shape says nothing to us
        with suppress(IndexError, ValueError):
            _take(record, run)
    return run


def _take(record: bytes, run: RunFile) -> None:
    for number, value in _fields(record):
        if number == _RECORD_HISTORY:
            run.history.append(_items(value))
        elif number == _RECORD_SUMMARY:
            run.summary.update(_items(value))
        elif number == _RECORD_EXIT:
            run.exit_code = next((int(v) for n, v in _fields(value) if n == _EXIT_CODE), 0)


def _items(message: bytes) -> dict[str, Any]:
    """Keys and values of a HistoryRecord or SummaryRecord."""
    found = {}
    for number, item in _fields(message):
        if number == _ITEM:
            parts = list(_fields(item))
            keys = [v.decode() for n, v in parts if n == _NESTED_KEY] or [v.decode() for n, v in parts if n == _KEY]
            text = next((v for n, v in parts if n == _VALUE_JSON), b"null")
            found[".".join(keys)] = json.loads(text)
    return found


def _records(data: bytes) -> Iterator[bytes]:
    """Records put together from frames. Frames never cross a block; a rest of under 7 bytes in a block is padding."""
    parts = b""
    offset = _HEADER
    while True:
        left = _BLOCK - offset % _BLOCK
        if left < _FRAME_HEADER:
            offset += left
            continue
        if offset + _FRAME_HEADER > len(data):
            return
        length = int.from_bytes(data[offset + 4 : offset + 6], "little")
        kind = data[offset + 6]
        end = offset + _FRAME_HEADER + length
        if end > len(data) or kind not in (_FULL, _FIRST, _MIDDLE, _LAST):
            return
        content = data[offset + _FRAME_HEADER : end]
        parts = content if kind in (_FULL, _FIRST) else parts + content
        if kind in (_FULL, _LAST):
            yield parts
        offset = end


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers and values of a protobuf message: integers and byte strings; fixed-width ones as bytes."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire == _BYTES:
            length, position = _varint(message, position)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if position + length > len(message):
            raise ValueError("a field longer than its message")
        yield number, message[position : position + length]
        position += length


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position += 1
        shift += 7
        if byte < 0x80:
            return value, position
