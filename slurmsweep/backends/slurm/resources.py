"""Options of sbatch from several places, checked and merged.

Command line over the sweep file's ``slurm:`` over defaults of project and user over template over SBATCH_ variables.
"""

from __future__ import annotations

import re
from itertools import combinations
from typing import TYPE_CHECKING, Any

from slurmsweep.backends.base import OPTIONS_OF_SERVICES, Asked
from slurmsweep.errors import UsageError
from slurmsweep.sweepfile.secrets import is_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

Value = str | bool

#: Minutes, where neither command line nor sweep file nor template give a time.
DEFAULT_TIME = "60"

#: How Slurm warns the agent where nothing else is given: 60 s before the time limit, up to 30 s early. ``B:`` means
#: that the batch script alone is told.
WARNING_SIGNAL = "B:USR1@60"

#: Long options of sbatch (slurm_opt.c, 22.05 to 26.05) that say what a job needs. What slurmsweep decides is in OURS.
_WORDS = """
account acctg-freq batch bb bbf begin chdir cluster-constraint clusters comment consolidate-segments constraint
container container-id container-type context contiguous core-spec cores-per-socket cpu-freq cpus-per-gpu cpus-per-task
deadline delay-boot dependency distribution exclude exclusive export export-file extra extra-node-info get-user-env gid
gpu-bind gpu-freq gpus gpus-per-node gpus-per-socket gpus-per-task gres gres-flags hint hold kill-on-invalid-dep
licenses mail-type mail-user mcs-label mem mem-bind mem-per-cpu mem-per-gpu mem-update mincpus network nice no-kill
no-requeue nodefile nodelist nodes ntasks ntasks-per-core ntasks-per-gpu ntasks-per-node ntasks-per-socket
ntasks-per-tres oom-kill-step open-mode overcommit oversubscribe partition power prefer priority profile propagate qos
quiet reboot requeue reservation resources resv-ports segment signal sockets-per-node spread-job spread-segments stepmgr
switches thread-spec threads-per-core time time-min tmp tres-bind tres-per-task uid use-min-nodes verbose wait-all-nodes
wckey
"""
KNOWN = frozenset(_WORDS.split())

#: What slurmsweep sets itself, and why.
OURS = {
    "array": "one element a trial: use --count and --width",
    "job-name": "it carries the submission's unique token",
    "output": "job output lies in the sweep's jobs folder",
    "error": "job output lies in the sweep's jobs folder",
    "input": "trials read nothing",
    "wrap": "the body comes from the template",
    "parsable": "slurmsweep reads sbatch's answer",
    "test-only": "use slurmsweep plan",
    "wait": "use slurmsweep run",
    "external": "such a job runs no agent",
    "ignore-pbs": "templates have no lines of PBS",
    **dict.fromkeys(("help", "usage", "version", "autocomplete"), "sbatch would submit nothing"),
}

#: Short options and other names for the same.
_ALIASES = {
    "A": "account", "p": "partition", "t": "time", "c": "cpus-per-task", "n": "ntasks", "N": "nodes", "G": "gpus",
    "C": "constraint", "q": "qos", "w": "nodelist", "x": "exclude", "J": "job-name", "o": "output", "e": "error",
    "a": "array", "d": "dependency", "D": "chdir", "H": "hold", "M": "clusters", "L": "licenses", "b": "begin",
    "B": "extra-node-info", "F": "nodefile", "i": "input", "k": "no-kill", "m": "distribution", "O": "overcommit",
    "Q": "quiet", "s": "oversubscribe", "S": "core-spec", "v": "verbose", "V": "version", "W": "wait", "h": "help",
    "timeout-min": "time", "cpus": "cpus-per-task", "memory": "mem", "queue": "partition", "cluster": "clusters",
    "tasks-per-node": "ntasks-per-node",
}  # fmt: skip

_MEMORIES = ("mem", "mem-per-cpu", "mem-per-gpu")

