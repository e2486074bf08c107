"""A collector for all violations and warnings of a sweep file, so that the user sees every mistake at once."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from slurmsweep.errors import Violation

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

Path = tuple[Any, ...]

#: The most characters of a value in a message.
_LONGEST = 160

#: Letters that a short form of a word has at least, and how many letters at the beginning make two words alike.
_SHORTEST = 3
_BEGINNING = 5

#: Text that needs no quotes in YAML, unless it is one of the words.
_PLAIN = r"[A-Za-z_][A-Za-z0-9_./-]*"
_WORDS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null")


class Findings:
    """Violations and warnings of one sweep file.

    Args:
        lines: the 1-based line of each key path; empty if the content did not come from YAML.
    """

    def __init__(self, lines: Mapping[Path, int] | None = None) -> None:
        self.lines = lines or {}
        self.violations: list[Violation] = []
        self.warnings: list[Violation] = []

    def error(self, path: Path, problem: str, hint: str = "") -> None:
        """Add a violation: the user must correct the file."""
        self.violations.append(self._make(path, problem, hint))

    def warn(self, path: Path, problem: str, hint: str = "") -> None:
        """Add a warning: the content has a clear meaning, but perhaps not the intended one."""
        self.warnings.append(self._make(path, problem, hint))

    def keys(self, path: Path, section: Iterable[str], known: Collection[str], problem: str) -> None:
        """Add a mistake for each key of a section that is not a known one; ``problem`` stands behind the key."""
        for key in section:
            if key not in known:
                self.error((*path, key), f"{shown(key)} {problem}", suggest(key, known))

    def _make(self, path: Path, problem: str, hint: str) -> Violation:
        known = (path[:end] for end in range(len(path), 0, -1) if path[:end] in self.lines)
        line = next((self.lines[here] for here in known), None)
        return Violation(".".join(map(str, path)), problem, hint, line)


def shown(value: object) -> str:
    """Return a value as messages name it: text in quotes, all else as YAML writes it, and long values cut."""
    text = repr(value) if isinstance(value, str) else written(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def written(value: object) -> str:
    """Return a value as YAML on one line, for hints that a user copies: ``null``, ``[1, a]``, ``"k: v"``.

    Written without a YAML library, because compute nodes check a sweep file, too.
    """
    if isinstance(value, dict):
        return "{" + ", ".join(f"{written(key)}: {written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, str):
        is_plain = re.fullmatch(_PLAIN, value) and value.lower() not in _WORDS
        return value if is_plain else json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else f"{'-' if value < 0 else ''}.inf"
    return json.dumps(value) if isinstance(value, (bool, int, float, type(None))) else repr(value)


def suggest(word: object, known: Collection[str]) -> str:
    """Return a hint: ``did you mean 'values'?`` for a near miss or a short form, else the list of known words."""
    return did_you_mean(word, known) or f"known are {', '.join(known)}"


def did_you_mean(word: object, known: Collection[str]) -> str:
    """Return ``did you mean 'values'?`` for a near miss or a short form, else nothing: for messages with the list."""
    close = nearest(word, known) or _of_same_beginning(str(word).lower(), known)
    return f"did you mean {close!r}?" if close else ""


def _of_same_beginning(word: str, known: Collection[str]) -> str | None:
    """Return the one known word that ``word`` is short for (``max``), or that begins as it does (``maximum``)."""
    beginning = word[:_BEGINNING] if len(word) >= _SHORTEST else None
    alike = [name for name in known if beginning is not None and name.lower().startswith(beginning)]
    return alike[0] if len(alike) == 1 else None


def nearest(word: object, known: Iterable[str], cutoff: float = 0.75) -> str | None:
    """Return the known word closest to ``word`` (a typing mistake, or another case); None if no word is close."""
    from difflib import get_close_matches

    folded = {name.lower(): name for name in known}
    close = get_close_matches(str(word).lower().replace("-", "_"), folded, n=1, cutoff=cutoff)
    return folded[close[0]] if close else None
