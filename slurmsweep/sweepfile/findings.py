"""A collector for all violations and warnings of a sweep file, so that the user sees every mistake at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.errors import Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Path = tuple[Any, ...]


class Findings:
    """Violations and warnings of one sweep file.

    Args:
        lines: the 1-based line of each key path; empty if the content did not come from YAML.
    """

    def __init__(self, lines: Mapping[Path, int] | None = None) -> None:
        self._lines = lines or {}
        self.violations: list[Violation] = []
        self.warnings: list[Violation] = []

    def error(self, path: Path, problem: str, hint: str = "") -> None:
        """Add a violation: the user must correct the file."""
        self.violations.append(self._make(path, problem, hint))

    def warn(self, path: Path, problem: str, hint: str = "") -> None:
        """Add a warning: the content has a clear meaning, but perhaps not the intended one."""
        self.warnings.append(self._make(path, problem, hint))

    def _make(self, path: Path, problem: str, hint: str) -> Violation:
        known = (path[:end] for end in range(len(path), 0, -1) if path[:end] in self._lines)
        line = next((self._lines[here] for here in known), None)
        return Violation(".".join(map(str, path)), problem, hint, line)


def suggest(word: object, known: Iterable[str]) -> str:
    """Return a hint: ``did you mean 'values'?`` for a near miss, else the list of known words."""
    close = nearest(word, known)
    return f"did you mean {close!r}?" if close else f"known are {', '.join(known)}"


def nearest(word: object, known: Iterable[str]) -> str | None:
    """Return the known word closest to ``word`` (a typing mistake, or another case); None if no word is close."""
    from difflib import get_close_matches

    folded = {name.lower(): name for name in known}
    close = get_close_matches(str(word).lower().replace("-", "_"), folded, n=1, cutoff=0.75)
    return folded[close[0]] if close else None
