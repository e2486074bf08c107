"""Read the command line of every job without argparse, which would add 5 to 9 ms to an agent's 72 ms of CPU time.

Only the two forms that job templates use. argparse reads any other, and reports every mistake.
``docs/decisions/0025-start-up-measured.md`` has the measurement.
"""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


#: Numbers that no bound of an option forbids: of trials, and of seats.
_COUNT, _SEATS = re.compile("[1-9][0-9]{0,14}"), re.compile("[1-9][0-9]{0,2}")


def agent_arguments(argv: Sequence[str]) -> SimpleNamespace | None:
    """Return what argparse gives for ``agent --count N [--seats K] SWEEP``; None for any other words."""
    seats: str | None = None
    match argv:
        case ["agent", "--count", count, sweep]:
            pass
        case ["agent", "--count", count, "--seats", seats, sweep]:
            pass
        case _:
            return None
    if sweep.startswith("-") or not _COUNT.fullmatch(count) or not (seats is None or _SEATS.fullmatch(seats)):
        return None
    return SimpleNamespace(
        version=False,
        command="agent",
        function=None,
        sweep=sweep,
        count=int(count),
        seats=None if seats is None else int(seats),
    )
