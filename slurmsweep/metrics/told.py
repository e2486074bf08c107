"""Read the values that any program reports: in lines of its output, or in a file whose name it is given.

A line ``slurmsweep: {"loss": 0.1, "step": 3}`` of standard output or error is a row. So is a line of the file that
``SLURMSWEEP_METRICS_FILE`` names; that file may also be written anew, with the newest values as one object.
"""

from __future__ import annotations

import json
import os
import re
from io import BytesIO
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from slurmsweep.search.flat import flat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: With this a row in an output begins; what stands before it in its line does not matter, but for the rank.
WORD = b"slurmsweep:"
_ROW = re.compile(rf"{WORD.decode()}[ \t]*(?=\{{)")

#: Lines that hold an empty row and nothing else: they are left out before any of their text is decoded.
EMPTY_ROWS = frozenset({WORD + b" {}", WORD + b"{}"})

#: How launchers label the lines of a rank: ``srun --label`` (``0: ``), ``torchrun --tee`` (``[default0]:``), ``mpirun
#: --tag-output`` (``[1,0]<stdout>:``).
_LABEL = re.compile(r"\s*(?:(\d+):\s|\[[A-Za-z_]*(\d+)\]:|\[[^\]\s]*,(\d+)\]<std)")

#: Numbers as C, C++ and R print them that JSON does not have.
_NO_NUMBER = re.compile(r"(?<=[:,\[\s])([+-]?)(nan(?:\([a-z]*\))?|inf(?:inity)?)(?=[\s,}\]])", re.IGNORECASE)

#: Bytes of a metrics file by which it is told whether it was written anew, and of a document or line that is read.
_BEGIN, _MOST = 4096, 16 << 20

#: Bytes that one reading takes of each end of what was added to a log or file; what lies between them is passed over.
END = 64 << 20

#: Rows that one reading takes of each end of those that were added: a row takes several microseconds, however short.
ROWS = 500_000

_DECODER = json.JSONDecoder()

_Item = TypeVar("_Item")


def printed_rows(texts: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows in lines of output: one in a line, or several where processes wrote over each other.

    Torn rows are passed over, and of lines with the label of a rank all but those of rank 0.

    Args:
        texts: lines with :data:`WORD`, many in a text; they are taken out here.
    """
    count = sum(sum(1 for _ in _ROW.finditer(text)) for text in texts)
    for line, start in _both_ends(_places(texts), count):
        row = _decoded(line, start)
        if row is not None:
            yield row


def _places(texts: list[str]) -> Iterator[tuple[str, int]]:
    """Yield each line with where in it the object of a row begins: an empty line for a row that is not rank 0's."""
    while texts:
        for line in texts.pop(0).split("\n"):
            label = _LABEL.match(line)
            is_others = label is not None and int(next(filter(None, label.groups()))) != 0
            for found in _ROW.finditer(line):
                yield "" if is_others else line, found.end()


def _both_ends(items: Iterator[_Item], count: int) -> Iterator[_Item]:
    """Yield the first :data:`ROWS` of ``count`` items and the last; those between them are passed over."""
    yield from islice(items, ROWS)
    yield from islice(items, max(count - 2 * ROWS, 0), None)


def _decoded(text: str, start: int = 0) -> dict[str, Any] | None:
    """Return the JSON object that begins there in a text, nested names joined by dots; None if there is none."""
    try:
        document, _ = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        if not _NO_NUMBER.match(text, error.pos):  # else a line that is full of torn rows costs its length for each
            return None
        try:
            document, _ = _DECODER.raw_decode(_NO_NUMBER.sub(_named, text[start:]))
        except (ValueError, RecursionError):
            return None
    except (ValueError, RecursionError):
        return None
    return dict(flat(document)) if isinstance(document, dict) else None


def _named(found: re.Match[str]) -> str:
    """Return a number as Python's JSON names it."""
    return "NaN" if found[2][0] in "nN" else f"{found[1].strip('+')}Infinity"


class ToldRows:
    """Rows of one attempt, in order; ``step`` becomes ``_step``, and rows without one are counted from 0.

    An empty object is no row. Of more than twice :data:`ROWS` new rows the first and the last ones are read.

    Args:
        read: yields the objects that were told since its last call.

    Attributes:
        summary: empty: without a client there is none.
    """

    def __init__(self, read: Callable[[], Iterator[dict[str, Any]]]) -> None:
        self.summary: dict[str, Any] = {}
        self._read = read
        self._count = 0

    def new(self) -> Iterator[dict[str, Any]]:
        """Yield the rows that have become whole since the last call. Raises OSError."""
        for row in filter(None, self._read()):
            step = row.pop("step", None)
            yield {"_step": self._count if step is None else step} | row
            self._count += 1


class MetricsFile:
    """Objects of an attempt's metrics file: added lines, each read once, or one document that is written anew.

    A file that was written anew gives its objects again. Its last line counts when it has its end. A document counts as
    soon as it is whole, so a program that overwrites it had better write another file and rename that.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._offset = 0
        self._begin = b""

    def added(self) -> Iterator[dict[str, Any]]:
        """Yield the objects that have become whole since the last call. Raises OSError."""
        if not os.path.isfile(self._path):  # nor is a pipe waited for
            return
        with open(self._path, "rb") as file:
            known = os.fstat(file.fileno())
            seen = known.st_ino, known.st_size, known.st_mtime_ns
            if seen == self._seen:
                return
            begin = file.read(_BEGIN)
            if not begin.startswith(self._begin) or known.st_size < self._offset:
                self._offset, self._begin = 0, b""
            file.seek(self._offset)
            added = known.st_size - self._offset
            text = file.read(END)
            if added > 2 * END:
                file.seek(-END, os.SEEK_END)
            text += file.read(END)
            whole = text.rfind(b"\n") + 1
            self._seen = seen
            if self._offset or _decoded(text[:whole].partition(b"\n")[0].decode("utf-8", "replace")) is not None:
                self._offset = file.tell() - len(text) + whole
                self._begin = begin[: self._offset]
                lines = BytesIO(text[:whole])  # one at a time: all of them take several times the file's size
                for line in _both_ends(lines, text.count(b"\n")):
                    row = _decoded(line.decode("utf-8", "replace").strip()) if len(line) <= _MOST else None
                    if row is not None:
                        yield row
            elif len(text) <= _MOST and (row := _decoded(text.decode("utf-8", "replace").strip())) is not None:
                yield row
