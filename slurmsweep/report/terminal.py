"""Make text safe for a terminal: values, causes and logs can hold sequences that a terminal would act upon."""

from __future__ import annotations

import os
import re
import shutil
import textwrap
from contextlib import suppress
from typing import TYPE_CHECKING

from slurmsweep.report.fitting import beginning, shortened, text_width

if TYPE_CHECKING:
    from typing import TextIO

#: Colours and styles (ECMA-48, SGR): the one kind of sequence that a log may keep.
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_LAYOUT = "\n\r\t"

#: A word of a sentence, behind the blanks before it: a command between backquotes is one, so that it can be copied.
_WORD = re.compile(r"(\s*)((?:`[^`]*`|\S)+)")

#: The same of a command that is longer than a line.
_BROKEN = re.compile(r"(\s*)(\S+)")

#: A blank at which textwrap breaks no line. No ASCII text has it.
_GLUE = "\N{NO-BREAK SPACE}"

#: Characters of a line where there is no terminal, as everywhere; of one that is narrower, words are not cut further.
_USUAL, _NARROWEST = 80, 40

#: Colours of the words for states in a table; the words are there without them.
_STATES = {
    "finished": 32,
    "running": 36,
    "failed": 31,
    "crashed": 31,
    "killed": 33,
    "preempted": 33,
    "stopped early": 32,
    "not needed": 32,
}


def width(stream: TextIO | None = None) -> int:
    """Return the characters of a line of this terminal: of ``COLUMNS``, else as the terminal says, else 80.

    The terminal is that of standard output, or of ``stream``.
    """
    if stream is None or os.environ.get("COLUMNS"):
        return max(_NARROWEST, shutil.get_terminal_size((_USUAL, 24)).columns)
    with suppress(OSError, ValueError):
        return max(_NARROWEST, os.get_terminal_size(stream.fileno()).columns or _USUAL)
    return _USUAL


def wrapped(text: str, columns: int, indent: str = "", hanging: str = "", most: int | None = None) -> list[str]:
    """Return the lines of a text, each of which fits ``columns`` of a terminal; a wide character takes two.

    A command between backquotes is copied: it is not broken where a line has room for it.

    Args:
        text: of one line, printable.
        columns: of a terminal.
        indent: begins the first line.
        hanging: begins the others.
        most: lines; what is beyond them is cut, with ``…`` in its place. None for as many as it takes.
    """
    room = columns - text_width(hanging)
    pieces: list[tuple[str, str]] = []  # words, each with the blanks before it; a command that has room is one word
    for blanks, word in _WORD.findall(text):
        pieces += [(blanks, word)] if text_width(word) <= room else _BROKEN.findall(blanks + word)
    if text.isascii():
        broken = textwrap.wrap(
            "".join(blanks + word.replace(" ", _GLUE) for blanks, word in pieces),
            columns,
            initial_indent=indent,
            subsequent_indent=hanging,
            break_on_hyphens=False,
            max_lines=most,
            placeholder=" …",
        )
        return [line.replace(_GLUE, " ") for line in broken]
    lines: list[str] = []
    line, words = indent, [word for _, word in pieces]
    while words:
        start = hanging if lines else indent
        more = words[0] if line == start else f" {words[0]}"
        if text_width(line + more) <= columns:
            line += more
            del words[0]
        elif line != start:
            lines.append(line)
            line = hanging
        else:  # a word without blanks, as in languages that write none
            part = beginning(words[0], max(2, columns - text_width(line)))
            lines.append(line + part)
            words[0] = words[0][len(part) :]
            line = hanging
    lines += [line] if line != (hanging if lines else indent) else []
    if most is not None and len(lines) > most:
        lines[most - 1 :] = [shortened(f"{lines[most - 1]} {lines[most].removeprefix(hanging)}", columns)]
    return lines


def paragraph(text: str, indent: str = "") -> list[str]:
    """Return the lines of a text that fit this terminal; those after the first begin two blanks further right."""
    return wrapped(text, width(), indent, f"{indent}  ")


def sentences(text: str, columns: int) -> str:
    """Return lines of prose with those broken that do not fit ``columns`` of a terminal; the others as they are.

    A path is copied: it is never broken, and one that is longer than the terminal has a line of its own. So has a
    command between backquotes, as long as it fits. Other words without a blank are cut where they must be.
    """
    lines: list[str] = []
    for line in text.split("\n"):
        if text_width(line) <= columns:
            lines.append(line)
            continue
        indent = line[: len(line) - len(line.lstrip())][: columns // 2]  # a mark below a column has room beside it
        lines += _filled(_WORD.findall(line.lstrip()), columns, indent)
    return "\n".join(lines)


def _filled(words: list[tuple[str, str]], columns: int, indent: str) -> list[str]:
    """Return words, each with the blanks before it, in lines as :func:`sentences` has them."""
    lines, line, hanging = [], indent, f"{indent}  "
    while words:
        (blanks, word), *rest = words
        is_empty = not line.strip()
        joined = line + word if is_empty else line + blanks + word
        if text_width(joined) <= columns or (is_empty and os.sep in word and " " not in word):
            line, words = joined, rest
        elif " " in word and text_width(hanging + word) > columns:  # a command that is longer than a line
            words = [*_BROKEN.findall(blanks + word), *rest]
        elif not is_empty:
            lines.append(line)
            line = hanging
        else:
            part = beginning(word, max(2, columns - text_width(line)))
            line, words = line + part, [("", word[len(part) :]), *rest] if part != word else rest
    return [*lines, line]


def labelled(label: str, text: str, left: int) -> list[str]:
    """Return a label with a text beside it, wrapped.

    Args:
        label: two blanks stand before it.
        text: of one line.
        left: characters of the label.
    """
    beside = f"  {label:<{left}}"
    return wrapped(printable(text), width(), beside, " " * len(beside))


def labelled_path(label: str, path: str, left: int) -> str:
    """Return a label with a path beside it, in one line however long it is: a path is copied.

    One below the current folder is shown from there.
    """
    here = os.path.relpath(path)
    return f"  {label:<{left}}{printable(path if here.startswith(os.pardir) else here)}"


def coloured(table: str) -> str:
    """Return a table with the words of its column ``state`` in colour; unchanged where it has no such column."""
    header, *rows = table.split("\n")
    place = re.search(r"(?:^|  )state(?:$|  )", header)
    if not place:
        return table
    at = header.index("state", place.start())

    def of(row: str) -> str:
        word = row[at:].split("  ", 1)[0]
        return f"{row[:at]}\x1b[{_STATES[word]}m{word}\x1b[0m{row[at + len(word) :]}" if word in _STATES else row

    return "\n".join([header, *map(of, rows)])


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
        kept += [printable_text(text[position : colour.start()]), colour[0]]
        position = colour.end()
    return "".join([*kept, printable_text(text[position:])])


def printable_text(text: str) -> str:
    """Return several lines with their tabs, as of a batch script, and nothing that a terminal would act upon."""
    return "".join(c if c in _LAYOUT else printable(c) for c in text)
