"""The options of a job in AWS: their names, the places that give them, and what their values may be. Pure.

What Slurm has too has Slurm's names and forms (``time: 1:30:00``, ``mem: 4G``): one sweep file says it for both.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from slurmsweep.backends.base import OPTIONS_OF_SERVICES, Asked
from slurmsweep.backends.slurm.resources import mebibytes, minutes
from slurmsweep.errors import UsageError
from slurmsweep.sweepfile.findings import suggest
from slurmsweep.sweepfile.secrets import is_secret

if TYPE_CHECKING:
    from collections.abc import Mapping

Value = str | bool

#: What a job needs, by Slurm's names.
RESOURCES = ("time", "mem", "cpus-per-task", "gpus")

#: Options of all services.
KNOWN = tuple(sorted({*RESOURCES, "queue", "cluster", *OPTIONS_OF_SERVICES}))

#: Names of the same in Slurm.
_ALIASES = {"t": "time", "c": "cpus-per-task", "G": "gpus", "cpus": "cpus-per-task", "memory": "mem"}

#: Options of sbatch that callers set beside those of :data:`RESOURCES`, and that mean nothing here where taken away.
_TAKEN_AWAY = ("mem-per-cpu", "mem-per-gpu")

#: Options that may be flags, and what their words mean: ``--aws spot`` has no value.
_FLAGS = ("spot", "public-ip")
_FLAG_WORDS = {"": True, "true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

_GPU = re.compile(r"(?:gres/)?gpu(?::[\w.-]+)?(?::(\d+))?")
_TIME = re.compile(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}")
_EFS = re.compile(r"fs-[0-9a-f]{8,40}:/\S*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBERS = {"cpus-per-task": (1, 10_000), "gpus": (0, 64), "retries": (1, 10)}

#: Names of places for people.
SWEEP_FILE, COMMAND_LINE = "aws: in the sweep file", "the command line"


def merge(*places: tuple[str, Mapping[str, Any]]) -> dict[str, Value]:
    """Return options by long name; the later place wins.

    Args:
        places: each with its name for people, and with options by any of their names; False takes one away.

    Raises:
        UsageError: there is no such option, or its value is none; or a secret would be passed on as plain text.
    """
    merged: dict[str, Value] = {}
    for source, options in places:
        for key, value in options.items():
            name = _name(key, value, source)
            if name in _TAKEN_AWAY:
                continue
            merged[name] = _value(name, value, source)
    merged = {name: value for name, value in merged.items() if value is not False}
    for name in names_in(merged.get("env")):
        if is_secret(name):
            raise UsageError(
                f"env: {name} is a secret, which every Describe call of AWS would show; keep it in Secrets Manager or "
                f"SSM and write secret: {name}=<its name or ARN>; plain-env: {name} passes it on all the same"
            )
    return merged


def names_in(value: object) -> list[str]:
    """Return the names of ``A,B``, the value of ``env`` or ``plain-env``; nothing of None."""
    return [name for name in str(value or "").replace(" ", ",").split(",") if name]


def variables(options: Mapping[str, Any]) -> list[str]:
    """Return the names of variables whose values jobs get from this process's environment."""
    return [*names_in(options.get("env")), *names_in(options.get("plain-env"))]


def secrets(options: Mapping[str, Any]) -> dict[str, str]:
    """Return names or ARNs of kept secrets by the variable that jobs get, of ``WANDB_API_KEY=team/wandb,OTHER=...``."""
    pairs = (item.strip().partition("=") for item in str(options.get("secret") or "").split(",") if item.strip())
    return {name: kept for name, _, kept in pairs}


def filesystem(options: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the id of a filesystem of EFS and the folder where it is mounted, of ``efs: fs-0123:/shared``."""
    name, _, folder = str(options.get("efs") or "").partition(":")
    return (name, folder) if name else None


def asked(options: Mapping[str, Any]) -> Asked:
    """Return what merged options ask for, as far as they say it."""
    limit, memory, cpus = (options.get(name) for name in ("time", "mem", "cpus-per-task"))
    return Asked(minutes(str(limit)) if limit else None, mebibytes(str(memory)) if memory else None, cpus and int(cpus))


def seconds(options: Mapping[str, Any]) -> int | None:
    """Return the time limit of merged options in whole seconds; None for none."""
    limit = asked(options).time
    return None if limit is None else max(1, round(limit * 60))


def _name(key: str, value: Any, source: str) -> str:
    """Return the long name of an option; ``gres gpu:2`` is ``gpus``. Raises UsageError."""
    name = key.lstrip("-").replace("_", "-")
    name = _ALIASES.get(name, name)
    if name == "gres" and (value is False or _GPU.fullmatch(str(value))):
        return "gpus"
    if name in KNOWN or (name in _TAKEN_AWAY and value is False):
        return name
    raise UsageError(f"{source}: {key!a} is not an option of jobs in AWS; {suggest(name, KNOWN)}")


def _value(name: str, value: Any, source: str) -> Value:
    if value is False:
        return False
    text = str(value).strip()
    if name in _FLAGS and text.lower() in _FLAG_WORDS:
        return _FLAG_WORDS[text.lower()]
    if not text or value is True or not text.isprintable():
        raise UsageError(f"{source}: {name} {text!a} is no value: write one, without control characters")
    if name == "time" and not _TIME.fullmatch(text):
        raise UsageError(f"{source}: time {text!a} is not a time; write minutes, 1:30:00 or 2-0")
    if name == "mem" and not mebibytes(text):
        raise UsageError(f"{source}: mem {text!a} is not a memory; write MiB, or 4G")
    if name in _NUMBERS:
        return _number(name, text, source)
    if name in ("env", "plain-env"):
        _refuse_values(name, text, source)
    if name == "secret":
        _refuse_no_secret(text, source)
    if name == "efs" and not _EFS.fullmatch(text):
        raise UsageError(f"{source}: efs {text!a} is not ID:FOLDER, such as fs-0123456789abcdef0:/shared")
    return text


def _number(name: str, text: str, source: str) -> str:
    found = _GPU.fullmatch(text)
    text = (found[1] or "1") if found else text
    least, most = _NUMBERS[name]
    if not text.isdecimal() or not least <= int(text) <= most:
        raise UsageError(f"{source}: {name} {text!a} is not a whole number, {least} to {most}")
    return str(int(text))


def _refuse_values(name: str, text: str, source: str) -> None:
    for item in names_in(text):
        if not _VARIABLE.fullmatch(item):
            variable = item.partition("=")[0]  # what stands behind it may be a secret
            raise UsageError(f"{source}: {name} takes names of variables, such as HF_HOME,{variable}: without values")


def _refuse_no_secret(text: str, source: str) -> None:
    for item in text.split(","):
        variable, equals, kept = item.strip().partition("=")
        if not _VARIABLE.fullmatch(variable) or not equals or not re.fullmatch(r"[\w/+=.@:-]{1,2048}", kept):
            raise UsageError(
                f"{source}: secret takes VARIABLE=NAME, the name (or ARN) of a secret in Secrets Manager or SSM, such "
                "as WANDB_API_KEY=team/wandb"
            )
