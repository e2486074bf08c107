"""Refuse what cannot be started before anything is written, and say what will be ignored."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from slurmsweep.backends.base import Ability, JobSource
from slurmsweep.control.creation.start_check import refuse_what_cannot_start
from slurmsweep.control.defaults import filled
from slurmsweep.control.round.events import Noticed
from slurmsweep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slurmsweep.backends.base import Backend, SubmitOptions
    from slurmsweep.control.round.events import Tell
    from slurmsweep.control.session import Session
    from slurmsweep.sizing.walltime import AutoSizing


def check_call(backend: Backend, *, wait: bool, supervise: bool, max_fails: int | None) -> None:
    """Raise UsageError where the backend cannot do what a call wants beside jobs, or where that excludes each other."""
    if not wait:
        backend.require(Ability.OUTLIVE, "--no-wait")
    if supervise:
        backend.require(Ability.WAKE, "--mend")
    if max_fails and (supervise or not wait):
        raise UsageError("--max-fails is for trials that this command waits for: add --wait, and leave --mend out")


def check_jobs(session: Session, wish: SubmitOptions, tell: Tell) -> tuple[SubmitOptions, str]:
    """Refuse jobs that the backend cannot make, and trials that cannot start; tell what is ignored. Writes nothing.

    Returns the wish with the defaults of the sweep, and as wide as the sweep was started last on this machine; and a
    line about this width, to be told where trials start. The line is empty where the width is asked for.

    Raises:
        UsageError: an option is wrong, or no trial could start; or a variable is wrong that agents inherit from here.
    """
    backend, source = session.backend, JobSource.of(session.store)
    wish, width_words = _as_wide_as_before(session, filled(wish, source.defaults, backend))
    backend.normalized(wish.options or {})  # a misspelt name is wrong everywhere
    runs_here = Ability.ELSEWHERE not in backend.abilities
    for doubt in refuse_what_cannot_start(session.store.manifest, os.environ, runs_here=runs_here):
        tell(Noticed(f"{doubt}; the nodes may differ"))
    for notice in backend.check(wish, source):
        tell(Noticed(notice))
    return wish, width_words


def behind_others(
    session: Session, wish: SubmitOptions, after: Sequence[str], meant: Callable[[str], str], say: Callable[[str], None]
) -> SubmitOptions:
    """Return the wish of jobs that start when those of others have ended; tell which these are.

    Args:
        session: of the sweep whose jobs are to wait.
        wish: what these ask for otherwise.
        after: sweeps, and numbers of Slurm's jobs; empty for none.
        meant: finds the sweep that a word means.
        say: takes a line for people about each of them.

    Raises:
        UsageError: the backend cannot let jobs wait; and as :func:`slurmsweep.control.jobs.after.waiting_for`.
        NotFoundError, SchedulerUnavailableError: as there.
    """
    if not after:
        return wish
    from slurmsweep.control.jobs.after import waiting_for  # few jobs wait for others

    session.backend.require(Ability.AFTER, "--after")
    words = [after] if isinstance(after, str) else after
    return waiting_for(session, wish, words, meant, say)


def check_sizing(session: Session, sizing: AutoSizing, tell: Tell) -> None:
    """Tell where nothing is learnt on this backend; raise UsageError where memory is not what its jobs ask for."""
    backend = session.backend
    if words := nothing_learnt(backend):
        tell(Noticed(words))
    if sizing.mem and backend.memory_option != "mem":
        raise UsageError(f"--mem auto: on {backend.name} the {backend.memory_option} decides what memory a job has")


def nothing_learnt(backend: Backend) -> str:
    """Return that a backend cannot learn time and memory, because it does not limit trials; empty where it can."""
    if Ability.LIMIT in backend.abilities:
        return ""
    return f"the {backend.name} backend does not limit trials: no time and no memory is learnt"


def _as_wide_as_before(session: Session, wish: SubmitOptions) -> tuple[SubmitOptions, str]:
    """Return the wish with the number at a time of the sweep's newest start on this machine, where none is said.

    Beside it stands a line that says so; it is empty where the wish stays as it is.

    Not where GPUs are named, because they are dealt out to that number, and not of jobs that outlive this process:
    their width is an option of the scheduler, as time and partition are.
    """
    names_gpus = any(name.lstrip("-") in ("gpus", "G") for name in wish.options or {})
    if wish.width is not None or names_gpus or Ability.OUTLIVE in session.backend.abilities:
        return wish, ""
    before = session.submissions.all()[-1:]
    if not before or before[0].backend != session.backend.name or (before[0].width or 1) == 1:
        return wish, ""
    width_words = f"{before[0].width} trials at a time, as when this sweep was started last (--jobs)"
    return replace(wish, width=before[0].width), width_words
