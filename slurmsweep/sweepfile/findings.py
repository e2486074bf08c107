"""Collects what is wrong, and what is worth knowing, while a sweep file is checked: all of it, not the first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.errors import Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Path = tuple[Any, ...]


class Findings:
    """Violations and warnings of one sweep file.

    Args:
        lines: 1-based line of each key path, where YAML could tell.
    """

    def __init__(self, lines: Mapping[Path, int] | None = None) -> None:
        self._lines = lines or {}
        self.violations: list[Violation] = []
        self.warnings: list[Violation] = []

    def error(self, path: Path, problem: str, hint: str = "") -> None:
        """Something that must be put right."""
        self.violations.append(self._make(path, problem, hint))

    def warn(self, path: Path, problem: str, hint: str = "") -> None:
        """Something with a clear meaning that may not be what was meant."""
        self.warnings.append(self._make(path, problem, hint))

    def _make(self, path: Path, problem: str, hint: str) -> Violation:
        known = (path[:end] for end in range(len(path), 0, -1) if path[:end] in self._lines)
        line = next((self._lines[here] for here in known), None)
        return Violation(".".join(map(str, path)), problem, hint, line)


def suggest(word: object, known: Iterable[str]) -> str:
    """``did you mean 'values'?``, or what there is; for hints."""
    close = nearest(word, known)
    return f"did you mean {close!r}?" if close else f"known are {', '.join(known)}"


def nearest(word: object, known: Iterable[str]) -> str | None:
    """The known word that ``word`` is a near miss of: a slip of the finger, or another case."""
    from difflib import get_close_matches

    folded = {name.lower(): name for name in known}
    close = get_close_matches(str(word).lower().replace("-", "_"), folded, n=1, cutoff=0.75)
    return folded[close[0]] if close else None
