"""Write numbers and durations: in one way, wherever people read them. Documents (``--json``) have the exact values."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def value_text(value: Any) -> str:
    """Return a value of a parameter or metric: floats with six significant digits, all others as Python does."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def figure(value: float | None) -> str:
    """Return an amount with three digits, without an exponent from 100 on; empty for None."""
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def counted(number: int, one: str, more: str | None = None) -> str:
    """Return ``1 trial`` or ``5 trials``; with ``trial waits`` and ``trials wait``, ``1 trial waits``."""
    return f"{number} {one if number == 1 else more or one + 's'}"


def numbers_text(numbers: Sequence[int], most: int) -> str:
    """Return ``3, 7, 8 and 12 more``: the first few of the numbers."""
    shown = ", ".join(map(str, numbers[:most]))
    return shown if len(numbers) <= most else f"{shown} and {len(numbers) - most} more"


def trials_text(numbers: Sequence[int], most: int) -> str:
    """Return ``trial 3``, or ``trials 3, 7, 8 and 12 more``."""
    return f"trial{'s' if len(numbers) > 1 else ''} {numbers_text(numbers, most)}"


def size_text(size: float) -> str:
    """Return bytes as ``740 B``, ``8.2 KiB`` or ``1.3 GiB``, with two or three digits."""
    units = iter(("B", "KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    while size >= 1000 and unit != "TiB":
        size, unit = size / 1024, next(units)
    return f"{size:.0f} {unit}" if unit == "B" or size >= 99.95 else f"{size:.1f} {unit}"


def date_text(seconds: float) -> str:
    """Return a time as ``2026-11-29 12:04``, in the time zone of this machine."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def duration(seconds: float | None) -> str:
    """Return ``0.4s``, ``41s``, ``3m 05s``, ``2h 05m`` or ``3d 04h``; empty for None."""
    if seconds is None:
        return ""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m {whole % _MINUTE:02}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h {whole % _HOUR // _MINUTE:02}m"
    return f"{whole // _DAY}d {whole % _DAY // _HOUR:02}h"
