"""Slurm's limits on what one submission may hold."""

from __future__ import annotations

import re
from functools import lru_cache

from slurmsweep.slurm.commands import answer

#: Slurm's own default (slurm.conf(5), MaxArraySize): indexes 0 to 1000.
_DEFAULT_MAX_ARRAY_SIZE = 1001


@lru_cache(maxsize=1)
def max_array_size() -> int:
    """How many elements an array may have here: indexes 0 to that, less one. Asked once per process.

    Raises:
        SchedulerUnavailableError: the controller did not answer.
    """
    return parse_max_array_size(answer("scontrol", "show", "config"))


def parse_max_array_size(text: str) -> int:
    """From a line such as ``MaxArraySize            = 10001``."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else _DEFAULT_MAX_ARRAY_SIZE


def split(count: int, size: int) -> list[int]:
    """Sizes of the arrays that hold ``count`` jobs, none larger than ``size``, as few as possible."""
    full, rest = divmod(count, size)
    return [size] * full + ([rest] if rest else [])
