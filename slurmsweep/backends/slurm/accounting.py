"""What Slurm's accounting knows of jobs: what was asked for and what was used. One sacct call for all of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from slurmsweep.backends.base import Account, JobRef
from slurmsweep.backends.slurm.commands import call, first_line, installed
from slurmsweep.backends.slurm.resources import mebibytes

if TYPE_CHECKING:
    from collections.abc import Collection

_FIELDS = "JobID,State,TimelimitRaw,ReqMem,AllocCPUS,ElapsedRaw,MaxRSS,TotalCPU"

#: ``[days-[hours:]]minutes:seconds`` (sacct(1), TotalCPU)
_CPU_TIME = re.compile(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+(?:\.\d+)?)")


def accounts(jobs: Collection[str]) -> tuple[dict[JobRef, Account], str]:
    """What sacct knows of arrays or plain jobs by id, and what became of it: ``used``, ``off``, or its own words.

    Accounting that is off or does not answer is an answer: nothing is known from it.
    """
    if not jobs or not installed("sacct"):
        return {}, "off" if jobs else "not needed"
    done = call("sacct", "-n", "-P", "--units=M", "-j", ",".join(sorted(jobs)), "-o", _FIELDS)
    if done.returncode == 0:
        return parse_accounts(done.stdout), "used"
    return {}, "off" if "disabled" in done.stderr else first_line(done.stderr) or f"exit code {done.returncode}"


def parse_accounts(text: str) -> dict[JobRef, Account]:
    """Lines of jobs, each followed by those of its steps, which carry the memory.

    ``19_7|COMPLETED|5|512M|1|12||00:03.456`` and ``19_7.batch|COMPLETED|||1|12|35.20M|00:03.456``. Elements that never
    started (``19_[3-5]``) are left out.
    """
    found: dict[JobRef, Account] = {}
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) < 8:
            continue
        job, _, step = fields[0].partition(".")
        ref = _ref(job)
        if ref is None:
            continue
        if step:
            if ref in found:
                found[ref] = _with_step(found[ref], fields[6])
        else:
            found[ref] = _account(fields)
    return found


def _account(fields: list[str]) -> Account:
    limit, memory, cpus, elapsed, rss, cpu = fields[2:8]
    count = int(cpus) if cpus.isdecimal() else 1
    return Account(
        minutes=float(limit) if limit.isdecimal() else None,
        mem=_requested(memory, count),
        cpus=count,
        elapsed=float(elapsed) if elapsed.isdecimal() else 0.0,
        max_rss=mebibytes(rss),
        cpu_seconds=_seconds(cpu),
    )


def _with_step(account: Account, rss: str) -> Account:
    size = mebibytes(rss)
    return account if size is None else account._replace(max_rss=max(size, account.max_rss or 0.0))


def _requested(text: str, cpus: int) -> float | None:
    """``512M``; before 21.08 ``64Mc`` for each CPU and ``512Mn`` for each node."""
    size = mebibytes(text.rstrip("cn"))
    return size * cpus if size is not None and text.endswith("c") else size


def _seconds(text: str) -> float | None:
    found = _CPU_TIME.fullmatch(text.strip())
    if not found:
        return None
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _ref(job: str) -> JobRef | None:
    name, underscore, index = job.partition("_")
    if not underscore:
        return JobRef(name)
    return JobRef(name, int(index)) if index.isdecimal() else None
