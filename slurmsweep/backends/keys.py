"""How a job is named to a backend: by its key, which is its id and, where that is not this one, its cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.state.owner import service_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slurmsweep.state.owner import Owner


def is_machine(cluster: str | None) -> bool:
    """Return whether a recorded cluster is a region in which agents run on machines that no job started."""
    return service_of(cluster) == "ec2"


def is_elsewhere(cluster: str | None, here: str) -> bool:
    """Return whether a recorded cluster is another one than this; an unknown name counts as this one's."""
    return bool(service_of(cluster)) or bool(cluster and here and cluster.lower() != here.lower())


def job_key(job: str, cluster: str | None, here: str) -> str:
    """Return how a job (array) is named to a backend: its id, and the cluster where that is another: ``5000@other``.

    That of a service is always named, as it was written: ``1c7f...@batch:eu-west-1``.
    """
    if not is_elsewhere(cluster, here):
        return job
    return key_on(job, cluster or "" if service_of(cluster) else (cluster or "").lower())


def key_on(job: str, cluster: str) -> str:
    """Return the key of a job on another cluster, or on this one (empty)."""
    return f"{job}@{cluster}" if cluster else job


def parts_of(key: str) -> tuple[str, str]:
    """Return id and cluster of a :func:`job_key`; the cluster is empty where it is this one."""
    job, _, cluster = key.partition("@")
    return job, cluster


def service_in(key: str) -> str:
    """Return the word of the service that a job's key names, such as ``batch``; empty for Slurm."""
    return service_of(parts_of(key)[1])


def by_cluster(keys: Iterable[str]) -> dict[str, list[str]]:
    """Return the ids in job keys, each once and in order, by cluster; this cluster is the empty word."""
    found: dict[str, list[str]] = {}
    for job, cluster in sorted(map(parts_of, set(keys))):
        found.setdefault(cluster, []).append(job)
    return found


def by_id(key: str) -> tuple[str, int, str]:
    """Return what sorts job keys: by cluster, this one first, then by number; ids of services are no numbers."""
    job, cluster = parts_of(key)
    return cluster, int(job) if job.isdecimal() else 0, job


class JobRef(NamedTuple):
    """One job: an element of an array by the array's key (:func:`job_key`) and its index, or a plain job (None)."""

    job: str
    task: int | None = None

    @classmethod
    def of(cls, owner: Owner, here: str) -> JobRef:
        """Return the job of an agent, seen from cluster ``here``."""
        return cls(job_key(owner.job or "", owner.cluster, here), owner.task)

    def on(self, cluster: str) -> JobRef:
        """Return the job of the same number on another cluster, or on this one (empty)."""
        return JobRef(key_on(self.job, cluster), self.task)

    def __str__(self) -> str:
        """Return ``123_4`` or ``123``, as Slurm writes it; on another cluster ``123_4@other``."""
        if self.task is None:
            return self.job
        job, cluster = parts_of(self.job)
        return f"{job}_{self.task}" + (f"@{cluster}" if cluster else "")
