"""What a partition gives at most: the longest time, the largest memory of a node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slurmsweep.backends.slurm.commands import answer
from slurmsweep.backends.slurm.resources import minutes

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A line a node and partition: the node; then the partition (the default one with a star), its limit, the node's MiB.
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
        partitions: one of each kind of node that a partition has.
        nodes: how many the cluster has.
    """

    partitions: tuple[Partition, ...] = ()
    nodes: int = 0

    def most(self, wanted: str | None) -> Partition:
        """What one of the wanted partitions (comma-separated; None: the default one) gives at most.

        Slurm starts such a job in one of them: what is in the limits of all of them can start in any, so the least
        stands.
        """
        return choose(list(self.partitions), wanted)


def survey() -> Survey:
    """Partitions and nodes, by one sinfo call. Raises SchedulerUnavailableError: sinfo did not answer."""
    lines = [line.strip() for line in answer("sinfo", "-h", "-N", "-o", _FORMAT).splitlines() if "|" in line]
    kinds = dict.fromkeys(line.partition("|")[2] for line in lines)
    return Survey(tuple(parse_sinfo("\n".join(kinds))), len({line.partition("|")[0] for line in lines}))


def choose(partitions: list[Partition], wanted: str | None) -> Partition:
    """The limits that hold in each of the wanted partitions; none known for names nobody has."""
    names = set(wanted.split(",")) if wanted else {p.name for p in partitions if p.is_default}
    chosen = [p for p in partitions if p.name in names]
    if not chosen:
        return Partition(wanted or "", None, 0)
    largest = {name: max(p.mebibytes for p in chosen if p.name == name) for name in {p.name for p in chosen}}
    limits = [p.minutes for p in chosen if p.minutes is not None]
    return Partition(",".join(sorted(largest)), min(limits, default=None), min(largest.values()))


def parse_sinfo(text: str) -> Iterator[Partition]:
    """Lines such as ``main*|1-00:00:00|16000`` and ``long|infinite|16000+``, several of one partition."""
    for line in text.splitlines():
        fields = line.strip().split("|")
        if len(fields) == 3 and fields[2].rstrip("+").isdecimal():
            name, limit, memory = fields
            no_limit = limit.lower() in ("infinite", "n/a")
            yield Partition(
                name.rstrip("*"), None if no_limit else minutes(limit), int(memory.rstrip("+")), name.endswith("*")
            )
