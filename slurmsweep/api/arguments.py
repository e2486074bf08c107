"""Check the arguments of public calls."""

from __future__ import annotations

from slurmsweep.errors import UsageError


def check_number(name: str, value: object) -> None:
    """Raise UsageError unless the argument is None or a whole number from 1; no boolean."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise UsageError(f"{name}={value!r}: give a whole number, 1 or more, or None")
