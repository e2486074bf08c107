"""Describe a cluster: whether it answers and keeps accounts, its limits, and what its partitions give a job at most."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slurmsweep.backends.slurm.cluster import setting
from slurmsweep.backends.slurm.commands import answer, installed, on, sacct
from slurmsweep.backends.slurm.limits import parse_max_array_size
from slurmsweep.backends.slurm.resources import minutes
from slurmsweep.errors import SchedulerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Asks of each node in each partition: node, partition (the default one with a star), time limit, MiB of the node.
_NODES = ("-h", "-N", "-o", "%N|%P|%l|%m")


@dataclass(frozen=True)
class Partition:
    """One partition, or the best of several.

    Attributes:
        name: without the star of the default one.
        minutes: MaxTime; None for no limit.
        mebibytes: of its largest node.
        is_default: jobs that name no partition go there.
    """

    name: str
    minutes: float | None
    mebibytes: int
    is_default: bool = False


@dataclass(frozen=True)
class Site:
    """A cluster as its own programs describe it.

    Attributes:
        missing: programs that are not installed here.
        version: of Slurm.
        silent: why the controller did not answer; empty where the controller answered.
        max_array_size: elements of an array.
        max_job_count: number of jobs that the controller keeps, of all users; None where it does not say.
        accounting: ``on``, or why nothing is known of jobs that ended a while ago.
        submit_limit: number of jobs that this user may have at a time; None where no limit is set or known.
        bounds: why it is not known what partitions give at most; empty where it is.
    """

    missing: tuple[str, ...]
    version: str
    silent: str
    max_array_size: int
    max_job_count: int | None
    accounting: str
    submit_limit: int | None
    bounds: str = ""


def look_around() -> Site:
    """Ask the cluster about itself: one scontrol, one sacct, one sacctmgr and one sinfo call. Never raises."""
    missing = tuple(name for name in ("sbatch", "squeue", "scontrol", "scancel", "sacct") if not installed(name))
    config, silent = _answer("scontrol", "show", "config")
    if silent:
        return Site(missing, "", silent, parse_max_array_size(""), None, f"not asked: {silent}", None)
    count = setting(config, "MaxJobCount")
    user = f"user={os.environ.get('USER') or os.geteuid()}"
    limits, _ = _answer("sacctmgr", "-n", "-P", "show", "assoc", user, "format=MaxSubmitJobs")
    return Site(
        missing=missing,
        version=setting(config, "SLURM_VERSION"),
        silent="",
        max_array_size=parse_max_array_size(config),
        max_job_count=int(count) if count.isdecimal() else None,
        accounting=_accounting(),
        submit_limit=parse_submit_limits(limits),
        bounds=_answer("sinfo", *_NODES)[1],
    )


def _answer(*argv: str) -> tuple[str, str]:
    """Return what one of Slurm's programs says, and why it says nothing."""
    try:
        return answer(*argv), ""
    except SchedulerUnavailableError as error:
        return "", str(error)


def parse_submit_limits(text: str) -> int | None:
    """Return the smallest MaxSubmitJobs of a user's associations, from ``sacctmgr -nP``; None without any."""
    numbers = [int(line.strip("|")) for line in text.splitlines() if line.strip("|").isdecimal()]
    return min(numbers, default=None)


def _accounting() -> str:
    _, said = sacct("-X", "-S", "now-1minutes", "-o", "JobID")
    if said == "off" and not installed("sacct"):
        return "not asked: there is no sacct on this machine"
    return "on" if said == "used" else "Slurm accounting storage is disabled" if said == "off" else said


def survey(cluster: str) -> tuple[list[Partition], int]:
    """Return an entry for each kind of node in each partition, and the number of nodes, by one sinfo call.

    Raises:
        SchedulerUnavailableError: sinfo did not answer.
    """
    text = answer("sinfo", *on(cluster), *_NODES)
    lines = [line.strip() for line in text.splitlines() if "|" in line]
    kinds = dict.fromkeys(line.partition("|")[2] for line in lines)
    return list(parse_sinfo(kinds)), len({line.partition("|")[0] for line in lines})


def choose(partitions: list[Partition], wanted: str | None) -> Partition:
    """Return the limits that hold in each of the wanted partitions (comma-separated; None for the default one).

    Slurm starts a job in one of them; a job within the limits of all can start in any. Names that do not exist give no
    limits.
    """
    names = set(wanted.split(",")) if wanted else {p.name for p in partitions if p.is_default}
    chosen = [p for p in partitions if p.name in names]
    if not chosen:
        return Partition(wanted or "", None, 0)
    largest = {name: max(p.mebibytes for p in chosen if p.name == name) for name in {p.name for p in chosen}}
    limits = [p.minutes for p in chosen if p.minutes is not None]
    return Partition(",".join(sorted(largest)), min(limits, default=None), min(largest.values()))


def parse_sinfo(lines: Iterable[str]) -> Iterator[Partition]:
    """Yield an entry for each line, such as ``main*|1-00:00:00|16000`` or ``long|infinite|16000+``.

    A line that has another form, as one that was cut, is passed over.
    """
    for line in lines:
        fields = line.strip().split("|")
        if len(fields) == 3 and fields[2].rstrip("+").isdecimal():
            name, limit, memory = fields
            no_limit = limit.lower() in ("infinite", "n/a")
            with suppress(ValueError):
                most = None if no_limit else minutes(limit)
                yield Partition(name.rstrip("*"), most, int(memory.rstrip("+")), name.endswith("*"))
