"""Job templates: plain batch scripts that a person can read, copy, change, and submit by hand."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from slurmsweep.errors import UsageError
from slurmsweep.slurm.resources import OURS, normal_name

#: In a checkout beside the package; in an installed wheel inside it.
_PLACES = (Path(__file__).parents[2] / "job_templates", Path(__file__).parents[1] / "job_templates")
_SUFFIX = ".sbatch"


@dataclass(frozen=True)
class Template:
    """A batch script in two parts.

    Attributes:
        name: as it was asked for.
        path: of the file.
        options: of its ``#SBATCH`` lines by long name; flags are True. What slurmsweep sets itself is left out, so
            that the same file works by hand.
        body: everything else, without the first line.
    """

    name: str
    path: str
    options: dict[str, str | bool]
    body: str


def builtin_templates() -> list[str]:
    """Names of the templates that come with slurmsweep."""
    return sorted(path.stem for place in _PLACES if place.is_dir() for path in place.glob(f"*{_SUFFIX}"))


def load_template(name_or_path: str) -> Template:
    """Read a template: a built-in one by name, any other by its path.

    Raises:
        UsageError: there is none, or it has a mistake that Slurm would punish silently or late.
    """
    path = _find(name_or_path)
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"job template {path}: {error}") from error
    lines = text.splitlines()
    _check(path, text, lines)
    header = [line for line in lines if line.startswith("#SBATCH")]
    body = "\n".join(line for line in lines[1:] if not line.startswith("#SBATCH")).strip("\n")
    return Template(name_or_path, str(path), _options(path, header), body)


def normal_template_name(name_or_path: str) -> str:
    """A name that means the same from any folder."""
    return os.path.abspath(name_or_path) if _is_path(name_or_path) else name_or_path


def _is_path(name_or_path: str) -> bool:
    return os.sep in name_or_path or name_or_path.endswith(_SUFFIX)


def _find(name_or_path: str) -> Path:
    if _is_path(name_or_path):
        if not os.path.isfile(name_or_path):
            raise UsageError(f"there is no job template {name_or_path}")
        return Path(name_or_path)
    for place in _PLACES:
        path = place / f"{name_or_path}{_SUFFIX}"
        if path.is_file():
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
    if "slurmsweep" not in text:
        raise UsageError(
            f'job template {path}: it never runs the agent; end it with: exec slurmsweep agent --count 1 "$1"'
        )


def _options(path: Path, header: list[str]) -> dict[str, str | bool]:
    options: dict[str, str | bool] = {}
    for line in header:
        try:
            words = shlex.split(line[len("#SBATCH") :], comments=True)
        except ValueError as error:
            raise UsageError(f"job template {path}: {line}: {error}") from error
        options.update(_pairs(words))
    return {name: value for name, value in options.items() if name not in OURS}


def _pairs(words: list[str]) -> dict[str, str | bool]:
    """``--mem=4G``, ``--mem 4G``, ``-c4``, ``-c 4`` and flags."""
    found: dict[str, str | bool] = {}
    name = ""
    for word in words:
        if word.startswith("--"):
            key, equals, value = word.partition("=")
            name = normal_name(key)
            found[name] = value if equals else True
        elif word.startswith("-") and not name_takes(found, name):
            name = normal_name(word[1:2])
            found[name] = word[2:] or True
        elif name:
            found[name] = word
    return found


def name_takes(found: dict[str, str | bool], name: str) -> bool:
    """Whether the option read last still waits for a value that may begin with a dash, as ``--nice -5`` does."""
    return name == "nice" and found.get(name) is True