#: Options that exclude each other: sbatch of some version refuses both, or passes over one of them (slurm_opt.c). A
#: later place that names one means it instead of what earlier places say. ``gres:gpu``, ``tres:gpu`` and ``tres:cpu``
#: are parts of the values of ``gres`` and ``tres-per-task``.
_ONE_OF = (
    ("requeue", "no-requeue"),
    _MEMORIES,
    ("exclusive", "oversubscribe"),
    ("core-spec", "thread-spec"),
    ("bb", "bbf"),
    ("nodelist", "nodefile"),
    ("cpus-per-task", "cpus-per-gpu", "tres:cpu"),
    ("gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket", "gres:gpu", "tres:gpu"),
    ("ntasks-per-gpu", "ntasks-per-tres"),
)
#: Options that exclude some others, which do not exclude each other.
_NOT_WITH = {
    "ntasks-per-gpu": ("gpus-per-task", "gpus-per-socket", "ntasks-per-node", "tres-per-task", "tres:cpu", "tres:gpu"),
    "hint": ("ntasks-per-core", "threads-per-core", "cores-per-socket", "sockets-per-node", "extra-node-info"),
    "extra-node-info": ("threads-per-core", "cores-per-socket", "sockets-per-node"),
    "distribution:arbitrary": ("nodes",),
}
_EXCLUSIVE = {frozenset(pair) for group in _ONE_OF for pair in combinations(group, 2)} | {
    frozenset((one, other)) for one, others in _NOT_WITH.items() for other in others
}

#: Of these sbatch takes no two, of any version. Of the others some versions do, so it is asked.
_NEVER_TWO = {
    frozenset(pair)
    for group in (_MEMORIES, ("core-spec", "thread-spec"), ("bb", "bbf"))
    for pair in combinations(group, 2)
} | {frozenset(("ntasks-per-gpu", other)) for other in ("gpus-per-task", "gpus-per-socket", "ntasks-per-node")}

#: A name that can be an option: what is none would end its line in the script.
_IS_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")

#: How much a name is like a known one that is a misspelling of it, and not an option that is newer than this version
#: (difflib's ratio, 0 to 1): where sbatch here says what it has, and this is not among it; and where it says nothing.
#: Of the 16 options that are new since 22.05 one is more like an older one than that (tres-per-task).
_CLOSE, _CLOSER = 0.6, 0.75

_IS_GPU = re.compile(r"(gres[/:])?gpu\b")
_IS_CPU = re.compile(r"cpu\b")

#: minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes, days-hours:minutes:seconds
#: (sbatch(1)).
_TIME = re.compile(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}|UNLIMITED|INFINITE", re.IGNORECASE)

#: sbatch(1), --mem: a number and K, M, G or T; M where none is given.
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)([KMGT])?B?", re.IGNORECASE)
_UNITS = "KMGT"
_CPUS = frozenset({"ntasks", "nodes", "ntasks-per-node", "cpus-per-task"})

#: Names of places for people.
SWEEP_FILE, COMMAND_LINE = "slurm: in the sweep file", "the command line"


def merge(*places: tuple[str, Mapping[str, Any]], listed: Callable[[], Collection[str]] = tuple) -> dict[str, Value]:
    """Return options by long name; the later place wins, also over options that exclude its own.

    An option that is not KNOWN is taken where nothing says that it is a mistake: :func:`strangers` tells which were.

    Args:
        places: each with its name for people, and with options by any of their names; False takes one away.
        listed: returns the options that sbatch here says it has, for names that look misspelt.

    Raises:
        UsageError: an option is a misspelt one, or slurmsweep sets it; a value holds a control character; a time or a
            memory is not one; ``export`` gives a secret; two in one place exclude each other, for every sbatch.
    """
    merged: dict[str, Value] = {}
    source_of: dict[str, str] = {}
    for source, options in places:
        named = {_name(key, source, listed): value for key, value in options.items()}
        named = {name: _value(name, value, source) for name, value in named.items()}
        merged = over(merged, named)
        source_of |= dict.fromkeys(named, source)
    merged = {name: value for name, value in merged.items() if value is not False}
    for one, other in combinations(merged, 2):
        if frozenset((one, other)) in _NEVER_TWO:
            raise UsageError(f"{source_of[one]}: {one} and {other} exclude each other: leave one of them out")
    return merged


