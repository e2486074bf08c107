"""Slurm's limits on what one submission may hold, and on how many jobs a user may have: read where that costs one call.

What cannot be read beforehand (a limit of a QOS that no option names, of a partition's QOS, of a site's own plugin) is
understood from sbatch's refusal: :mod:`slurmsweep.backends.slurm.refusals`.
"""

from __future__ import annotations

import getpass
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.backends.slurm.cluster import asked_configuration, configuration
from slurmsweep.backends.slurm.commands import answer, call
from slurmsweep.errors import SchedulerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Slurm's own default (slurm.conf(5), MaxArraySize): indexes 0 to 1000.
_DEFAULT_MAX_ARRAY_SIZE = 1001

_ARRAY_SIZE = re.compile(r"^\s*MaxArraySize\s*=\s*(\d+)", re.MULTILINE | re.IGNORECASE)

#: Limits are enforced; ``all`` and numbers include that (slurm.conf(5), AccountingStorageEnforce).
_ENFORCED = re.compile(r"^\s*AccountingStorageEnforce\s*=.*(limits|safe|all|\d)", re.MULTILINE | re.IGNORECASE)

#: A limit and, in brackets, what is used of it (``MaxSubmitJobs=50(7)``); ``N`` and nothing mean no limit.
_USED = re.compile(r"(\d+)\((\d+)\)")


class Room(NamedTuple):
    """How many more jobs Slurm takes from this user now, as far as one question tells.

    Attributes:
        jobs: None where no limit was found.
        why: the limit, in words; empty where there is none.
    """

    jobs: int | None = None
    why: str = ""


def max_array_size() -> int:
    """Return how many elements an array may have on this cluster.

    Raises:
        SchedulerUnavailableError: the controller had to be asked and did not answer.
    """
    return parse_max_array_size(configuration())


def room(options: Mapping[str, str | bool]) -> Room:
    """Return how many more jobs with these sbatch options Slurm takes from this user now.

    One scontrol call, and only where the cluster enforces limits at all.

    Raises:
        SchedulerUnavailableError: the controller did not answer.
    """
    if not _ENFORCED.search(configuration()):
        return Room()
    done = call("scontrol", "-o", "show", "assoc_mgr", f"users={getpass.getuser()}", "flags=assoc,qos")
    if done.returncode != 0:
        return Room()  # a site may keep it from its users; then the refusal says it
    account, qos = options.get("account"), options.get("qos")
    return parse_room(done.stdout, str(account) if account else None, str(qos) if qos else None, os.geteuid())


def free_in_cluster() -> int | None:
    """Return how many jobs a full cluster still takes, as the controller counted half a minute ago; None if unknown.

    The number is an upper bound: the controller keeps jobs that ended minutes ago, and they count too.
    """
    largest = re.search(r"^MaxJobCount\s*=\s*(\d+)", asked_configuration(), re.MULTILINE)
    try:
        counted = re.findall(r"^Jobs (?:pending|running):\s*(\d+)", answer("sdiag"), re.MULTILINE)
    except SchedulerUnavailableError:
        return None  # a site may keep it from its users
    return max(0, int(largest[1]) - sum(map(int, counted)) - 1) if largest and counted else None


def parse_max_array_size(text: str) -> int:
    """Return MaxArraySize from a line such as ``MaxArraySize            = 10001``."""
    found = _ARRAY_SIZE.search(text)
    return int(found[1]) if found else _DEFAULT_MAX_ARRAY_SIZE


def parse_room(text: str, account: str | None, qos: str | None, uid: int) -> Room:
    """Return the smallest room that the user's association, accounts and QOS leave.

    Args:
        text: of ``scontrol -o show assoc_mgr``, a line for each record; a limit stands with what is used of it.
        account: that jobs are charged to; None for the user's default.
        qos: that jobs ask for; None where they leave it to Slurm, whose refusal then tells the limit.
        uid: of the user.
    """
    lines = text.splitlines()
    found = [*_of_associations(lines, account), *(_of_qos(lines, qos, uid) if qos else ())]
    return min(found, key=lambda room: room.jobs or 0, default=Room())


def split(count: int, size: int) -> list[int]:
    """Return the sizes of as few arrays as possible that hold ``count`` jobs, none larger than ``size``."""
    full, rest = divmod(count, size)
    return [size] * full + ([rest] if rest else [])


def _of_associations(lines: list[str], account: str | None) -> Iterator[Room]:
    """Yield the room that the user's own association leaves, and the accounts above it."""
    records = [_fields(line) for line in lines if line.startswith("ClusterName=")]
    own = [r for r in records if r.get("UserName")]
    mine = next((r for r in own if (r["Account"] == account if account else r.get("DefAssoc") == "Yes")), None)
    if mine is None:
        return
    yield from _room(mine, "MaxSubmitJobs", f"your jobs in account {mine['Account']}")
    parent = mine["Account"]
    while parent:
        above = next((r for r in records if r["Account"] == parent and not r.get("UserName")), {})
        # a limit of "each user below" stands in the users' own records, a group's limit in the group's
        yield from _room(above, "GrpSubmitJobs", f"all jobs of account {parent}")
        parent = above.get("ParentAccount", "").partition("(")[0]


def _of_qos(lines: list[str], qos: str, uid: int) -> Iterator[Room]:
    """Yield the room in a QOS, and in what it grants each user, which is listed once the user has had a job in it."""
    for line in lines:
        if line.startswith(f"QOS={qos}("):
            limits, _, users = line.partition(" User Limits=")
            yield from _room(
                _fields(limits.partition(" Account Limits=")[0]), "GrpSubmitJobs", f"all jobs of QOS {qos}"
            )
            mine = re.search(rf"\b{uid}=\{{([^}}]*)\}}", users)
            yield from _room(_fields(mine[1]) if mine else {}, "MaxSubmitJobsPU", f"your jobs in QOS {qos}")


def _room(record: Mapping[str, str], name: str, whose: str) -> Iterator[Room]:
    found = _USED.fullmatch(record.get(name, ""))
    if found:
        limit, used = int(found[1]), int(found[2])
        yield Room(max(0, limit - used), f"{name} limits {whose} to {limit}, and {used} are there")


def _fields(line: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in line.split() if "=" in part)
