"""The types of values on the command line: each returns the value of a text, or says what is wrong with it.

All raise argparse.ArgumentTypeError, whose message argparse prints behind the option's name.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection
from itertools import chain
from typing import TYPE_CHECKING

from slurmsweep.state.lifecycle import TrialState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from slurmsweep.report.choice import Demand

#: No option counts more than this: of nothing that a sweep has, or a machine, is there more.
_MOST = 2**53

#: Of the letter of an age.
_SECONDS = {"h": 3600, "d": 86400, "w": 7 * 86400}

#: No factor of a resource is larger; characters of a wrong number that are shown.
_LARGEST_FACTOR, _LONGEST_SHOWN = 1e6, 40


#: What tables and counts call trials whose state is killed, and what people call them.
_KILLED = ("stopped early", "not needed", "cancelled", "canceled", "interrupted")


class Numbers(Collection[int]):
    """The numbers of ``0,3,7-12``, ascending, each once; kept as ranges, which may be as long as they like.

    Args:
        ranges: ascending, apart from each other.
    """

    def __init__(self, ranges: Sequence[range]) -> None:
        self._ranges = tuple(ranges)

    def __contains__(self, number: object) -> bool:
        return any(number in one for one in self._ranges)

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(self._ranges)

    def __len__(self) -> int:
        return sum(map(len, self._ranges))


def natural(text: str) -> int:
    """Return a whole number, 1 or more."""
    return _whole(text, 1)


def number(text: str) -> int:
    """Return a whole number, 0 or more."""
    return _whole(text, 0)


def up_to(most: int) -> Callable[[str], int]:
    """Return the type of whole numbers from 1 to ``most``."""
    return lambda text: _whole(text, 1, most)


def _whole(text: str, least: int, most: int = _MOST) -> int:
    bounds = f"{least} or more" if most == _MOST else f"{least} to {most}"
    shown = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
    try:
        value = int(text)
    except ValueError:  # also for thousands of digits
        value = least - 1
    if value > most:
        raise argparse.ArgumentTypeError(f"{shown!r} is too large: write a whole number, {least} to {most}")
    if value < least:
        raise argparse.ArgumentTypeError(f"{shown!r} is not a whole number, {bounds}")
    return value


def numbers(text: str) -> Numbers:
    """Return the numbers of ``0,3,7-12``."""
    found: list[range] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        one = range(number(first), number(last if dash else first) + 1)
        if not one:
            raise argparse.ArgumentTypeError(f"{part!r} names no number; write a list such as 0,3,7-12")
        found.append(one)
    merged: list[range] = []
    for one in sorted(found, key=lambda one: (one.start, one.stop)):
        if merged and one.start <= merged[-1].stop:
            merged[-1] = range(merged[-1].start, max(merged[-1].stop, one.stop))
        else:
            merged.append(one)
    return Numbers(merged)


def factor(text: str) -> float:
    """Return a factor of a resource, from 1 to a million."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if value > _LARGEST_FACTOR:
        raise argparse.ArgumentTypeError(f"{text}: no job gets so much; use 1 to {_LARGEST_FACTOR:.0f}")
    if not value >= 1:
        raise argparse.ArgumentTypeError(f"{text}: less than before would end the trials again; use 1 or more")
    return value


def trial_state(text: str) -> TrialState:
    """Return the trial state of that name."""
    try:
        return TrialState(text)
    except ValueError:
        known = ", ".join(sorted(state.value for state in TrialState))
        plain = re.sub("[_ -]+", " ", text.lower())
        killed = f"; trials that were {plain} are among the {TrialState.KILLED}" if plain in _KILLED else ""
        raise argparse.ArgumentTypeError(f"{text!r} is not a state of trials: there are {known}{killed}") from None


def name_value(text: str) -> tuple[str, str]:
    """Return the name and the value of ``NAME=VALUE``; the value of a flag, ``NAME``, is empty."""
    name, _, value = text.partition("=")
    if not name.strip("-"):
        raise argparse.ArgumentTypeError(f"{text!r}: write NAME=VALUE, such as nice=100")
    return name.lstrip("-"), value


def condition(text: str) -> Demand:
    """Return what ``NAME=VALUE``, or another comparison, wants of a trial."""
    from slurmsweep.report import choice  # most commands choose no trials

    try:
        return choice.condition(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def title(text: str) -> str:
    """Return a name for W&B: text that is not blank, without control characters."""
    if not text.strip() or any(ord(letter) < ord(" ") for letter in text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name: write a word, such as mnist-tuning")
    return text


def age(text: str) -> float:
    """Return the seconds of ``12h``, ``30d`` or ``4w``."""
    found = re.fullmatch(r"(\d{1,6})([hdw])", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no age: write a number and h, d or w, such as 30d")
    return int(found[1]) * _SECONDS[found[2]]


def column_names(text: str) -> list[str]:
    """Return the names of ``A,B``."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError(f"{text!r} names no column: write names such as trial,loss,lr")
    return names
