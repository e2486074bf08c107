"""Fields of protobuf messages, read and written without a protobuf library: as much as wandb run files need.

Format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Wire types.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

#: From here on a varint has a further byte.
_MORE = 0x80


def fields(message: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield number, integer, and content of each field, in the order of the message.

    The integer is a varint's, 0 for others; the content is that of strings, messages and fixed-width numbers. Raises
    IndexError or ValueError at the point where it is no protobuf message.
    """
    for number, integer, start, end in spans(message):
        yield number, integer, message[start:end]


def raw_fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield number, content, and all bytes (tag and length included) of each field. Raises as :func:`fields`."""
    begin = 0
    for number, _, start, end in spans(message):
        yield number, message[start:end], message[begin:end]
        begin = end


def spans(message: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield number and integer of each field, and where its content starts and ends (for a varint, both are its end).

    For long messages of which little is needed: nothing is copied. Raises as :func:`fields`.
    """
    position, size = 0, len(message)
    while position < size:
        tag, position = _varint(message, position)
        wire = tag & 7
        if wire == _BYTES:
            length, position = _varint(message, position)
            integer = 0
        elif wire == _VARINT:
            integer, position = _varint(message, position)
            length = 0
        elif wire in (_FIXED64, _FIXED32):
            integer, length = 0, 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        end = position + length
        if end > size:
            raise ValueError("a field longer than its message")
        yield tag >> 3, integer, position, end
        position = end


def bytes_field(number: int, content: bytes) -> bytes:
    """Encode a string or message as a field."""
    return _to_varint(number << 3 | _BYTES) + _to_varint(len(content)) + content


def integer_field(number: int, value: int) -> bytes:
    """Encode a number, or 1 for true, as a field."""
    return _to_varint(number << 3 | _VARINT) + _to_varint(value)


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """Return the varint that begins at ``position``, and the position after it."""
    value = message[position]
    position += 1
    if value < _MORE:
        return value, position
    value &= _MORE - 1
    shift = 7
    while True:
        byte = message[position]
        value |= (byte & _MORE - 1) << shift
        position += 1
        shift += 7
        if byte < _MORE:
            return value, position


def _to_varint(value: int) -> bytes:
    digits = bytearray()
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)
