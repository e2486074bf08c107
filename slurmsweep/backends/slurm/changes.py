"""Change jobs that wait in Slurm: one ``scontrol update`` for some elements of an array, and one for its width."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.backends.keys import parts_of
from slurmsweep.backends.slurm.commands import call, on
from slurmsweep.backends.slurm.refusals import advice
from slurmsweep.backends.slurm.resources import KNOWN, mebibytes
from slurmsweep.errors import SchedulerUnavailableError, UsageError
from slurmsweep.state import assignment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Options of sbatch that scontrol changes afterwards, by its own names (scontrol(1), "SPECIFICATIONS FOR UPDATE").
_NAMES = {
    "account": "Account", "begin": "StartTime", "comment": "Comment", "constraint": "Features",
    "cpus-per-task": "CPUsPerTask", "deadline": "Deadline", "dependency": "Dependency", "exclude": "ExcNodeList",
    "gres": "Gres", "licenses": "Licenses", "mem": "MinMemoryNode", "mem-per-cpu": "MinMemoryCPU", "nice": "Nice",
    "partition": "Partition", "priority": "Priority", "qos": "QOS", "reservation": "ReservationName",
    "switches": "Switches", "time": "TimeLimit", "time-min": "TimeMin", "wckey": "WCKey",
}  # fmt: skip

#: Begins the word for how many elements of an array run at a time.
_WIDTH = "ArrayTaskThrottle="

#: scontrol takes MiB without a unit.
_IN_MEBIBYTES = ("mem", "mem-per-cpu")
#: What scontrol says of elements that started or ended since they were looked at, and of those it changed.
_NOT_WAITING = ("no longer pending", "already finished", "Invalid job id specified")
_CHANGED = "No error"


def assignments(options: Mapping[str, str | bool], width: int | None) -> list[str]:
    """Return ``TimeLimit=45`` and so on for sbatch options by long name, and for a new width (0 for no limit).

    Raises:
        UsageError: an option is fixed once a job is submitted, or a memory is not one.
    """
    words = [f"{_WIDTH}{width}"] if width is not None else []
    for option, value in options.items():
        if option not in _NAMES:
            what = "cannot be changed on jobs that are submitted" if option in KNOWN else "is not an option of sbatch"
            raise UsageError(
                f"--{option} {what}; what can be changed: --width, {', '.join(f'--{name}' for name in sorted(_NAMES))}"
            )
        if option in _IN_MEBIBYTES:
            memory = mebibytes(str(value))
            if memory is None:
                raise UsageError(f"--{option} {value}: write memory as 512M or 4G")
            words.append(f"{_NAMES[option]}={max(1, round(memory))}")
        else:
            words.append(f"{_NAMES[option]}={value}")
    return words


def change(job: str, elements: Iterable[int], words: list[str]) -> list[str]:
    """Change elements of an array; return what Slurm has against it, in words; empty where Slurm did all of it.

    An element that started or ended since it was looked at stays as it is, and that is not a problem. A call that fails
    is one, and leaves the other call, and those for other arrays. Never raises.
    """
    number, cluster = parts_of(job)
    problems = []
    # Slurm (23.11) changes the width on the array alone, and refuses with it all else in the same call
    width = [word for word in words if word.startswith(_WIDTH)]
    rest = [word for word in words if word not in width]
    for target, some in ((number, width), (f"{number}_[{ranges(elements)}]", rest)):
        try:
            done = call("scontrol", *on(cluster), "update", f"jobid={target}", *some) if some else None
        except SchedulerUnavailableError as error:
            problems.append(str(error))
            continue
        if done and done.returncode != 0:
            lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            known = [line for line in lines if any(word in line for word in (_CHANGED, *_NOT_WAITING))]
            problems += [_explained(line) for line in lines if line not in known]
    return problems


def change_job(job: str, words: list[str]) -> bool:
    """Change a plain job that waits; return False where it does not wait any more, or may not be changed."""
    number, cluster = parts_of(job)
    return call("scontrol", *on(cluster), "update", f"jobid={number}", *words).returncode == 0


def ranges(numbers: Iterable[int]) -> str:
    """Return ``0-3,5`` for 0, 1, 2, 3 and 5."""
    return ",".join(assignment.ranges(sorted(set(numbers))))


def _explained(line: str) -> str:
    if "permission denied" in line:
        return f"{line} (more time for what runs, a higher priority and a negative --nice only an operator may give)"
    hint = advice(line)
    return f"{line} ({hint})" if hint else line
