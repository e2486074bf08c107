"""The fields of a protobuf message, without a protobuf library: what reading a wandb run file needs, and no more.

Format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Wire types.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Field(NamedTuple):
    """One field as it stands in its message.

    Attributes:
        number: of the field.
        content: of strings, messages and fixed-width numbers; empty for a varint.
        integer: of a varint; 0 otherwise.
        raw: all its bytes, tag and length included.
    """

    number: int
    content: bytes
    integer: int
    raw: bytes


def fields(message: bytes) -> Iterator[Field]:
    """The fields in the order of the message.

    Raises:
        IndexError, ValueError: at the point where it is no protobuf message.
    """
    position = 0
    while position < len(message):
        start = position
        tag, position = _varint(message, position)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, position = _varint(message, position)
            yield Field(number, b"", value, message[start:position])
            continue
        if wire == _BYTES:
            length, position = _varint(message, position)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        end = position + length
        if end > len(message):
            raise ValueError("a field longer than its message")
        yield Field(number, message[position:end], 0, message[start:end])
        position = end


def bytes_field(number: int, content: bytes) -> bytes:
    """A string or message as a field."""
    return _to_varint(number << 3 | _BYTES) + _to_varint(len(content)) + content


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position += 1
        shift += 7
        if byte < 0x80:
            return value, position


def _to_varint(value: int) -> bytes:
    digits = bytearray()
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)
