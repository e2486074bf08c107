"""Values that many trials of a :class:`.trial_index.TrialIndex` share, each kept once, and which of them it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Numbers from here on have no room in a row.
ROW_LIMIT = 2**31

T = TypeVar("T")

#: Where an agent ran: host, boot, pid_space, node, cluster, code, submission and seat of its :class:`.owner.Owner`.
Place = tuple[str, str, str, "str | None", "str | None", "str | None", "str | None", "int | None"]

#: How a trial ended: cause, exit_code, origin, by and no_metric of its :class:`.outcome.Outcome`.
How = tuple[str, "int | None", "str | None", str, "str | None"]


class Table(Generic[T]):
    """Distinct values by index: a million trials ran on few machines, and ended in few ways.

    Attributes:
        items: by index.
        find: takes an item and returns its index; None where it was not taken in. The dictionary's own method, since
            replay calls it for each record.
    """

    def __init__(self, items: Iterable[T] = ()) -> None:
        self.items = list(items)
        self._index = {item: number for number, item in enumerate(self.items)}
        self.find = self._index.get

    def index(self, item: T) -> int:
        """Return the index of an item, which is taken in where it is new."""
        number = self._index.setdefault(item, len(self.items))
        if number == len(self.items):
            self.items.append(item)
        return number


def is_text(value: object) -> bool:
    """Return whether a value is text as a record may have it, or none."""
    return value is None or (isinstance(value, str) and "\0" not in value)


def is_place(place: tuple[Any, ...]) -> bool:
    """Return whether a new place of a record is made of what a place is made of."""
    *texts, seat = place
    return all(map(is_text, texts)) and None not in texts[:3] and (seat is None or 0 <= seat < ROW_LIMIT)


def is_how(how: tuple[Any, ...]) -> bool:
    """Return whether a new way to end is made of what such a way is made of."""
    cause, exit_code, *texts = how
    return (
        all(map(is_text, (cause, *texts)))
        and None not in (cause, texts[1])
        and (exit_code is None or abs(exit_code) < ROW_LIMIT)
    )
