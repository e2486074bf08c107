"""A Python function as a trial's command: named by its import path, ``package.module:train``, and never a pickle."""

from __future__ import annotations

import os
import re
from keyword import iskeyword
from typing import NamedTuple

from slurmsweep.errors import UsageError

#: The program that calls it, run by its path: the trial's interpreter need not have slurmsweep.
_CALLER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "agents", "call_function.py")

_NAMES = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


class ImportPath(NamedTuple):
    """Where a function is found.

    Attributes:
        module: ``package.module``.
        name: in the module, dots reach into classes.
    """

    module: str
    name: str

    def __str__(self) -> str:
        """As it is written: ``package.module:train``."""
        return f"{self.module}:{self.name}"

    @classmethod
    def parse(cls, text: str) -> ImportPath:
        """The path that ``text`` is. Raises UsageError where it is none, with what was probably meant."""
        module, colon, name = text.partition(":")
        parts = (module, name)
        has_keyword = any(iskeyword(word) for part in parts for word in part.split("."))
        if colon and not module.endswith(".py") and not has_keyword and all(map(_NAMES.fullmatch, parts)):
            return cls(module, name)
        hint = _guess(text)
        raise UsageError(
            f"--function {text!r} is not the import path of a function: write package.module:function"
            + (f", such as {hint}" if hint else "")
        )

    def command(self) -> tuple[str, ...]:
        """What to write for ``command:`` in a sweep file to the same effect."""
        return ("${env}", "${interpreter}", _CALLER, str(self))


def _guess(text: str) -> str:
    """What a file's path, or dots throughout, may have meant; empty where that is no better."""
    module, colon, name = text.partition(":")
    if ".py" in module or "/" in module:
        module = module.removesuffix(".py").strip("./").replace("/", ".")
        name = name or "train"
    elif not colon:
        module, _, name = text.rpartition(".")
    guess = f"{module}:{name.removesuffix('()')}"
    return guess if guess != text and all(_NAMES.fullmatch(part) for part in guess.split(":")) else ""
