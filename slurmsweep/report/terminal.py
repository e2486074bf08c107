"""Make text safe for a terminal: values, causes and logs can hold sequences that a terminal would act upon."""

from __future__ import annotations

import re

#: Colours and styles (ECMA-48, SGR): the one kind of sequence that a log may keep.
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_LAYOUT = "\n\r\t"


def printable(text: str) -> str:
    """Return one line in which control characters are shown as Python escapes them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def printable_lines(text: str) -> str:
    """Return several lines, each as :func:`printable` returns it."""
    return "\n".join(printable(line) for line in text.split("\n"))


def printable_log(text: str) -> str:
    """Return a log with its colours, tabs and carriage returns, and nothing else that a terminal would act upon."""
    kept = []
    position = 0
    for colour in _COLOUR.finditer(text):
        kept += [_escaped(text[position : colour.start()]), colour[0]]
        position = colour.end()
    return "".join([*kept, _escaped(text[position:])])


def _escaped(text: str) -> str:
    return "".join(c if c in _LAYOUT else printable(c) for c in text)
