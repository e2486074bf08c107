"""Which attempt each element of an array runs, as text for a batch script: ``0-11,17,3:2`` (trial, or trial:attempt).

Arrays whose elements differ (in the time they may take, say) name their trials; in all others an element takes the next
one there is.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING

from slurmsweep.errors import UsageError
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

#: In the batch script of such an array.
VARIABLE = "SLURMSWEEP_SLOTS"

#: Which agent this is, from 1 on, and of how many, where one job runs several side by side. A trial sees the first
#: from 0 on (:func:`place`).
SEAT, AGENTS = "SLURMSWEEP_SEAT", "SLURMSWEEP_AGENTS"

#: Trials that such an array is for, where they are fewer than it has seats.
TRIALS = "SLURMSWEEP_ARRAY_TRIALS"

#: Set for agents of jobs whose ids say nothing of the submission that made them: its name.
SUBMISSION = "SLURMSWEEP_SUBMISSION"

#: Set for agents of the local backend, which may run inside a job of the user's own: the place of their trial, from 0
#: on, among those that run at a time.
LOCAL = "SLURMSWEEP_LOCAL"

#: Variables of jobs of AWS: ``agents/place.py`` says what they mean. Those of EC2 are set by ``slurmsweep listen`` for
#: its agents: which machine they run on, and where.
BATCH_JOB, BATCH_INDEX, BATCH_SIZE = "AWS_BATCH_JOB_ID", "AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE"
SAGEMAKER_JOB, ECS_URI = "TRAINING_JOB_NAME", "ECS_CONTAINER_METADATA_URI_V4"
EC2_INSTANCE, EC2_REGION = "SLURMSWEEP_EC2_INSTANCE", "SLURMSWEEP_EC2_REGION"

#: Elements of one such array: the text is one variable, which the system limits to 128 KiB (execve(2)).
MAX_SLOTS = 5000


class NoSlotError(UsageError):
    """A seat of a packed job for which no attempt was left."""


#: Python reads digits of other scripts too, and refuses numbers of thousands of digits; neither is meant here.
_WHOLE = re.compile(r"[0-9]{1,18}")
_PART = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?(?::([0-9]{1,18}))?")

#: Who sets variables that begin so.
_SETTERS = {"SLURM_": "Slurm", "AWS_BATCH_": "AWS Batch"}

_IN_SCRIPT = re.compile(rf"^export {VARIABLE}=(\S+)$", re.MULTILINE)


def is_whole_number(text: str) -> bool:
    """Return whether a text is a whole number that is not negative, in plain digits."""
    return _WHOLE.fullmatch(text) is not None


def whole_number(environ: Mapping[str, str], name: str) -> int | None:
    """Return the number in a variable of a scheduler, a job template or a user; None where it is not set, or empty.

    Raises:
        UsageError: it is not a whole number.
    """
    text = environ.get(name)
    if not text:
        return None
    if not is_whole_number(text):
        setter = next((words for start, words in _SETTERS.items() if name.startswith(start)), "")
        origin = f"{setter} sets it to a whole number" if setter else "a whole number is needed"
        raise UsageError(f"{name}={text[:40]!r}: {origin}, such as 3; give one, or unset the variable")
    return int(text)


def ranges(numbers: Iterable[int]) -> list[str]:
    """Return ``["0-3", "5"]`` for 0, 1, 2, 3 and 5; numbers that do not ascend by one begin a new range."""
    runs = (list(run) for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]))
    return [str(run[0][1]) if len(run) == 1 else f"{run[0][1]}-{run[-1][1]}" for run in runs]


def to_text(attempt_ids: Sequence[AttemptId]) -> str:
    """Write attempts as text, runs of consecutive trials as ranges."""
    parts: list[str] = []
    for attempt, same in groupby(attempt_ids, key=lambda attempt_id: attempt_id.attempt):
        suffix = "" if attempt == 1 else f":{attempt}"
        parts += [part + suffix for part in ranges(attempt_id.trial for attempt_id in same)]
    return ",".join(parts)


def assigned(environ: Mapping[str, str], index: int | None) -> AttemptId | None:
    """Return the attempt that this array element, or seat of it, is to run; None where it takes the next one.

    Args:
        environ: of the job.
        index: of the element, from 0 on; None outside arrays.

    Raises:
        UsageError: a variable is damaged, or names fewer attempts than the array has elements.
        NoSlotError: this seat is one too many.
    """
    text = environ.get(VARIABLE)
    if index is None:
        return None
    agents, seat = _seat(environ)
    wanted = index * agents + seat - 1
    if seat > 1 and wanted >= (whole_number(environ, TRIALS) or wanted + 1):
        raise NoSlotError(f"this array has more seats than its {environ[TRIALS]} trials")
    if not text:
        return None
    for position, attempt_id in enumerate(attempts_in(text)):
        if position == wanted:
            return attempt_id
    if seat > 1:
        raise NoSlotError(f"this array has more seats than trials: {text}")
    raise UsageError(f"{VARIABLE} names no trial for element {index} of this array: {text}")


def slots_of(script: str) -> list[AttemptId]:
    """Return the attempt that a batch script names for each element of its array; empty where it names none."""
    found = _IN_SCRIPT.search(script)
    return list(attempts_in(found[1])) if found else []


def _seat(environ: Mapping[str, str]) -> tuple[int, int]:
    """Return how many agents the job runs side by side, and which of them this is, from 1 on."""
    seat = environ.get(SEAT)
    if not seat:
        return 1, 1
    agents = environ.get(AGENTS, "")
    if not is_whole_number(agents) or not is_whole_number(seat) or not 1 <= int(seat) <= int(agents):
        raise UsageError(f"{SEAT}={seat} is not one of {AGENTS}={agents}: both are set by the job template")
    return int(agents), int(seat)


def place(environ: Mapping[str, str]) -> str:
    """Return the place, from 0 on, that an agent's trial has among those beside it; empty where none is beside it."""
    if LOCAL in environ:
        return environ[LOCAL]
    return str(_seat(environ)[1] - 1) if environ.get(SEAT) else ""


def attempts_in(text: str) -> Iterator[AttemptId]:
    """Yield the attempts that such a text names, in order. Raises UsageError."""
    for part in text.split(","):
        found = _PART.fullmatch(part)
        if found is None:
            raise UsageError(f"{VARIABLE}: {part!r} is not a trial, 0-11, or trial:attempt")
        first, last, attempt = int(found[1]), int(found[2] or found[1]), int(found[3] or 1)
        for trial in range(first, last + 1):
            yield AttemptId(trial, attempt)
