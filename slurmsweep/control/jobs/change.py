"""Change what waits in the scheduler while a sweep runs: width, time, partition, priority ..., one request an array."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from slurmsweep.control.round import granted
from slurmsweep.control.snapshot import look_at_jobs
from slurmsweep.errors import UsageError
from slurmsweep.state.supervisor_files import SupervisorFiles

if TYPE_CHECKING:
    from slurmsweep.backends.base import Options
    from slurmsweep.control.session import Session

#: What can be changed on jobs that run; all else is settled when they start.
_ON_RUNNING = ("time",)


@dataclass(frozen=True)
class ArrayChange:
    """The changes of one array.

    Attributes:
        job: its id.
        waiting: number of elements that waited and were to be changed.
        running: number of elements that ran and were to be changed.
        problems: what the scheduler has against it, in words; empty where it did as it was told.
    """

    job: str
    waiting: int
    running: int
    problems: tuple[str, ...]


def change_waiting(
    session: Session, options: Options, width: int | None, *, running: bool = False
) -> list[ArrayChange]:
    """Change the elements that wait, of each array of the sweep; return nothing where none waits.

    A sweep with a supervisor submits with the new values from now on; not where the scheduler refused them for every
    array, because it would refuse the jobs to come as well.

    Args:
        session: of the sweep.
        options: sbatch options by name.
        width: elements of an array at a time; 0 for no limit, None to leave it.
        running: change the time limit of those that run, too.

    Raises:
        UsageError: an option is none, is fixed once a job is submitted, or nothing is to be changed.
        SchedulerUnavailableError: the scheduler could not be asked.
        StateError: the supervisor's settings could not be changed.
    """
    backend = session.scheduler
    checked = backend.normalized(options)
    words = backend.assignments(checked, width)
    if not words:
        raise UsageError("say what to change, such as --width 32 or --time 45")
    late = backend.assignments({name: checked[name] for name in _ON_RUNNING if name in checked}, None)
    if running and not late:
        raise UsageError("--running changes the time limit of trials that run: give --time too")
    live, done = look_at_jobs(session), []
    granted.record(session, live, all_of_them=True)  # what differs from now on is what this command changes
    for job in live.arrays():
        waiting, busy = live.jobs_in(job, waiting=True), live.jobs_in(job, waiting=False) if running else 0
        problems = backend.change(job, live.tasks_in(job, waiting=True), words) if waiting else []
        problems += backend.change(job, live.tasks_in(job, waiting=False), late) if busy else []
        if waiting or busy:
            done.append(ArrayChange(job, waiting, busy, tuple(dict.fromkeys(problems))))
    files = SupervisorFiles(session.store.layout, session.store.access)
    was_refused = bool(done) and all(one.problems for one in done)
    if not was_refused and (settings := files.settings()):
        named = {name: str(value) for name, value in backend.over(settings.options, options).items()}
        files.change(replace(settings, options=named, width=settings.width if width is None else width or None))
    return [*done, *(ArrayChange(job, 0, 0, ("left alone: its name is not this sweep's",)) for job in live.foreign)]
