"""How starts of jobs ended that did not complete: only Slurm's accounting keeps those of requeued jobs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from slurmsweep.backends.base import JobRestarts
from slurmsweep.backends.slurm.commands import sacct
from slurmsweep.backends.slurm.jobstates import base_word, meaning

if TYPE_CHECKING:
    from collections.abc import Collection


def count_restarts(jobs: Collection[str]) -> JobRestarts:
    """Return how starts of arrays or plain jobs ended that did not complete, by one sacct call. Never raises."""
    if not jobs:
        return JobRestarts()
    text, accounting = sacct("-X", "-D", "-j", ",".join(sorted(jobs)), "-o", "JobID,State")
    return JobRestarts(parse_restarts(text), accounting)


def parse_restarts(text: str) -> dict[str, int]:
    """Return the number of starts by word, from lines of ``sacct -X -D -P`` such as ``19_7|NODE_FAIL``."""
    words = [base_word(line.rpartition("|")[2]) for line in text.splitlines() if "|" in line]
    return dict(Counter(word for word in words if word != "COMPLETED" and not meaning(word).alive).most_common())
