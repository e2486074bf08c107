"""Submit as many jobs as Slurm takes: limits on the size of an array and on a user's jobs, read where that is one call.

What cannot be read beforehand (a limit of a QOS that no option names, of a partition's QOS, of a site's own plugin) is
understood from sbatch's refusal: :mod:`slurmsweep.backends.slurm.refusals`.
"""

from __future__ import annotations

import getpass
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.backends.base import SubmitResult
from slurmsweep.backends.slurm.cluster import asked_configuration, configuration, setting, target
from slurmsweep.backends.slurm.commands import answer, on
from slurmsweep.errors import JobLimitError, SchedulerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slurmsweep.backends.base import Options, SubmitPart, Submitted

#: Slurm's own default (slurm.conf(5), MaxArraySize): indexes 0 to 1000.
_DEFAULT_MAX_ARRAY_SIZE = 1001

#: A site may allow fewer elements than indexes (slurm.conf(5), SchedulerParameters).
_ARRAY_TASKS = re.compile(r"\bmax_array_tasks=([1-9]\d*)", re.IGNORECASE)

#: Limits are enforced; ``all`` and numbers include that (slurm.conf(5), AccountingStorageEnforce).
_ENFORCED = re.compile(r"limits|safe|all|\d", re.IGNORECASE)

#: A limit and, in brackets, what is used of it (``MaxSubmitJobs=50(7)``); ``N`` and nothing mean no limit.
_USED = re.compile(r"(\d+)\((\d+)\)")

#: Of a QOS, what one user or one account uses: ``1000={...}`` (22.05), ``ann(1000)={...}`` (23.02), ``vision={...}``.
_EACH = re.compile(r"(\S+)=\{([^}]*)\}")


class Room(NamedTuple):
    """How many more jobs Slurm takes from this user now, and why not more; None and empty without a limit."""

    jobs: int | None = None
    why: str = ""


