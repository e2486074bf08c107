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


#: A number that no bound of an option forbids.
_QUICK = re.compile("[1-9][0-9]{0,2}")


def agent_arguments(argv: Sequence[str]) -> SimpleNamespace | None:
    """Return what argparse gives for ``agent --count N [--seats K] SWEEP``; None for any other words."""
    match argv:
        case ["agent", "--count", count, sweep]:
            numbers = [count]
        case ["agent", "--count", count, "--seats", seats, sweep]:
            numbers = [count, seats]
        case _:
            return None
    if sweep.startswith("-") or not all(_QUICK.fullmatch(number) for number in numbers):
        return None
    return SimpleNamespace(
        version=False,
        command="agent",
        function=None,
        sweep=sweep,
        count=int(numbers[0]),
        seats=int(numbers[1]) if len(numbers) > 1 else None,
    )
