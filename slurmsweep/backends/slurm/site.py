"""Describe a cluster: its version, whether it answers and keeps accounts, and its limits."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from slurmsweep.backends.slurm.commands import answer, call, first_line, installed
from slurmsweep.backends.slurm.limits import parse_max_array_size
from slurmsweep.errors import SchedulerUnavailableError


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
    """

    missing: tuple[str, ...]
    version: str
    silent: str
    max_array_size: int
    max_job_count: int | None
    accounting: str
    submit_limit: int | None


def look_around() -> Site:
    """Ask the cluster about itself: one scontrol, one sacct and one sacctmgr call. Never raises."""
    missing = tuple(name for name in ("sbatch", "squeue", "scontrol", "scancel", "sacct") if not installed(name))
    try:
        config, silent = answer("scontrol", "show", "config"), ""
    except SchedulerUnavailableError as error:
        config, silent = "", str(error)
    count = parse_setting(config, "MaxJobCount")
    return Site(
        missing=missing,
        version=parse_setting(config, "SLURM_VERSION") or "",
        silent=silent,
        max_array_size=parse_max_array_size(config),
        max_job_count=int(count) if count and count.isdecimal() else None,
        accounting=_accounting(silent),
        submit_limit=None if silent else _submit_limit(),
    )


def parse_setting(config: str, name: str) -> str | None:
    """Return a value of ``scontrol show config``; None where it is not there, or not set."""
    found = re.search(rf"^{name}\s*=\s*(.*?)\s*$", config, re.MULTILINE)
    return found[1] if found and found[1] not in ("(null)", "") else None


def parse_submit_limits(text: str) -> int | None:
    """Return the smallest MaxSubmitJobs of a user's associations, from ``sacctmgr -nP``; None without any."""
    numbers = [int(line.strip("|")) for line in text.splitlines() if line.strip("|").isdecimal()]
    return min(numbers, default=None)


def _accounting(silent: str) -> str:
    if silent or not installed("sacct"):
        return "not asked: " + (silent or "there is no sacct on this machine")
    done = call("sacct", "-X", "-n", "-P", "-S", "now-1minutes", "-o", "JobID")
    return "on" if done.returncode == 0 else first_line(done.stderr)


def _submit_limit() -> int | None:
    if not installed("sacctmgr"):
        return None
    user = f"user={os.environ.get('USER') or os.geteuid()}"
    done = call("sacctmgr", "-n", "-P", "show", "assoc", user, "format=MaxSubmitJobs")
    return parse_submit_limits(done.stdout) if done.returncode == 0 else None