def over(earlier: Mapping[str, Value], later: Mapping[str, Value]) -> dict[str, Value]:
    """Return the options of two places by any of their names: the later one wins, also over what excludes its own."""
    named = {part for key, value in later.items() for part, _ in _parts(normal_name(key), value)}
    kept: dict[str, Value] = {}
    for key, value in earlier.items():
        parts = [*_parts(normal_name(key), value)]
        left = [text for part, text in parts if all(frozenset((part, other)) not in _EXCLUSIVE for other in named)]
        if len(left) == len(parts):
            kept[normal_name(key)] = value
        elif left:
            kept[normal_name(key)] = ",".join(map(str, left))
    return kept | {normal_name(key): value for key, value in later.items()}


def _parts(name: str, value: Value) -> Iterator[tuple[str, Value]]:
    """Yield what an option asks for, with its text: ``gres`` and ``tres-per-task`` ask for several things.

    What is taken away excludes nothing.
    """
    if value is False:
        return
    if name in ("gres", "tres-per-task"):
        for item in str(value).split(","):
            if _IS_GPU.match(item):
                yield f"{name.partition('-')[0]}:gpu", item
            else:
                yield "tres:cpu" if name != "gres" and _IS_CPU.match(item) else name, item
    elif name == "distribution" and str(value).partition(":")[0].lower().startswith("arbitrary"):
        yield "distribution:arbitrary", value
    else:
        yield name, value


def strangers(options: Mapping[str, Value]) -> list[str]:
    """Return the long names among merged options that this version does not know."""
    return [name for name in options if name not in KNOWN | OPTIONS_OF_SERVICES and name not in OURS]


def minutes(time: str) -> float | None:
    """Return the minutes of one of Slurm's forms of time (sbatch(1), --time); None for no limit."""
    if time.upper() in ("UNLIMITED", "INFINITE"):
        return None
    days, dash, rest = time.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:
        hours, mins, seconds = (*parts, 0, 0)[:3]
        return int(days) * 24 * 60 + hours * 60 + mins + seconds / 60
    if len(parts) == len(("hours", "minutes", "seconds")):
        return parts[0] * 60 + parts[1] + parts[2] / 60
    return parts[0] + (parts[1] / 60 if len(parts) > 1 else 0)


def mebibytes(text: str) -> float | None:
    """Return the MiB of one of Slurm's forms of memory (sbatch(1), --mem: ``4G``, ``512``); None for all of a node."""
    found = _MEMORY.fullmatch(text.strip())
    if not found or not float(found[1]):
        return None
    return float(found[1]) * 1024.0 ** (_UNITS.index((found[2] or "M").upper()) - 1)


def asked(options: Mapping[str, Any]) -> Asked:
    """Return what merged options ask for, as far as they say it. Memory for a GPU and whole nodes are left out."""
    cpus, limit, memory = None, options.get("time"), None
    if not _CPUS.isdisjoint(options):
        tasks = _count(options, "ntasks") or (_count(options, "nodes") or 1) * (_count(options, "ntasks-per-node") or 1)
        cpus = tasks * (_count(options, "cpus-per-task") or 1)
    if "mem" in options:
        per_node = mebibytes(str(options["mem"]))
        memory = per_node and per_node * (_count(options, "nodes") or 1)
    elif "mem-per-cpu" in options:
        per_cpu = mebibytes(str(options["mem-per-cpu"]))
        memory = per_cpu and per_cpu * (cpus or 1)
    return Asked(minutes(str(limit)) if limit else None, memory, cpus)


