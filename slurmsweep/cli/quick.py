"""The command line that every job runs, read without argparse, whose import and tables cost as much as Python's start.

Only the forms that job templates use. Any other is argparse's business, and so is every mistake.
"""

from __future__ import annotations

from itertools import zip_longest
from types import SimpleNamespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def agent_arguments(argv: Sequence[str]) -> SimpleNamespace | None:
    """What argparse gives for ``agent --count N [--seats K] SWEEP``; None where these words are others."""
    match argv:
        case ["agent", "--count", count, sweep]:
            numbers = [count]
        case ["agent", "--count", count, "--seats", seats, sweep]:
            numbers = [count, seats]
        case _:
            return None
    if sweep.startswith("-") or not all(number.isdecimal() and int(number) for number in numbers):
        return None
    said = dict(zip_longest(("count", "seats"), map(int, numbers)))
    return SimpleNamespace(version=False, command="agent", function=None, sweep=sweep, **said)
