"""The GPUs of this machine that a command names (``--gpus 0-3``), and which of them each place at it gets."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from slurmsweep.agents.gpus import share
from slurmsweep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: ``0``, ``0-3``, ``0.1`` (a tile of an Intel GPU), and the UUIDs of NVIDIA and AMD.
_PART = re.compile(r"([0-9]{1,3})(?:-([0-9]{1,3}))?|[0-9]{1,3}\.[0-9]{1,2}|(?:GPU|MIG)-[0-9A-Za-z/-]+", re.ASCII)


def is_list(text: str) -> bool:
    """Return whether a text names GPUs of a machine; a number alone may be one, or how many there are to be."""
    return not text.isdecimal() and all(_PART.fullmatch(part) for part in text.split(","))


def read(text: str) -> list[str]:
    """Return the GPUs that a text names, in its order. Raises UsageError."""
    gpus: list[str] = []
    for part in text.split(","):
        found = _PART.fullmatch(part.strip())
        numbers = range(int(found[1]), int(found[2] or found[1]) + 1) if found and found[1] else ()
        if found is None or (found[1] and not numbers):
            raise UsageError(
                f"--gpus {text}: {part!r} names no GPU of this machine; write numbers and ranges (0-3, or 0,2,3), or "
                "UUIDs (GPU-...)"
            )
        gpus += map(str, numbers) if numbers else [found[0]]
    return gpus


def deal(text: str, places: int) -> list[Sequence[str]]:
    """Return the GPUs of each place, as many each, neighbours together.

    Raises:
        UsageError: the text names no GPUs; they cannot be dealt out evenly; or one place would get a GPU twice.
    """
    gpus = read(text)
    if len(gpus) < places:
        named = ",".join(gpus[place * len(gpus) // places] for place in range(places))
        raise UsageError(
            f"--gpus {text}: {places} trials at a time need a GPU each: use --jobs {len(gpus)}; or name GPUs more than "
            f"once, for trials that may share them: --gpus {named}"
        )
    if len(gpus) % places:
        fitting = max(jobs for jobs in range(1, places) if len(gpus) % jobs == 0)
        raise UsageError(
            f"--gpus {text}: {len(gpus)} GPUs cannot be dealt out evenly to {places} trials at a time: use "
            f"--jobs {fitting}, or name {len(gpus) - len(gpus) % places} GPUs"
        )
    dealt = [share(gpus, place, places) for place in range(places)]
    twice = next((gpu for own in dealt for gpu, times in Counter(own).items() if times > 1), None)
    if twice is not None:
        raise UsageError(f"--gpus {text}: one trial would get GPU {twice} twice; each has {len(dealt[0])} neighbours")
    return dealt


def in_words(dealt: Sequence[Sequence[str]]) -> str:
    """Return which GPUs the trials that run at a time have, for people."""
    shared = sorted(gpu for gpu, places in Counter(gpu for own in dealt for gpu in own).items() if places > 1)
    words = " | ".join(",".join(own) for own in dealt)
    at_a_time = f"the {len(dealt)} trials at a time have one part each" if len(dealt) > 1 else "each trial has all"
    return f"GPUs {words}: {at_a_time}" + (f"; trials share {', '.join(shared)}" if shared else "")