def hand_over(count: int, largest: int, options: Options, part: SubmitPart, *, was_refused: bool) -> SubmitResult:
    """Submit as many of ``count`` jobs as Slurm takes, in arrays of at most ``largest``.

    Mostly all fit, so limits are read only where more than one array is wanted, or where Slurm refused an array of this
    sweep: now or before. Slurm takes an array whole or not at all. So where a limit cannot be read, what is left is
    halved until it fits: log2(count) refusals find the limit to the job.

    Args:
        count: 1 or more.
        largest: size of an array that Slurm takes here.
        options: of the jobs.
        part: submits jobs; raises JobLimitError where Slurm does not take them.
        was_refused: Slurm refused an array of this sweep before.
    """
    refusal: JobLimitError | None = None
    if count <= largest and not was_refused:
        try:
            array = part(0, count)
            return SubmitResult((array,) if array else ())
        except JobLimitError as error:
            refusal = error
    left = room(options)
    if left.jobs == 0:
        raise JobLimitError(f"Slurm takes no more jobs now: {left.why}; submit later") from refusal
    fits, why = count, ""
    if left.jobs is not None and left.jobs < count:
        fits, why, refusal = left.jobs, left.why, None
    elif refusal:
        fits, why = _may_still_fit(count, refusal, target(options), is_first=True), str(refusal)
    arrays: list[Submitted] = []
    done = 0
    while done < fits:
        # after a refusal all that is known is that more do not fit
        halves = 2 if refusal and not refusal.cluster_is_full else 1
        tasks = min(largest, -(-(fits - done) // halves))
        try:
            array = part(done, tasks)
            arrays += [array] if array else []
            done += tasks
        except JobLimitError as error:
            fits = done + _may_still_fit(tasks, error, target(options), is_first=refusal is None)
            why, refusal = str(error), error
    if refusal and not arrays:
        raise refusal
    return SubmitResult(tuple(arrays), count - done, why)


def _may_still_fit(refused: int, error: JobLimitError, cluster: str, *, is_first: bool) -> int:
    """Return an upper bound of the jobs that a limit leaves room for, after Slurm refused so many.

    A full cluster takes two minutes to refuse, so it is asked once more, for well below what it should take.
    """
    if not error.cluster_is_full:
        return refused - 1
    return min(refused - 1, (free_in_cluster(cluster) or 0) // 2) if is_first else 0


def max_array_size(cluster: str) -> int:
    """Return how many elements an array may have on this cluster (empty) or that one; Slurm's default if unknown."""
    return parse_max_array_size(_configuration(cluster))


def room(options: Options) -> Room:
    """Return how many more jobs with these sbatch options Slurm takes now: one scontrol call where limits are enforced.

    A site may keep it from its users: then no limit is known, and Slurm's refusal says it. Never raises.
    """
    where = target(options)
    if not _ENFORCED.search(setting(_configuration(where), "AccountingStorageEnforce")):
        return Room()
    asked = f"users={getpass.getuser()}"
    try:
        said = answer("scontrol", *on(where), "-o", "show", "assoc_mgr", asked, "flags=assoc,qos")
    except SchedulerUnavailableError:
        return Room()
    account, qos, partition = (str(options.get(name) or "") or None for name in ("account", "qos", "partition"))
    return parse_room(said, account, qos, os.geteuid(), partition)


def _configuration(cluster: str) -> str:
    """Return the configuration; empty where it is kept from this user. A controller that is down, sbatch tells of."""
    try:
        return configuration(cluster)
    except SchedulerUnavailableError:
        return ""


def free_in_cluster(cluster: str) -> int | None:
    """Return how many jobs a full cluster still takes, as the controller counted half a minute ago; None if unknown.

    The number is an upper bound: the controller keeps jobs that ended minutes ago, and they count too.
    """
    try:
        largest = setting(asked_configuration(cluster), "MaxJobCount")
        counted = re.findall(r"^Jobs (?:pending|running):\s*(\d+)", answer("sdiag", *on(cluster)), re.MULTILINE)
    except SchedulerUnavailableError:
        return None  # a site may keep it from its users
    return max(0, int(largest) - sum(map(int, counted)) - 1) if largest.isdecimal() and counted else None


def parse_max_array_size(text: str) -> int:
    """Return MaxArraySize of a line such as ``MaxArraySize            = 10001``, or the smaller max_array_tasks."""
    size = re.match(r"\d+", setting(text, "MaxArraySize"))
    tasks = _ARRAY_TASKS.search(setting(text, "SchedulerParameters"))
    most = int(size[0]) if size else _DEFAULT_MAX_ARRAY_SIZE
    return min(most, int(tasks[1])) if tasks else most


def parse_room(text: str, account: str | None, qos: str | None, uid: int, partition: str | None = None) -> Room:
    """Return the smallest room that the user's association, accounts and QOS leave.

    A limit of the QOS stands in the place of the same one of the association (acct_policy.c of Slurm 22.05 to 26.05).

    Args:
        text: of ``scontrol -o show assoc_mgr``, a line for each record; a limit stands with what is used of it.
        account: that jobs are charged to; None for the user's default.
        qos: that jobs ask for, of several (24.11) Slurm counts by the one of the highest priority; None where they
            leave it to Slurm, whose refusal then tells the limit.
        uid: of the user.
        partition: that jobs ask for: users may have an association for each.
    """
    lines = text.splitlines()
    records = [_fields(line.partition(" Comment=")[0]) for line in lines if line.startswith("ClusterName=")]
    mine = _own(records, account, uid, partition)
    of_qos = [*_of_qos(lines, qos, uid, mine["Account"] if mine else account)] if qos else []
    stands = {room.why.partition(" ")[0] for room in of_qos}
    found = [*of_qos, *(_of_associations(records, mine, stands) if mine else ())]
    return min(found, key=lambda room: room.jobs or 0, default=Room())


def split(count: int, size: int) -> list[int]:
    """Return the sizes of as few arrays as possible that hold ``count`` jobs, none larger than ``size``."""
    return [min(size, count - start) for start in range(0, count, size)]


def _own(records: list[dict[str, str]], account: str | None, uid: int, partition: str | None) -> dict[str, str] | None:
    """Return the user's association with the account (the default one without), that of the partition before others."""
    own = [r for r in records if r.get("UserName")]
    own = [r for r in own if r["UserName"].endswith(f"({uid})")] or own
    if not account:
        account = next((r["Account"] for r in own if r.get("DefAssoc") == "Yes"), "")
    charged = [r for r in own if r["Account"].lower() == account.lower()]
    places = ((partition or "").partition(",")[0], "")
    return next((r for place in places for r in charged if r.get("Partition", "") == place), None)


def _of_associations(records: list[dict[str, str]], mine: dict[str, str], stands: set[str]) -> Iterator[Room]:
    """Yield the room that the user's own association leaves, and the accounts above it; ``stands``: limits of a QOS."""
    whose = f"your jobs in account {mine['Account']}"
    if stands.isdisjoint(("MaxSubmitJobsPU", "MaxSubmitJobsPA")):
        yield from _room(mine, "MaxSubmitJobs", whose)
    if "GrpSubmitJobs" in stands:
        return
    yield from _room(mine, "GrpSubmitJobs", whose)
    parent = mine["Account"]
    while parent:
        above = next((r for r in records if r["Account"] == parent and not r.get("UserName")), {})
        # a limit of "each user below" stands in the users' own records, a group's limit in the group's
        yield from _room(above, "GrpSubmitJobs", f"all jobs of account {parent}")
        parent = above.get("ParentAccount", "").partition("(")[0]


def _of_qos(lines: list[str], qos: str, uid: int, account: str | None) -> Iterator[Room]:
    """Yield the room in a QOS, and in what it grants each account and each user."""
    names = [name.strip().lower() for name in qos.split(",")]
    named = [line for line in lines if line.startswith("QOS=") and line[4:].partition("(")[0].lower() in names]
    if not named:
        return
    record = max(named, key=lambda line: int(_fields(line).get("Priority", "0")))
    name = record[4:].partition("(")[0]
    in_all, _, each = record.partition(" Account Limits=")
    accounts, _, users = each.partition(" User Limits=")
    yield from _room(_fields(in_all), "GrpSubmitJobs", f"all jobs of QOS {name}")
    if account:
        of_account = _of_each(accounts, lambda key: key.lower() == account.lower())
        yield from _room(of_account, "MaxSubmitJobsPA", f"all jobs of account {account} in QOS {name}")
    of_user = _of_each(users, lambda key: key == str(uid) or key.endswith(f"({uid})"))
    yield from _room(of_user, "MaxSubmitJobsPU", f"your jobs in QOS {name}")


def _of_each(text: str, is_ours: Callable[[str], bool]) -> dict[str, str]:
    """Return what a QOS grants one user or account, and what of it is used.

    Each is listed once it had a job in the QOS. The limits are the same for all, so those of another one tell them.
    """
    listed = [(is_ours(key), _fields(fields)) for key, fields in _EACH.findall(text)]
    others = ({name: re.sub(r"\(\d+\)", "(0)", value) for name, value in fields.items()} for _, fields in listed)
    return next((fields for ours, fields in listed if ours), None) or next(others, {})


def _room(record: dict[str, str], name: str, whose: str) -> Iterator[Room]:
    found = _USED.fullmatch(record.get(name, ""))
    if found:
        limit, used = int(found[1]), int(found[2])
        yield Room(max(0, limit - used), f"{name} limits {whose} to {limit}, and {used} are there")


def _fields(line: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in line.split() if "=" in part)
