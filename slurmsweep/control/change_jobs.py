"""Change what waits in Slurm while a sweep runs: width, time, partition, priority ..., one scontrol call an array."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from slurmsweep.backends.slurm import changes
from slurmsweep.backends.slurm.resources import merge, normal_name
from slurmsweep.control.array_tasks import live_elements
from slurmsweep.errors import UsageError
from slurmsweep.state.supervisor_files import SupervisorFiles

if TYPE_CHECKING:
    from collections.abc import Mapping

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

    A sweep that mends itself submits with the new values from now on.

    Args:
        store: of the sweep.
        options: sbatch options by name.
        width: elements of an array at a time; 0 for no limit, None to leave it.
        running: change the time limit of those that run, too.

    Raises:
        UsageError: an option is none, is fixed once a job is submitted, or nothing is to be changed.
        SchedulerUnavailableError: Slurm could not be asked.
        StateError: what a sweep that mends itself was asked for could not be changed.
    """
    checked = merge({}, {}, options)
    words = changes.assignments(checked, width)
    if not words:
        raise UsageError("say what to change, such as --width 32 or --time 45")
    late = changes.assignments({name: checked[name] for name in _ON_RUNNING if name in checked}, None)
    if running and not late:
        raise UsageError("--running changes the time limit of trials that run: give --time too")
    _remember(store, options, width)
    elements, done = live_elements(store.replay()), []
    for job in elements.arrays:
        waiting, busy = elements.waiting_in(job), elements.running_in(job) if running else []
        problems = changes.change(job, waiting, words) if waiting else []
        problems += changes.change(job, busy, late) if busy else []
        if waiting or busy:
            done.append(ArrayChange(job, len(waiting), len(busy), tuple(problems)))
    return done


def _remember(store: SweepStore, options: Mapping[str, str], width: int | None) -> None:
    """For what the supervisor submits later."""
    files = SupervisorFiles(store.layout, store.access)
    settings = files.settings()
    if settings is None:
        return
    named = {normal_name(name): value for name, value in (*settings.options.items(), *options.items())}
    files.change(replace(settings, options=named, width=settings.width if width is None else width or None))
