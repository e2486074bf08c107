"""Job templates: plain batch scripts that a person can read, copy, change, and submit by hand."""

from __future__ import annotations

import os
import re
import shlex
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from slurmsweep.backends.documents import PLACES, builtin_file, read_text
from slurmsweep.backends.slurm.resources import OURS, WARNING_SIGNAL, normal_name
from slurmsweep.errors import UsageError
from slurmsweep.state.assignment import AGENTS, MAX_SLOTS, is_whole_number

_SUFFIX = ".sbatch"

#: ``# SBATCH --mem=1G``, ``#SBTACH -c4``, ``#sbatch --gres=gpu:1``: a comment to Slurm.
_NEARLY_SBATCH = re.compile(r"#(\s*)([A-Za-z]+)\s*(?==|\s-{1,2}[A-Za-z])")

#: A command that runs the agent; one that does so in the place of the shell; the sweep among a command's words.
_AGENT = re.compile(r"slurmsweep\S*\s+agent\b")
_EXEC = re.compile(r"(?:^|[;&|({]|\bthen|\belse|\bdo)\s*exec\s")
_AGENTS = re.compile(r"^\s*(?:export )?SLURMSWEEP_AGENTS=\"?\$\{SLURMSWEEP_AGENTS:-([1-9]\d*)\}", re.MULTILINE)
_TRAP = re.compile(r"(?:^|[;&|({])\s*trap\s")
_SWEEP = re.compile(r"\$\{?[1@*]")

#: Commands that only look at the sweep, and commands that only speak of the agent.
_LOOKS = ("if [", "[ ", "[[", "test ")
_SPEAKS = ("echo ", "printf ")


class Template(NamedTuple):
    """A batch script in two parts.

    Attributes:
        name: or path by which the template was asked for.
        path: of the file.
        options: of its ``#SBATCH`` lines by long name; flags are True. Options that slurmsweep sets itself are left
            out, so that the same file works by hand.
        body: everything else, without the first line.
        text: the whole file.
        agents: number of agents that one job runs side by side, unless SLURMSWEEP_AGENTS gives another; None where it
            runs one, whatever SLURMSWEEP_AGENTS says.
    """

    name: str
    path: str
    options: dict[str, str | bool]
    body: str
    text: str = ""
    agents: int | None = None

    @property
    def description(self) -> str:
        """The first sentence of the comment at the start of the file; empty where there is none."""
        comment = takewhile(lambda line: line.startswith("#"), self.text.splitlines()[1:])
        words = " ".join(line.strip("# ") for line in comment if not line.startswith("#SBATCH"))
        return words.split(". ")[0].strip().removesuffix(".")


def builtin_templates() -> list[str]:
    """Return the names of the templates that come with slurmsweep."""
    return sorted(path.stem for place in PLACES if place.is_dir() for path in place.glob(f"*{_SUFFIX}"))


def load_template(name_or_path: str) -> Template:
    """Read a template: a built-in one by name, any other by its path.

    Raises:
        UsageError: there is no such template, or it has a mistake that Slurm would show late or not at all.
    """
    path = _find(name_or_path)
    text = read_text(path)
    lines = text.splitlines()
    _check(path, text, lines)
    header = [line for line in lines if line.startswith("#SBATCH")]
    body = "\n".join(line for line in lines[1:] if not line.startswith("#SBATCH")).strip("\n")
    options = _options(path, header)
    _check_agent(path, _commands(lines), str(options.get("signal", WARNING_SIGNAL)))
    packed = _AGENTS.search(body)
    return Template(name_or_path, str(path), options, body, text, int(packed[1]) if packed else None)


def agents_of(template: Template) -> int | None:
    """Return how many agents a job of the template runs side by side; None where the template runs one.

    ``SLURMSWEEP_AGENTS`` in this process's environment counts, as the batch script will see it.

    Raises:
        UsageError: it is not a number from 1 to 5,000.
    """
    if template.agents is None:
        return None
    text = os.environ.get(AGENTS) or str(template.agents)
    if not is_whole_number(text) or not 0 < int(text) <= MAX_SLOTS:
        raise UsageError(f"{AGENTS}={text}: write how many trials a job runs side by side, 1 to {MAX_SLOTS}")
    return int(text)


def normal_template_name(name_or_path: str) -> str:
    """Return a name that means the same template from any folder."""
    return os.path.abspath(name_or_path) if _is_path(name_or_path) else name_or_path


def _is_path(name_or_path: str) -> bool:
    return os.sep in name_or_path or name_or_path.endswith(_SUFFIX)


