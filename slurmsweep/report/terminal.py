"""What may reach a terminal: values, causes and logs can hold sequences that it would act upon."""

from __future__ import annotations

import re

#: Colours and styles (ECMA-48, SGR): the one kind of sequence that a log may keep.
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_LAYOUT = "\n\r\t"


def printable(text: str) -> str:
    """One line without anything a terminal would act upon: control characters are shown as Python escapes them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def printable_lines(text: str) -> str:
    """The same of several lines."""
    return "\n".join(printable(line) for line in text.split("\n"))


def printable_log(text: str) -> str:
    """A log with its colours, tabs and carriage returns, and nothing else that a terminal would act upon."""
    kept = []
    position = 0
    for colour in _COLOUR.finditer(text):
        kept += [_escaped(text[position : colour.start()]), colour[0]]
        position = colour.end()
    return "".join([*kept, _escaped(text[position:])])


def _escaped(text: str) -> str:
    return "".join(c if c in _LAYOUT else printable(c) for c in text)
