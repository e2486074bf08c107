"""Jobs that start only when others have ended: what ``--after`` names, as the ``dependency`` of the jobs.

All jobs of a sweep that run or wait at that moment are waited for, however they end. Jobs that are submitted for it
later are not: a sweep with a supervisor is refused, because that submits jobs until the sweep's end.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from slurmsweep.agents.identity import lives_here
from slurmsweep.backends.base import JobSource
from slurmsweep.backends.keys import JobRef, is_elsewhere, parts_of
from slurmsweep.control.session import Session
from slurmsweep.control.snapshot import look_at_jobs, running_attempts
from slurmsweep.errors import NotFoundError, SchedulerUnavailableError, UsageError
from slurmsweep.report.figures import counted
from slurmsweep.state.paths import find
from slurmsweep.state.supervisor_files import SupervisorFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slurmsweep.backends.base import SubmitOptions

#: A job, or an element of an array.
_JOB = re.compile(r"([0-9]+)(?:_([0-9]+))?")

_OPTION = "dependency"


def waiting_for(
    session: Session, wish: SubmitOptions, words: Sequence[str], meant: Callable[[str], str], say: Callable[[str], None]
) -> SubmitOptions:
    """Return the wish of jobs that wait for what the words name, beside what the options already make them wait for.

    Args:
        session: of the sweep whose jobs are to wait.
        wish: what these ask for otherwise.
        words: sweeps, and numbers of Slurm's jobs.
        meant: finds the sweep that a word means.
        say: takes a line for people about each word.

    Raises:
        UsageError: a word names this sweep, one with a supervisor, or one that was not started; or its jobs cannot be
            waited for.
        NotFoundError: there is no such sweep, or Slurm knows no such job.
        SchedulerUnavailableError: Slurm could not be asked.
    """
    options = session.scheduler.options(wish, JobSource.of(session.store))
    there = session.scheduler.cluster(options)
    jobs: list[str] = []
    for word in words:
        is_job = _is_job(word)
        found = [word] if is_job else _jobs_of_sweep(meant(word), session.store.manifest.sweep_id, say)
        other = next((job for job in found if is_elsewhere(parts_of(job)[1] or session.here, there)), None)
        if other:
            raise UsageError(f"--after {word}: job {other} is of another cluster, and no job can wait for one there")
        if is_job:
            found = _if_alive(session, word, say)
        jobs += [job for job in found if job not in jobs]
    if not jobs:
        return wish
    own = str(options.get(_OPTION) or "")
    if "?" in own:
        raise UsageError(f"--after cannot be joined with dependency={own}, of which one part is enough: name all there")
    others = {n: v for n, v in (wish.options or {}).items() if session.scheduler.long_name(n) != _OPTION}
    needed = [*([own] if own else []), f"afterany:{':'.join(parts_of(job)[0] for job in jobs)}"]
    return replace(wish, options=others | {_OPTION: ",".join(needed)})


def _is_job(word: str) -> bool:
    """Return whether a word is the number of a job: one that no sweep here has for its id."""
    if not _JOB.fullmatch(word):
        return False
    with suppress(NotFoundError):
        find(word)
        return False
    return True


def _if_alive(session: Session, word: str, say: Callable[[str], None]) -> list[str]:
    """Return the job where it runs or waits; nothing where it has ended."""
    job, task = word.partition("_")[::2]
    ref = JobRef(job, int(task) if task else None)
    answer = session.scheduler.poll([job], [ref])
    known = {one: status for one, status in answer.tasks.items() if one == ref or (one.job == job and not task)}
    if any(status.alive for status in known.values()):
        say(f"these jobs start when job {word} has ended")
        return [word]
    if known:
        say(f"job {word} has ended already: these jobs do not wait for it")
        return []
    if answer.failed:
        raise SchedulerUnavailableError(f"--after {word}: accounting did not answer: {answer.accounting}")
    raise NotFoundError(f"--after {word}: Slurm knows no such job (any more), and no sweep here is called so")


def _jobs_of_sweep(name: str, own: str, say: Callable[[str], None]) -> list[str]:
    """Return the arrays of a sweep with jobs that run or wait."""
    session = Session.open(name)
    store, sweep = session.store, session.store.manifest.sweep_id
    if sweep == own:
        raise UsageError(f"--after {sweep}: a sweep cannot wait for itself")
    files = SupervisorFiles(store.layout, store.access)
    if files.settings() is not None and not files.has_report():
        raise UsageError(
            f"--after {sweep}: that sweep mends itself, and its supervisor submits jobs until its end, for which none "
            f"can wait now: submit this when `slurmsweep status {sweep}` says that it is over, or name its jobs by "
            "their numbers"
        )
    owners = [attempt.owner for attempt in running_attempts(session.refresh()).values() if attempt.owner]
    outside = next((owner for owner in owners if owner.job is None and lives_here(owner) is not False), None)
    if outside:
        raise UsageError(
            f"--after {sweep}: trials of it run outside of Slurm (on {outside.host}), for which no job waits"
        )
    snapshot, left = look_at_jobs(session), session.open_trials()
    if snapshot.elsewhere:
        raise UsageError(f"--after {sweep}: it has jobs on cluster {', '.join(snapshot.elsewhere)}: submit this there")
    arrays = list(snapshot.arrays())
    without = 0 if left is None else max(0, left - snapshot.queued)
    if not arrays and not session.view.trials and session.view.word is None:
        raise UsageError(f"--after {sweep}: that sweep was not started, so it has no job to wait for: submit it first")
    open_ones = counted(without, "trial of it has no job yet, and is", "trials of it have no job yet, and are")
    more = f"; {open_ones} not waited for" if without else ""
    if arrays:
        which = f"{'job' if len(arrays) == 1 else 'jobs'} {', '.join(arrays)}"
        say(f"these jobs start when all jobs of sweep {sweep} have ended, however they end: {which}{more}")
    else:
        say(f"no job of sweep {sweep} runs or waits: these jobs do not wait for it{more}")
    return arrays
