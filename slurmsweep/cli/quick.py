"""The command line that every job runs, read without argparse, whose import and tables cost as much as Python's start.

Only the forms that job templates use. Any other is argparse's business, and so is every mistake.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def agent_arguments(argv: Sequence[str]) -> SimpleNamespace | None:
    """What argparse gives for ``agent SWEEP`` and ``agent --count N SWEEP``; None where these words are others."""
    match argv:
        case ["agent", sweep]:
            count = "1"
        case ["agent", "--count", count, sweep]:
            pass
        case _:
            return None
    if sweep.startswith("-") or not count.isdecimal() or int(count) < 1:
        return None
    return SimpleNamespace(version=False, command="agent", handler="working:agent", sweep=sweep, count=int(count))
