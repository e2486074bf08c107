"""Identify this process as the owner of claims: its job, and which processes of this host live."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from slurmsweep.errors import UsageError
from slurmsweep.state.assignment import (
    BATCH_INDEX,
    BATCH_JOB,
    BATCH_SIZE,
    EC2_INSTANCE,
    EC2_REGION,
    ECS_URI,
    SAGEMAKER_JOB,
    SEAT,
    whole_number,
)
from slurmsweep.state.owner import JobPlace, Owner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Field of /proc/<pid>/stat after the command's closing bracket: start time in clock ticks since boot (proc(5)).
_START_FIELD = 19
_BOOT_ID = "/proc/sys/kernel/random/boot_id"

#: One of these is set in every job of a service.
_OF_SERVICES = (BATCH_JOB, BATCH_INDEX, SAGEMAKER_JOB, EC2_INSTANCE, EC2_REGION, ECS_URI)

#: Slurm's ids: of the array, of the job.
_SLURM_JOBS = "SLURM_ARRAY_JOB_ID", "SLURM_JOB_ID"

#: Index and size of an array: of Slurm, of AWS Batch.
_SLURM_ARRAY = "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"
_BATCH_ARRAY = BATCH_INDEX, BATCH_SIZE


def this_process(environ: Mapping[str, str], place: JobPlace | None = None) -> Owner:
    """Return this process as an owner; ``place`` is its job, where that was found out before.

    Raises as :func:`place_of`.
    """
    place = place or place_of(environ)
    return Owner(
        host=os.uname().nodename,
        pid=os.getpid(),
        start=process_start(os.getpid()) or 0,
        boot=boot_id(),
        pid_space=_pid_space(),
        node=place.node,
        cluster=place.cluster,
        job=place.job,
        task=place.task,
        restart=place.restart or 0,
        seat=whole_number(environ, SEAT),
        submission=place.submission,
    )


def place_of(environ: Mapping[str, str]) -> JobPlace:
    """Return the job in which this process runs: of Slurm, of a service of AWS, or none.

    On a node of Slurm's, which may be a machine of AWS (ParallelCluster), the job is Slurm's. Agents of the local
    backend count as of the job, of whichever kind, in which their ``slurmsweep run`` runs.

    In a job of ECS the machine is asked which task it is, and so in one of AWS Batch whose region no variable names;
    in a training job of SageMaker a file is read. Nothing else is asked, and outside jobs of AWS nothing at all.

    Raises:
        UsageError: a variable is not what Slurm or the service sets, or variables of both are set at once.
        SchedulerUnavailableError: the machine did not say which task of ECS this is.
    """
    in_slurm, told = _place_in_slurm(environ), _told_by_service(environ)
    if not told or (in_slurm.job and in_slurm.node):
        return in_slurm
    if in_slurm.job:
        raise UsageError(
            f"job {in_slurm.job[:40]!r} of Slurm and {told} are both in the environment, and this is no node of "
            "Slurm's (SLURMD_NODENAME is not set): unset the variables that are not of this job"
        )
    from slurmsweep.agents import metadata, place

    return place.in_service(
        environ, task=lambda: metadata.ecs_task(environ), machines=lambda: metadata.sagemaker_machines(environ)
    )


def array_of(environ: Mapping[str, str]) -> tuple[int | None, int | None]:
    """Return of which element of an array this process is, and the array's size; None for what is not told.

    For agents that record no owner and need not know more of their job. Raises UsageError where one is no number.
    """
    index, size = _BATCH_ARRAY if environ.get(_BATCH_ARRAY[0]) and not environ.get(_SLURM_ARRAY[0]) else _SLURM_ARRAY
    return whole_number(environ, index), whole_number(environ, size)


def stands_by(environ: Mapping[str, str]) -> str:
    """Return why this process is to run nothing: another machine of its job does; else empty. Raises UsageError."""
    if not _told_by_service(environ):
        return ""
    from slurmsweep.agents import metadata, place

    return place.stands_by(environ, lambda: metadata.sagemaker_machines(environ))


def _told_by_service(environ: Mapping[str, str]) -> str:
    """Return the variable that tells of a job of AWS; empty where there is none."""
    return next((name for name in _OF_SERVICES if environ.get(name)), "")


def _place_in_slurm(environ: Mapping[str, str]) -> JobPlace:
    """Return the job of Slurm, or none (sbatch(1), output environment variables)."""
    array, plain = ((environ[name] if whole_number(environ, name) is not None else None) for name in _SLURM_JOBS)
    job, index = array or plain, whole_number(environ, _SLURM_ARRAY[0])
    return JobPlace(
        kind="slurm" if job else "local",
        cluster=environ.get("SLURM_CLUSTER_NAME"),
        job=job,
        task=index if array else None,
        element=index,
        tasks=whole_number(environ, _SLURM_ARRAY[1]),
        restart=whole_number(environ, "SLURM_RESTART_COUNT") or 0,
        node=environ.get("SLURMD_NODENAME"),
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
