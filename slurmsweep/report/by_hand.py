"""The command of a trial as text for a shell, to run it by hand: apart from the trial, and without secrets.

The command gets the trial's parameters and number, as if it were the first attempt. It gets no folder of the trial, but
new ones, and no name of its run: what it logs and saves does not mix with what the trial has. Secrets are named and not
shown, so the shell fills them in.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from slurmsweep.agents import params_file
from slurmsweep.sweepfile import command
from slurmsweep.sweepfile.secrets import is_secret

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from slurmsweep.state.manifest import Manifest

#: Characters of a line, of a piece of a word that is longer than a line, and of a text that needs no line of its own.
_WIDTH, _PIECE, _SHORT = 80, 70, 20

#: In a word: where a variable of the shell, or the file of the parameters, stands. No value has this character: it
#: ends C's strings.
_MARK = re.compile("\0([^\0]*)\0")
_JSON_FILE = "\0\0"

#: Macros of folders, which are variables of the shell by hand, and how one is made.
_FOLDERS = (command.TRIAL_DIR, command.ATTEMPT_DIR)
_NEW_FOLDER = '"$(mktemp -d)"'
_NEW_FILE = '"$(mktemp)"'

#: What names a trial's run and its files, and is not set by hand.
NOT_SET = ("SLURMSWEEP_SWEEP", "SLURMSWEEP_ATTEMPT_DIR", "WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_DIR")


def shell_command(manifest: Manifest, number: int, params: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """Return lines for bash that run the command of a trial by hand, at most 80 columns each where values allow it.

    Args:
        manifest: of the sweep.
        number: of the trial.
        params: its parameters.
        environ: of the person: variables that are set there are not set again.

    Raises:
        UsageError: the command names a variable that ``environ`` has not, or needs a program that the sweep has not.
    """
    config = manifest.config
    named = {name: f"\0{name}\0" if is_secret(name) else value for name, value in environ.items()}
    argv = command.build_argv(
        config.command,
        config.program,
        params,
        environ=named,
        own={"args_json_file": _JSON_FILE, command.TRIAL: str(number)} | {name: f"\0{name}\0" for name in _FOLDERS},
        hydra=bool(config.extensions.hydra),
    )
    folders = [name for name in _FOLDERS if any(f"\0{name}\0" in word for word in argv)]
    wanted = {"WANDB_MODE": "offline", "WANDB_PROJECT": config.project or "", "WANDB_ENTITY": config.entity or ""}
    assigned = [f"{name}={_quoted(value)}" for name, value in wanted.items() if value and not environ.get(name)]
    assigned += [f"SLURMSWEEP_TRIAL={number}", "SLURMSWEEP_ATTEMPT=1"]
    assigned.append(f"WANDB_SWEEP_PARAM_PATH={_in_a_file(params_file.render(params))}")
    checkpoints = f'"${command.TRIAL_DIR}"' if command.TRIAL_DIR in folders else _NEW_FOLDER
    assigned += [f"SLURMSWEEP_CHECKPOINT_DIR={checkpoints}", f"SLURMSWEEP_METRICS_FILE={_NEW_FILE}"]
    if manifest.snapshot:
        assigned.append(f"SLURMSWEEP_WORKDIR={_quoted(manifest.snapshot.original)}")
    made = [f"{name}={_NEW_FOLDER} &&" for name in folders]
    words = [f"cd {_quoted(manifest.workdir)} &&", *made, *assigned, *(_word(one, params) for one in argv)]
    lines = [words[0]]
    for word in words[1:]:
        last, first = lines[-1].rpartition("\n")[2], word.partition("\n")[0]
        if len(last) + len(first) + 3 > _WIDTH:
            lines.append(f"  {word}")
        else:
            lines[-1] += f" {word}"
    return " \\\n".join(lines)


def _word(text: str, params: Mapping[str, Any]) -> str:
    """Return an argument with the shell's own names for what is not shown."""
    parts = []
    rest = 0
    for mark in _MARK.finditer(text):
        parts.append(_quoted(text[rest : mark.start()]) if mark.start() > rest else "")
        parts.append(f'"${{{mark[1]}}}"' if mark[1] else _in_a_file(command.json_text(params)))
        rest = mark.end()
    parts.append(_quoted(text[rest:]) if rest < len(text) or not text else "")
    return "".join(parts)


def _in_a_file(text: str) -> str:
    """Return what the shell replaces by the name of a new file with this text."""
    quoted = _quoted(text)
    space = "\\\n" if len(quoted) > _SHORT else ""
    return f'"$(f=$(mktemp); printf %s {space}{quoted} {space}> "$f"; echo "$f")"'


def _quoted(text: str) -> str:
    """Return a text as bash reads it back; a long one in pieces on lines of their own, which bash joins again."""
    if text.isprintable() and len(shlex.quote(text)) <= _PIECE:
        return shlex.quote(text)
    pieces = [""]
    for one in text:
        if one == "\n" or one in "\\'":
            shown = "\\n" if one == "\n" else f"\\{one}"
        else:
            shown = one if one.isprintable() else f"\\U{ord(one):08x}"
        if len(pieces[-1]) + len(shown) > _PIECE:
            pieces.append("")
        pieces[-1] += shown
    return "\\\n".join(f"$'{piece}'" for piece in pieces)
