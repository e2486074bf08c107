"""Identify this process as the owner of claims, and see which processes of this host live."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from slurmsweep.state.assignment import SEAT, whole_number
from slurmsweep.state.owner import Owner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Field of /proc/<pid>/stat after the command's closing bracket: start time in clock ticks since boot (proc(5)).
_START_FIELD = 19
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def this_process(environ: Mapping[str, str]) -> Owner:
    """Return this process as an owner, with its job's data from Slurm (sbatch(1), output environment variables).

    Raises UsageError where a variable that is a number for Slurm is none.
    """
    array = environ.get("SLURM_ARRAY_JOB_ID")
    task = whole_number(environ, "SLURM_ARRAY_TASK_ID")
    return Owner(
        host=os.uname().nodename,
        pid=os.getpid(),
        start=process_start(os.getpid()) or 0,
        boot=boot_id(),
        pid_space=_pid_space(),
        node=environ.get("SLURMD_NODENAME"),
        cluster=environ.get("SLURM_CLUSTER_NAME"),
        job=array or environ.get("SLURM_JOB_ID"),
        task=task if array else None,
        restart=whole_number(environ, "SLURM_RESTART_COUNT") or 0,
        seat=whole_number(environ, SEAT),
    )


def lives_here(owner: Owner) -> bool | None:
    """Return whether the owner's process lives; None if it is on another machine, or in another container.

    The start time is compared, too: the pid may have been given to another process.
    """
    if owner.host != os.uname().nodename:
        return None
    if owner.boot != boot_id():
        return False
    return process_start(owner.pid) == owner.start if owner.pid_space == _pid_space() else None


def process_start(pid: int) -> int | None:
    """Return the start time of a running process, in clock ticks since boot; None if it is gone, or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[_START_FIELD])


def children_of(pid: int) -> Iterator[int]:
    """Yield the ids of a process's children, of all its threads."""
    with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with (
                suppress(FileNotFoundError, ProcessLookupError),
                open(f"/proc/{pid}/task/{thread}/children", "rb") as file,
            ):
                yield from map(int, file.read().split())


def _pid_space() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""  # a kernel without pid namespaces has one only


def boot_id() -> str:
    """Return the kernel's random id of this boot; empty where there is no such file."""
    try:
        with open(_BOOT_ID, encoding="utf-8") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""
