"""Warn of what only a shell would understand in a command: there is none, for W&B's agent neither."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from slurmsweep.sweepfile.command import SHELL_TEXT, split_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurmsweep.sweepfile.findings import Findings, Path

#: A variable as a shell has it; ``${NAME}`` is taken for a macro.
_VARIABLE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")

#: An option with its value behind a blank, in one element.
_WITH_VALUE = re.compile(r"--?[A-Za-z][\w-]*\s+\S.*", re.DOTALL)

#: Elements that join commands, or lead their output elsewhere.
JOINTS = re.compile(r"&&|\|\|?|;|&|\d?>>?(?:&\d)?|<")


def warn_of_shell_words(elements: Sequence[str], path: Path, findings: Findings) -> None:
    """Add a warning for each element of a command that a user may expect a shell to change."""
    for place, text in enumerate(elements):
        if place and re.fullmatch(SHELL_TEXT, elements[place - 1]):
            return  # what follows are the shell's own arguments
        here = (*path, place)
        variable = _VARIABLE.search(text)
        meant = _VARIABLE.sub(r"${envvar:\1}", text)
        if _WITH_VALUE.fullmatch(text):
            also = f", and {variable[0]} stays as it is" if variable else ""
            hint = f"split it: {json.dumps(split_line(meant), ensure_ascii=False)}"
            findings.warn(here, f"{text!r} is one argument with a blank in it{also}: no shell reads it"[:300], hint)
        elif variable:
            hint = f"write {json.dumps(meant, ensure_ascii=False)}"
            findings.warn(here, f"{variable[0]} in {text!r} stays as it is: no shell reads it"[:300], hint)
        elif text.startswith("~/"):
            hint = f"write {json.dumps('${envvar:HOME}' + text[1:], ensure_ascii=False)}"
            findings.warn(here, f"the ~ of {text!r} stays as it is: no shell reads it"[:300], hint)
        elif JOINTS.fullmatch(text):
            hint = 'let a shell read the whole: [bash, -c, "..."]'
            findings.warn(here, f"{text!r} is an argument like any other: no shell reads it", hint)
