"""Ask what partitions give a job at most: the longest time, the largest memory of a node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slurmsweep.backends.slurm.commands import answer
from slurmsweep.backends.slurm.resources import minutes

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Of each node in each partition: node, partition (the default one with a star), time limit, MiB of the node.
_FORMAT = "%N|%P|%l|%m"


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
class Survey:
    """What sinfo says of the cluster.

    Attributes:
        partitions: an entry for each kind of node in each partition.
        nodes: number of nodes in the cluster.
    """

    partitions: tuple[Partition, ...] = ()
    nodes: int = 0

    def most(self, wanted: str | None) -> Partition:
        """Return what each of the wanted partitions (comma-separated; None for the default one) gives.

        Slurm starts a job in one of them. A job within the limits of all of them can start in any.
        """
        return choose(list(self.partitions), wanted)


def survey() -> Survey:
    """Return partitions and nodes, by one sinfo call. Raises SchedulerUnavailableError."""
    lines = [line.strip() for line in answer("sinfo", "-h", "-N", "-o", _FORMAT).splitlines() if "|" in line]
    kinds = dict.fromkeys(line.partition("|")[2] for line in lines)
    return Survey(tuple(parse_sinfo("\n".join(kinds))), len({line.partition("|")[0] for line in lines}))


def choose(partitions: list[Partition], wanted: str | None) -> Partition:
    """Return the limits that hold in each of the wanted partitions; no limits for names that do not exist."""
    names = set(wanted.split(",")) if wanted else {p.name for p in partitions if p.is_default}
    chosen = [p for p in partitions if p.name in names]
    if not chosen:
        return Partition(wanted or "", None, 0)
    largest = {name: max(p.mebibytes for p in chosen if p.name == name) for name in {p.name for p in chosen}}
    limits = [p.minutes for p in chosen if p.minutes is not None]
    return Partition(",".join(sorted(largest)), min(limits, default=None), min(largest.values()))


def parse_sinfo(text: str) -> Iterator[Partition]:
    """Yield an entry for each line, such as ``main*|1-00:00:00|16000`` or ``long|infinite|16000+``."""
    for line in text.splitlines():
        fields = line.strip().split("|")
        if len(fields) == 3 and fields[2].rstrip("+").isdecimal():
            name, limit, memory = fields
            no_limit = limit.lower() in ("infinite", "n/a")
            yield Partition(
                name.rstrip("*"), None if no_limit else minutes(limit), int(memory.rstrip("+")), name.endswith("*")
            )
