"""Change what waits in Slurm while a sweep runs: width, time, partition, priority ..., one scontrol call an array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slurmsweep.errors import UsageError
from slurmsweep.slurm import changes, queue
from slurmsweep.slurm.resources import merge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slurmsweep.slurm.queue import TaskRef, TaskReport
    from slurmsweep.state.store import SweepStore

#: What can be changed on elements that run; all else is settled when they start.
_ON_RUNNING = ("time",)


@dataclass(frozen=True)
class ArrayChange:
    """What became of one array.

    Attributes:
        job: its id.
        waiting: elements that waited and were to be changed.
        running: elements that ran and were to be changed.
        problems: what Slurm has against it, in words; empty where it did as it was told.
    """

    job: str
    waiting: int
    running: int
    problems: tuple[str, ...]


def change_waiting(
    store: SweepStore, options: Mapping[str, str], width: int | None, *, running: bool = False
) -> list[ArrayChange]:
    """Change the elements that wait, of each array of the sweep; empty where none waits.

    Args:
        store: of the sweep.
        options: sbatch options by name.
        width: elements of an array at a time; 0 for no limit, None to leave it.
        running: change the time limit of those that run, too.

    Raises:
        UsageError: an option is none, is fixed once a job is submitted, or nothing is to be changed.
        SchedulerUnavailableError: Slurm could not be asked.
    """
    checked = merge({}, {}, options)
    words = changes.assignments(checked, width)
    if not words:
        raise UsageError("say what to change, such as --width 32 or --time 45")
    late = changes.assignments({name: checked[name] for name in _ON_RUNNING if name in checked}, None)
    if running and not late:
        raise UsageError("--running changes the time limit of trials that run: give --time too")
    done = []
    for job, elements in _by_array(store).items():
        waiting = [ref.task for ref, report in elements.items() if report.waits and ref.task is not None]
        busy = [ref.task for ref, report in elements.items() if not report.waits and ref.task is not None]
        problems = changes.change(job, waiting, words) if waiting else []
        if running and busy:
            problems += changes.change(job, busy, late)
        if waiting or (running and busy):
            done.append(ArrayChange(job, len(waiting), len(busy) if running else 0, tuple(problems)))
    return done


def _by_array(store: SweepStore) -> dict[str, dict[TaskRef, TaskReport]]:
    """The live elements of the sweep's arrays."""
    jobs = {submission.job for submission in store.fold().submissions.values() if submission.job}
    arrays: dict[str, dict[TaskRef, TaskReport]] = {}
    for ref, report in (queue.ask(jobs).tasks if jobs else {}).items():
        if report.alive:
            arrays.setdefault(ref.job, {})[ref] = report
    return arrays
