"""Read from Slurm's accounting what jobs asked for, what they used, and how starts ended that did not complete."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from slurmsweep.backends.base import Account, JobRestarts
from slurmsweep.backends.keys import JobRef, by_cluster
from slurmsweep.backends.slurm.commands import sacct_of
from slurmsweep.backends.slurm.jobstates import base_word, is_alive
from slurmsweep.backends.slurm.resources import mebibytes

if TYPE_CHECKING:
    from collections.abc import Collection

_FIELDS = "JobID,State,TimelimitRaw,ReqMem,AllocCPUS,ElapsedRaw,MaxRSS,TotalCPU"

#: ``[days-[hours:]]minutes:seconds`` (sacct(1), TotalCPU)
_CPU_TIME = re.compile(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+(?:\.\d+)?)")


def accounts(jobs: Collection[str]) -> tuple[dict[JobRef, Account], str]:
    """Return what accounting knows of arrays or plain jobs by id, and what became of the question. Never raises."""
    if not jobs:
        return {}, "not needed"
    texts, said = _ask(jobs, ("--units=M",), _FIELDS)
    return {ref.on(cluster): one for cluster, text in texts for ref, one in parse_accounts(text).items()}, said


def count_restarts(jobs: Collection[str]) -> JobRestarts:
    """Return how starts of arrays or plain jobs ended that did not complete: requeued ones only accounting keeps.

    One sacct call a cluster and a thousand jobs. Never raises: where sacct does not answer, the result says so.
    """
    if not jobs:
        return JobRestarts()
    texts, said = _ask(jobs, ("-X", "-D"), "JobID,State")
    return JobRestarts(parse_restarts("".join(text for _, text in texts)), said)


def _ask(jobs: Collection[str], flags: tuple[str, ...], fields: str) -> tuple[list[tuple[str, str]], str]:
    """Return each cluster with what sacct says of its jobs; and what became of the questions, errors before others."""
    asked = by_cluster(jobs).items()
    answers = [(cluster, *sacct_of(ids, cluster, flags, fields)) for cluster, ids in asked]
    said = [one for _, _, one in answers]
    return [answer[:2] for answer in answers], next((one for one in said if one not in ("used", "off")), said[0])


def parse_restarts(text: str) -> dict[str, int]:
    """Return the number of starts by word, from lines of ``sacct -X -D -P`` such as ``19_7|NODE_FAIL``."""
    words = [base_word(line.rpartition("|")[2]) for line in text.splitlines() if "|" in line]
    return dict(Counter(word for word in words if word != "COMPLETED" and not is_alive(word)).most_common())


def parse_accounts(text: str) -> dict[JobRef, Account]:
    """Return accounts from the lines of jobs, each followed by those of its steps, which carry the memory.

    ``19_7|COMPLETED|5|512M|1|12||00:03.456`` and ``19_7.batch|COMPLETED|||1|12|35.20M|00:03.456``. Elements that never
    started (``19_[3-5]``) are left out.
    """
    found: dict[JobRef, Account] = {}
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) < 8:
            continue
        job, _, step = fields[0].partition(".")
        name, underscore, index = job.partition("_")
        ref = JobRef(name, int(index)) if index.isdecimal() else JobRef(name)
        if not step and bool(underscore) == index.isdecimal():
            found[ref] = _account(fields)
        elif ref in found and (size := mebibytes(fields[6])) is not None:
            found[ref] = found[ref]._replace(max_rss=max(size, found[ref].max_rss or 0.0))
    return found


def _account(fields: list[str]) -> Account:
    limit, memory, cpus, elapsed, rss, cpu = fields[2:8]
    count = int(cpus) if cpus.isdecimal() else 1
    asked = mebibytes(memory.rstrip("cn"))
    # in all, or before 21.08 ``64Mc`` for each CPU and ``512Mn`` for each node
    mem = asked * count if asked is not None and memory.endswith("c") else asked
    return Account(
        minutes=float(limit) if limit.isdecimal() else None,
        mem=mem,
        cpus=count,
        elapsed=float(elapsed) if elapsed.isdecimal() else 0.0,
        max_rss=mebibytes(rss),
        cpu_seconds=_seconds(cpu),
    )


def _seconds(text: str) -> float | None:
    found = _CPU_TIME.fullmatch(text.strip())
    if not found:
        return None
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
