"""Which attempt each element of an array runs, as text for a batch script: ``0-11,17,3:2`` (trial, or trial:attempt).

Arrays whose elements differ (in the time they may take, say) name their trials; in all others an element takes the next
one there is.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING

from slurmsweep.errors import UsageError
from slurmsweep.state.head import Slot

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: In the batch script of such an array.
VARIABLE = "SLURMSWEEP_SLOTS"

#: Elements of one such array: the text is one variable, which the system limits to 128 KiB (execve(2)).
MAX_SLOTS = 5000

_PART = re.compile(r"(\d+)(?:-(\d+))?(?::(\d+))?")
_IN_SCRIPT = re.compile(rf"^export {VARIABLE}=(\S+)$", re.MULTILINE)


def to_text(slots: Sequence[Slot]) -> str:
    """Runs of consecutive trials are written as ranges."""
    runs = groupby(enumerate(slots), key=lambda pair: (pair[1].trial - pair[0], pair[1].attempt))
    return ",".join(_run([slot for _, slot in run]) for _, run in runs)


def assigned(environ: Mapping[str, str]) -> Slot | None:
    """The attempt that this array element is to run; None where it takes the next one.

    Raises:
        UsageError: the variable is damaged, or names fewer attempts than the array has elements.
    """
    text, index = environ.get(VARIABLE), environ.get("SLURM_ARRAY_TASK_ID")
    if not text or not index:
        return None
    for position, slot in enumerate(_slots(text)):
        if position == int(index):
            return slot
    raise UsageError(f"{VARIABLE} names no trial for element {index} of this array: {text}")


def slots_of(script: str) -> list[Slot]:
    """What a batch script as submitted names for each element of its array; empty where it names none."""
    found = _IN_SCRIPT.search(script)
    return list(_slots(found[1])) if found else []


def _run(slots: Sequence[Slot]) -> str:
    first, last = slots[0], slots[-1]
    trials = str(first.trial) if len(slots) == 1 else f"{first.trial}-{last.trial}"
    return trials if first.attempt == 1 else f"{trials}:{first.attempt}"


def _slots(text: str) -> Iterator[Slot]:
    for part in text.split(","):
        found = _PART.fullmatch(part)
        if found is None:
            raise UsageError(f"{VARIABLE}: {part!r} is not a trial, 0-11, or trial:attempt")
        first, last, attempt = int(found[1]), int(found[2] or found[1]), int(found[3] or 1)
        for trial in range(first, last + 1):
            yield Slot(trial, attempt)
