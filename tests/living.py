"""Say whether a process lives."""

from __future__ import annotations

from pathlib import Path


def is_alive(pid: int | str) -> bool:
    """Return whether a process still runs: one that has ended may stay as a zombie until its new parent looks at it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"
