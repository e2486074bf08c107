"""How jobs ended that did not complete, every incarnation of them: what only Slurm's accounting keeps."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from slurmsweep.backends.base import JobRestarts
from slurmsweep.backends.slurm.commands import call, first_line, installed
from slurmsweep.backends.slurm.jobstates import base_word, meaning

if TYPE_CHECKING:
    from collections.abc import Collection


def count_incarnations(jobs: Collection[str]) -> JobRestarts:
    """One sacct call about arrays or plain jobs by id. Accounting that is off or silent is an answer."""
    if not jobs or not installed("sacct"):
        return JobRestarts()
    done = call("sacct", "-X", "-D", "-n", "-P", "-j", ",".join(sorted(jobs)), "-o", "JobID,State")
    if done.returncode == 0:
        return JobRestarts(parse_incarnations(done.stdout), "used")
    return JobRestarts(accounting="off" if "disabled" in done.stderr else first_line(done.stderr) or "silent")


def parse_incarnations(text: str) -> dict[str, int]:
    """Lines of ``sacct -X -D -P`` such as ``19_7|NODE_FAIL``."""
    words = [base_word(line.rpartition("|")[2]) for line in text.splitlines() if "|" in line]
    return dict(Counter(word for word in words if word != "COMPLETED" and not meaning(word).alive).most_common())
