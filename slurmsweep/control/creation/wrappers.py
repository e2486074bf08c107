"""Tell which words of a command have to be programs: the first, and the next behind one that runs others."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Programs that run the words after them, each with its options that take the next word for their value, and the number
#: of words of its own before the command.
_WRAPPERS: dict[str, tuple[frozenset[str], int]] = {
    "env": (frozenset({"-u", "--unset", "-C", "--chdir"}), 0),
    "nice": (frozenset({"-n", "--adjustment"}), 0),
    "ionice": (frozenset({"-c", "-n", "--class", "--classdata"}), 0),
    "nohup": (frozenset(), 0),
    "setsid": (frozenset(), 0),
    "stdbuf": (frozenset({"-i", "-o", "-e", "--input", "--output", "--error"}), 0),
    "time": (frozenset({"-f", "--format", "-o", "--output"}), 0),
    "timeout": (frozenset({"-s", "--signal", "-k", "--kill-after"}), 1),
}

#: Options with which the word after them is not certainly a program.
_UNCLEAR = re.compile(r"-(?:i|S|C|-ignore-environment|-split-string|-chdir).*|-")

#: The beginning of a word that sets a variable.
ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


def started(words: Iterable[str]) -> Iterator[str]:
    """Yield the words of a command that are started, as far as they are certain: of ``nice -n 5 python x`` two."""
    rest = list(words)
    while rest:
        yield rest[0]
        options, own = _WRAPPERS.get(os.path.basename(rest.pop(0)), (None, 0))
        if options is None:
            return
        while rest and (rest[0].startswith("-") or ASSIGNMENT.match(rest[0])):
            option = rest.pop(0)
            if _UNCLEAR.fullmatch(option):
                return
            if option in options and rest:
                rest.pop(0)
        del rest[:own]