def _find(name_or_path: str) -> Path:
    if _is_path(name_or_path):
        if not os.path.isfile(name_or_path):
            raise UsageError(f"there is no job template {name_or_path}")
        return Path(name_or_path)
    if path := builtin_file(f"{name_or_path}{_SUFFIX}"):
        return path
    raise UsageError(
        f"there is no job template {name_or_path!r}: built in are {', '.join(builtin_templates())}; or give a path"
    )


def _check(path: Path, text: str, lines: list[str]) -> None:
    if not lines or not lines[0].startswith("#!"):
        raise UsageError(f"job template {path}: the first line must name the shell, such as #!/bin/bash")
    if "\r" in text:
        raise UsageError(
            f"job template {path}: it has DOS line ends (\\r\\n), which sbatch refuses; convert it with dos2unix"
        )
    commands = False
    for number, line in enumerate(lines[1:], 2):
        if line.startswith("#SBATCH") and commands:
            raise UsageError(
                f"job template {path}, line {number}: Slurm ignores #SBATCH lines after the first command; move it up"
            )
        commands = commands or bool(line.strip() and not line.startswith("#"))
        if not commands and _is_nearly_sbatch(line):
            raise UsageError(
                f"job template {path}, line {number}: Slurm takes {line.split('-')[0].strip()!r} for a comment; write "
                "#SBATCH, or ##SBATCH if it is to be one"
            )
    if "slurmsweep" not in text:
        raise UsageError(
            f'job template {path}: it never runs the agent; end it with `exec slurmsweep agent --count 1 "$1"`'
        )


def _is_nearly_sbatch(line: str) -> bool:
    """Return whether a comment was meant as an option; ``# sbatch --array=0-3 this.sbatch`` was not."""
    found = _NEARLY_SBATCH.match(line)
    if found is None or line.startswith("#SBATCH") or (found[1] and not found[2].isupper()):
        return False
    from difflib import get_close_matches  # few templates have such a line

    return bool(get_close_matches(found[2].upper(), ["SBATCH"], cutoff=0.8))


def _commands(lines: list[str]) -> list[tuple[int, str]]:
    """Return a script's commands with the number of their first line; continued lines are joined, comments left out."""
    found: list[tuple[int, str]] = []
    continued = False
    for number, line in enumerate(lines, 1):
        if continued:
            found[-1] = (found[-1][0], f"{found[-1][1][:-1]} {line.strip()}")
        elif line.strip() and not line.lstrip().startswith("#"):
            found.append((number, line))
        else:
            continue
        continued = line.endswith("\\")
    return found


def _check_agent(path: Path, commands: list[tuple[int, str]], signal: str) -> None:
    """Raise UsageError unless the agent gets the sweep, and the signal that Slurm sends to the batch script alone."""
    commands = [(number, command.strip()) for number, command in commands if not command.strip().startswith(_SPEAKS)]
    agents = [(number, command) for number, command in commands if _AGENT.search(command)]
    using = [command for _, command in commands if _SWEEP.search(command)]
    if not any(_AGENT.search(command) or not command.startswith(_LOOKS) for command in using):
        where = f", line {agents[0][0]}" if agents else ""
        raise UsageError(
            f'job template {path}{where}: "$1", the sweep, is never used; write `slurmsweep agent --count 1 "$1"`'
        )
    is_for_shell = ":" in signal and "B" in signal.partition(":")[0]
    if not is_for_shell or any(_TRAP.search(command) for _, command in commands):
        return
    for number, command in agents:
        if not _EXEC.search(command):
            raise UsageError(
                f"job template {path}, line {number}: --signal={signal} tells the shell alone, which it would end, and "
                f"the agent with it; write exec before the command, or pass the signal on by a trap"
            )


def _options(path: Path, header: list[str]) -> dict[str, str | bool]:
    """Return the options in ``--mem=4G``, ``--mem 4G``, ``-c4``, ``-c 4`` and flags by long name, without our own."""
    found: dict[str, str | bool] = {}
    for line in header:
        try:
            words = shlex.split(line[len("#SBATCH") :], comments=True)
        except ValueError as error:
            raise UsageError(f"job template {path}: {line}: {error}") from error
        name = ""
        for word in words:
            if word.startswith("--"):
                key, equals, value = word.partition("=")
                name = normal_name(key)
                found[name] = value if equals else True
            elif word.startswith("-") and not (name == "nice" and found[name] is True):  # --nice -5
                name = normal_name(word[1:2])
                found[name] = word[2:] or True
            elif name:
                found[name] = word
    return {name: value for name, value in found.items() if name not in OURS}
