"""The options of a job in AWS: their names, the places that give them, and what their values may be. Pure.

What Slurm has too has Slurm's names and forms (``time: 1:30:00``, ``mem: 4G``): one sweep file says it for both.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from slurmsweep.agents.place import REGION
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

#: Options that may be flags.
_FLAGS = ("spot", "public-ip")

_GPU = re.compile(r"(?:gres/)?gpu(?::(?![0-9]+$)[\w.-]+)?(?::([0-9]+))?")
_TIME = re.compile(r"([0-9]{1,9}-)?[0-9]{1,9}(:[0-9]{1,9}){0,2}")
_MEMORY = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?[KMGTkmgt]?[Bb]?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBERS = {"cpus-per-task": (1, 10_000), "gpus": (0, 64), "retries": (1, 10)}

#: Minutes and MiB at most: a time has 31 bits as seconds at AWS, and no machine is nearly as large.
_MOST_MINUTES, _MOST_MIB = 10_000 * 24 * 60, 1024.0**3

#: Words of a flag that came as text; ``--aws spot`` has none.
_FLAG_WORDS = {
    **dict.fromkeys(("", "true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}

#: What names of things in AWS look like, and what each is for people. Region and cluster stand in keys of jobs, where
#: ``@`` and ``/`` have a meaning of their own: as :mod:`slurmsweep.agents.place` takes them.
_PLAIN = (r"[!-~]{1,2048}", "a name in AWS: those have no blanks, and of letters only those of ASCII")
_NAMES = {
    "region": (REGION, "a region of AWS, such as eu-west-1"),
    "cluster": (
        r"(?:arn:aws[a-z-]*:ecs:[a-z0-9-]+:[0-9]+:cluster/)?[A-Za-z0-9_-]{1,255}",
        "the name of a cluster of ECS, or its ARN",
    ),
    "efs": (r"fs-[0-9a-f]{8,40}:/\S*", "ID:FOLDER, such as fs-0123456789abcdef0:/shared"),
    **dict.fromkeys(("definition", "image", "instance-type", "queue", "role"), _PLAIN),
}

#: Keys of W&B: one in the place of the name under which it is kept.
_KEY_ITSELF = re.compile(r"[0-9a-f]{40}|wandb_v[0-9]_.*")

#: Options whose values no message shows, and the most characters that one shows of others.
_HIDDEN, _LONGEST = ("env", "plain-env", "secret"), 80

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
            merged[name] = _value(name, value, source)
    merged = {name: value for name, value in merged.items() if value is not False}
    for name in names_in(merged.get("env")):
        if is_secret(name):
            raise UsageError(
                f"env: {name} is a secret, which every Describe call of AWS would show; keep it in Secrets Manager or "
                f"SSM and write secret: {name}=<its name or ARN>; plain-env: {name} passes it on all the same"
            )
    if twice := sorted(set(variables(merged)) & secrets(merged).keys()):
        raise UsageError(f"secret: {twice[0]} is a variable that env passes on, too: name it in one of the two")
    return merged


def names_in(value: object) -> list[str]:
    """Return the names of ``A,B``, the value of ``env`` or ``plain-env``; nothing of None."""
    return [name for name in str(value or "").replace(" ", ",").split(",") if name]


def variables(options: Mapping[str, Any]) -> list[str]:
    """Return the names of variables whose values jobs get from this process's environment."""
    return [*names_in(options.get("env")), *names_in(options.get("plain-env"))]


def unset(options: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """Return what is wrong where a variable that jobs are to get has no value; empty where all have one."""
    missing = [name for name in variables(options) if name not in environ]
    return f"env: {', '.join(missing)} is not set in this shell, so no job can get its value" if missing else ""


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
        shown = "" if name in _HIDDEN else f" {_shown(text)}"
        raise UsageError(f"{source}: {name}{shown} is no value: write one, without control characters")
    if name in _NUMBERS:
        return _number(name, text, source)
    if name in _LOOKS and (problem := _LOOKS[name](name, text)):
        raise UsageError(f"{source}: {problem}")
    return text


def _shown(text: str) -> str:
    return f"{text if len(text) <= _LONGEST else text[:_LONGEST] + '...'!a}"


def _number(name: str, text: str, source: str) -> str:
    found = _GPU.fullmatch(text)
    text = (found[1] or "1") if found else text
    least, most = _NUMBERS[name]
    if not re.fullmatch("[0-9]{1,9}", text) or not least <= int(text) <= most:
        raise UsageError(f"{source}: {name} {_shown(text)} is not a whole number, {least} to {most}")
    return str(int(text))


# Each returns what is wrong with a value; empty for nothing


def _no_time(name: str, text: str) -> str:
    if not _TIME.fullmatch(text):
        return f"{name} {_shown(text)} is not a time; write minutes, 1:30:00 or 2-0"
    if not 0 < (minutes(text) or 0) <= _MOST_MINUTES:
        return (
            f"{name} {_shown(text)} is no limit for a job: leave it out for none, or write 1 to {_MOST_MINUTES} minutes"
        )
    return ""


def _no_memory(name: str, text: str) -> str:
    if not _MEMORY.fullmatch(text) or not 1 <= (mebibytes(text) or 0) <= _MOST_MIB:
        return f"{name} {_shown(text)} is not a memory; write MiB, or 4G"
    return ""


def _no_name(name: str, text: str) -> str:
    pattern, what = _NAMES[name]
    return "" if re.fullmatch(pattern, text) else f"{name} {_shown(text)} is not {what}"


def _no_variables(name: str, text: str) -> str:
    for item in names_in(text):
        if not _VARIABLE.fullmatch(item):
            variable = item.partition("=")[0]  # what stands behind it may be a secret
            return f"{name} takes names of variables without values, such as HF_HOME,MY_FLAG, not {_shown(variable)}"
    return ""


def _no_secrets(name: str, text: str) -> str:
    seen: set[str] = set()
    for item in text.split(","):
        variable, equals, kept = item.strip().partition("=")
        if not _VARIABLE.fullmatch(variable) or not equals or not re.fullmatch(r"[\w/+=.@:-]{1,2048}", kept, re.ASCII):
            return (
                f"{name} takes VARIABLE=NAME, the name (or ARN) of a secret in Secrets Manager or SSM, such as "
                "WANDB_API_KEY=team/wandb"
            )
        if _KEY_ITSELF.fullmatch(kept):
            return (
                f"{name}: behind {variable}= stands a key itself, which AWS and this sweep's files would show; keep it "
                f"in Secrets Manager or SSM and write {variable}=<its name or ARN>"
            )
        if variable in seen:
            return f"{name} names {variable} twice"
        seen.add(variable)
    return ""


_LOOKS = {
    "time": _no_time,
    "mem": _no_memory,
    "secret": _no_secrets,
    **dict.fromkeys(("env", "plain-env"), _no_variables),
    **dict.fromkeys(_NAMES, _no_name),
}