def gpus(options: Mapping[str, Any]) -> int:
    """Return how many GPUs a job of one node has by merged options; 0 where they name none."""
    named = [str(options.get(name, "")) for name in ("gpus", "gpus-per-node")]
    named += [item for item in str(options.get("gres", "")).split(",") if _IS_GPU.match(item)]
    counts = [item.rpartition(":")[2] for text in named for item in text.split(",") if item]
    return sum(int(count) if count.isdecimal() else 1 for count in counts)


def warning_seconds(options: Mapping[str, Any]) -> int:
    """Return how long before the time limit the agent is told; 0 where the options' ``signal`` does not say."""
    text = str(options.get("signal", WARNING_SIGNAL)).partition("@")[2]
    return int(text) if text.isdecimal() else 0


def _count(options: Mapping[str, Any], option: str) -> int:
    """Return the number that is an option's value, of a range the first; 0 where there is none."""
    text = str(options.get(option, "")).partition("-")[0]
    return int(text) if text.isdecimal() else 0


def normal_name(key: str) -> str:
    """Return the long name, ``cpus-per-task`` for ``cpus_per_task``, ``--cpus-per-task`` and ``c``."""
    key = key.lstrip("-").replace("_", "-")
    return _ALIASES.get(key, key)


def _name(key: str, source: str, listed: Callable[[], Collection[str]]) -> str:
    name = normal_name(key)
    if name in OURS:
        raise UsageError(f"{source}: {key} is set by slurmsweep: {OURS[name]}")
    if name in KNOWN:
        return name
    if name in OPTIONS_OF_SERVICES:
        raise UsageError(
            f"{source}: {key} is for jobs in AWS (--backend batch, ecs, sagemaker or sqs): sbatch has none"
        )
    hint = "see `man sbatch`"
    if _IS_NAME.fullmatch(name):
        here = listed()
        # sbatch takes the beginning of a name for the whole one
        longer = sorted(known for known in KNOWN | OURS.keys() if known.startswith(name))
        from difflib import get_close_matches  # for mistakes only

        close = get_close_matches(name, KNOWN, n=1, cutoff=_CLOSE if here else _CLOSER)
        if name in here or not (longer or close):
            return name
        hint = f"write {' or '.join(longer[:3])}" if longer else f"did you mean {close[0]}?"
    raise UsageError(f"{source}: {key!a} is not an option of sbatch; {hint}")


def _value(name: str, value: Any, source: str) -> Value:
    if isinstance(value, bool):
        return value
    text = str(value).strip() if name == "time" else str(value)
    # a newline would end the #SBATCH line, and what follows would be run
    if not text.isprintable():
        raise UsageError(f"{source}: {name} holds a control character ({text!a}); remove it")
    if name == "export":
        _refuse_secrets(text, source)
    if name == "clusters" and ("," in text or text.lower() == "all"):
        raise UsageError(
            f"{source}: clusters={text}: name one cluster, because a job's id means nothing without its cluster"
        )
    if name == "time" and not _TIME.fullmatch(text):
        raise UsageError(f"{source}: time {text!a} is not a time; write minutes, 1:30:00 or 2-0")
    if name in _MEMORIES and not _MEMORY.fullmatch(text):
        raise UsageError(f"{source}: {name} {text!a} is not a memory; write MiB, or 4G")
    return text or True


def _refuse_secrets(export: str, source: str) -> None:
    # what stands in ``export`` stands in the batch script, which others may read
    for item in export.split(","):
        variable, equals, _ = item.partition("=")
        if equals and is_secret(variable.strip()):
            raise UsageError(
                f"{source}: export gives the value of {variable.strip()}, which would stand in the batch script; set "
                "it in your shell before you submit, and jobs inherit it"
            )
