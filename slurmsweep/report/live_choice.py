"""What a person chose to see in the live view, and how each key changes it. Pure. No key changes the sweep."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Page(Enum):
    """A page of the live view; the value completes its title."""

    FIRST = ""
    TRIAL = "trial"
    LOG = "log of trial"
    FAILURES = "trials that did not finish"
    BEST = "the best trials"
    KEYS = "keys"


class Sort(Enum):
    """An order of running trials; the value says which come first."""

    LIMIT = "nearest to their time limit"
    METRIC = "best"
    NUMBER = "smallest number"
    NODE = "by node"


class Asks(Enum):
    """What a person is typing."""

    FILTER = "filter, such as lr<0.1 node=n3 (Enter)"
    TRIAL = "trial (Enter)"


#: Keys of the page of keys, and what they do.
KEYS = (
    ("q", "leave; the sweep goes on. On another page: back to the first one, as Esc does"),
    ("j k, arrows", "choose another trial; on another page: move, as PgUp, PgDn and blank do"),
    ("Enter", "show the chosen trial: parameters, attempts, files, the command by hand"),
    ("l", "the end of its log, as it grows"),
    ("t", "show a trial by its number, also one that does not run"),
    ("f", "all trials that did not finish, by cause"),
    ("b", "the best trials"),
    ("s", "another order of the running trials"),
    ("/", "show only running trials for which this holds: lr<0.1 node=n3, or a part of a line"),
    ("?", "this page"),
)

_PAGES = {"f": Page.FAILURES, "b": Page.BEST, "?": Page.KEYS}
_MOVES = {"j": 1, "down": 1, "k": -1, "up": -1, "pgdn": 10, " ": 10, "pgup": -10}


@dataclass(frozen=True)
class LiveChoice:
    """What a person chose.

    Attributes:
        page: that is shown.
        trial: the chosen one by its number, so that it stays chosen when the order changes; None for the first one.
        at: the place where it was last, for when it has ended.
        top: lines that were moved on a page.
        sort: order of the running trials.
        where: which of them are shown.
        asks: what is being typed, ``typed``; None where keys are commands.
    """

    page: Page = Page.FIRST
    trial: int | None = None
    at: int = 0
    top: int = 0
    sort: Sort = Sort.LIMIT
    where: str = ""
    asks: Asks | None = None
    typed: str = ""

    def place(self, order: Sequence[int]) -> int:
        """Return the place of the chosen trial among those that run; where it ran last, if it has ended."""
        return order.index(self.trial) if self.trial in order else max(0, min(self.at, len(order) - 1))

    def shown(self, order: Sequence[int]) -> int | None:
        """Return the trial that pages of one trial show: the chosen one; None where there is none."""
        if self.page in (Page.TRIAL, Page.LOG) and self.trial is not None:
            return self.trial
        return order[self.place(order)] if order else self.trial

    def needs_more_than(self, other: LiveChoice) -> bool:
        """Return whether it shows what was not gathered for another choice of the same page."""
        return (self.trial, self.sort, self.where) != (other.trial, other.sort, other.where)

    def title(self, order: Sequence[int]) -> str:
        """Return the title of the page."""
        number = f" {self.shown(order)}" if self.page in (Page.TRIAL, Page.LOG) else ""
        return f"{self.page.value}{number}"

    def keys(self) -> tuple[str, ...]:
        """Return the keys of the page, the most important first."""
        if self.page is not Page.FIRST:
            return ("q back", "j/k move", "Enter show", "l log") if self.page is Page.TRIAL else ("q back", "j/k move")
        shown = ("/ filter",) if not self.where else (f"/ {self.where}",)
        return ("q quit", "? keys", "j/k choose", "Enter show", "l log", "f failures", "b best", *shown, "s sort")


def react(choice: LiveChoice, key: str, order: Sequence[int]) -> LiveChoice | None:
    """Return what is chosen after a key; None where the person leaves.

    Args:
        choice: before.
        key: a character, or the name of a key: ``enter``, ``escape``, ``up``, ``down``, ``pgup``, ``pgdn``,
            ``backspace``.
        order: the running trials as they are shown.
    """
    if choice.asks:
        return _typed(choice, key)
    first, is_first = replace(choice, page=Page.FIRST, top=0), choice.page is Page.FIRST
    if key == "q" and is_first:
        return None
    if key in ("q", "escape"):
        choice = first
    elif key in _PAGES:
        choice = replace(first, page=_PAGES[key])
    elif key in ("enter", "l"):
        number, wanted = choice.shown(order), Page.LOG if key == "l" else Page.TRIAL
        if number is not None:
            choice = replace(first, page=wanted, trial=number, at=choice.place(order))
    elif key == "s":
        sorts = list(Sort)
        choice = replace(choice, sort=sorts[(sorts.index(choice.sort) + 1) % len(sorts)])
    elif key in ("/", "t"):
        choice = replace(choice, asks=Asks.FILTER if key == "/" else Asks.TRIAL, typed="")
    elif key in _MOVES:
        choice = _moved(choice, _MOVES[key], order)
    return choice


def _moved(choice: LiveChoice, by: int, order: Sequence[int]) -> LiveChoice:
    if choice.page is not Page.FIRST:
        return replace(choice, top=max(0, choice.top + (-by if choice.page is Page.LOG else by)))
    if not order:
        return choice
    at = max(0, min(choice.place(order) + by, len(order) - 1))
    return replace(choice, trial=order[at], at=at)


def _typed(choice: LiveChoice, key: str) -> LiveChoice:
    """Return what is chosen after a key while a person types."""
    done = replace(choice, asks=None, typed="")
    if key == "escape":
        return done
    if key == "backspace":
        return replace(choice, typed=choice.typed[:-1])
    if key != "enter":
        return replace(choice, typed=choice.typed + key) if len(key) == 1 and key.isprintable() else choice
    if choice.asks is Asks.FILTER:
        return replace(done, where=choice.typed.strip(), trial=None, at=0)
    number = choice.typed.strip()
    return (
        replace(done, page=Page.TRIAL, trial=int(number), top=0)
        if number.isascii() and number.isdigit() and len(number) < 16
        else done
    )
