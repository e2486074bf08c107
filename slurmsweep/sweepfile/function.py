"""A Python function as the command of a trial, named by its import path ``package.module:train`` (never a pickle)."""

from __future__ import annotations

import os
import re
from keyword import iskeyword
from typing import NamedTuple

from slurmsweep.errors import UsageError

#: The program that calls the function. It is run by its path, because the trial's interpreter may not have slurmsweep.
_CALLER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "agents", "call_function.py")

_NAMES = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


class ImportPath(NamedTuple):
    """The place of a function: ``package.module``, and the name in that module; dots reach into classes."""

    module: str
    name: str

    def __str__(self) -> str:
        """Return the path as written: ``package.module:train``."""
        return f"{self.module}:{self.name}"

    @classmethod
    def parse(cls, text: str) -> ImportPath:
        """Parse an import path. Raises UsageError with a suggestion if the text is none."""
        module, _, name = text.partition(":")
        has_keyword = any(map(iskeyword, re.split("[.:]", text)))
        if not module.endswith(".py") and not has_keyword and _NAMES.fullmatch(module) and _NAMES.fullmatch(name):
            return cls(module, name)
        guess = _guess(text)
        problem = f"--function {text!r} is not the import path of a function: write package.module:function"
        raise UsageError(f"{problem}, such as {guess}" if guess else problem)

    def command(self) -> tuple[str, ...]:
        """Return the ``command:`` of a sweep file that calls the function."""
        return ("${env}", "${interpreter}", _CALLER, str(self))


def _guess(text: str) -> str:
    """Return the import path that the path of a file, or a path with dots only, stands for; empty if there is none."""
    module, colon, name = text.partition(":")
    if ".py" in module or "/" in module:
        module = module.removesuffix(".py").strip("./").replace("/", ".")
        name = name or "train"
    elif not colon:
        module, _, name = text.rpartition(".")
    guess = f"{module}:{name.removesuffix('()')}"
    return guess if guess != text and all(_NAMES.fullmatch(part) for part in guess.split(":")) else ""
