"""Choose the columns of a table that fit a terminal, and how wide each of them may be. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Blanks between two columns.
_GAP = 2

#: No cell is cut to less than this, so that what is left still says something.
LEAST = 8

#: Of a row of columns with long values, each keeps at least this before other columns are left out.
READABLE = 12


class Column(NamedTuple):
    """One column of a table.

    Attributes:
        title: its header.
        cells: its texts, safe for a terminal; one a row.
        rank: 0 for a column that is always shown whole; of the others the one with the highest rank goes first.
        least: characters that a cell keeps, at least, before the column goes.
    """

    title: str
    cells: tuple[str, ...]
    rank: int = 0
    least: int = READABLE

    @property
    def width(self) -> int:
        """Characters of the longest cell, or of the title."""
        return max(map(text_width, (self.title, *self.cells)))


def fit(columns: Sequence[Column], width: int) -> tuple[list[Column], list[str]]:
    """Return the columns that fit beside each other, cut where they must be, and the titles of those that do not.

    Long cells are cut before a column goes; columns of rank 0 are neither cut nor left out, so a table of these alone
    can be wider than ``width``.
    """
    needs = [_least(column) + _GAP for column in columns]
    over = sum(needs) - _GAP - width
    gone: list[int] = []
    for place in sorted(range(len(columns)), key=lambda place: (columns[place].rank, place), reverse=True):
        if over <= 0 or not columns[place].rank:
            break
        gone.append(place)
        over -= needs[place]
    left = set(gone)
    shown = [column for place, column in enumerate(columns) if place not in left]
    return _cut(shown, width - _GAP * (len(shown) - 1)), [columns[place].title for place in reversed(gone)]


def shortened(text: str, widest: int) -> str:
    """Return a text in at most ``widest`` columns of a terminal, with ``…`` at the end where it was cut."""
    return text if text_width(text) <= widest else f"{beginning(text, widest - 1)}…"


def beginning(text: str, widest: int) -> str:
    """Return the longest beginning of a text that takes at most ``widest`` columns of a terminal."""
    if text.isascii():
        return text[:widest]
    from wcwidth import wcwidth  # most texts are plain ASCII

    used = 0
    for place, char in enumerate(text):
        used += max(0, wcwidth(char))
        if used > widest:
            return text[:place]
    return text


def last_part(text: str, widest: int) -> str:
    """Return the end of a name in at most ``widest`` columns: the end of ``optimizer.lr`` says more."""
    return text if text_width(text) <= widest else shortened(text[::-1], widest)[::-1]


def text_width(text: str) -> int:
    """Return how many columns of a terminal a printable text takes."""
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth

    return max(0, wcswidth(text))


def _least(column: Column) -> int:
    return min(column.width, max(column.least, LEAST)) if column.rank else column.width


def _cut(columns: list[Column], width: int) -> list[Column]:
    """Return the columns in ``width`` characters: the widest ones give way first, down to what each keeps at least."""
    widths = [column.width for column in columns]
    least = [_least(column) for column in columns]
    over = sum(widths) - width
    while over > 0:
        able = [place for place, one in enumerate(widths) if one > least[place]]
        if not able:
            break
        widest = max(able, key=lambda place: widths[place])
        next_widest = max((widths[place] for place in able if widths[place] < widths[widest]), default=0)
        step = min(over, widths[widest] - max(least[widest], next_widest)) or 1
        widths[widest] -= step
        over -= step
    return [
        column._replace(title=last_part(column.title, own), cells=tuple(shortened(cell, own) for cell in column.cells))
        for column, own in zip(columns, widths, strict=True)
    ]
