"""The orders for a whole sweep, with W&B's meanings (``wandb sweep --pause``): pause, resume, stop, cancel.

The order is on disk first, so that no agent slips through; then the scheduler and this machine's agents are told. Each
function raises StateError where nothing was ordered, and SchedulerUnavailableError where the order stands and the jobs
were not told: those that start find it and end. The error says so.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from slurmsweep.agents.identity import lives_here
from slurmsweep.control.snapshot import look_at_jobs, places_of_jobs, running_attempts
from slurmsweep.errors import SchedulerError, SchedulerUnavailableError, UsageError
from slurmsweep.report.summary import SweepSummary
from slurmsweep.state.lifecycle import Standing, SweepState
from slurmsweep.state.tail import in_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slurmsweep.control.session import Session


@dataclass(frozen=True)
class Ordered:
    """An order, and which jobs and processes were told.

    Attributes:
        state: of the sweep from now on.
        jobs: arrays that were told: held, released, or cancelled in whole or in their waiting part.
        processes: agents on this machine that got SIGTERM.
        elsewhere: hosts with agents outside of a scheduler: these agents can be ended on their host only.
        without_job: trials that no agent has claimed and no job waits for; None where the search has no end.
        clusters: others with arrays of the sweep, which only commands there can tell.
        lifted: what the sweep was before, where a person had ordered it so and this order lifts that.
        foreign: jobs that the journal names and that were left alone, because their names are not the sweep's.
        unheld: jobs that wait in a place that holds none: each of them finds the order when it starts, and ends.
        untold: jobs in a place that ends none for a sweep: likewise.
    """

    state: Standing
    jobs: tuple[str, ...] = ()
    processes: tuple[int, ...] = ()
    elsewhere: tuple[str, ...] = ()
    without_job: int | None = 0
    clusters: tuple[str, ...] = ()
    lifted: Standing | None = None
    foreign: tuple[str, ...] = ()
    unheld: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()


def pause(session: Session) -> Ordered:
    """Start no new trials until :func:`resume`: running ones go on, waiting jobs are held.

    Raises:
        UsageError: the sweep was stopped or canceled.
    """
    _refuse_ended(session, ": there is nothing to pause")
    _order(session, SweepState.PAUSED)
    with _order_stands(session, "is paused all the same: no new trial starts. Its waiting jobs were not held"):
        live = look_at_jobs(session)
        waiting = live.arrays(only_waiting=True)
        arrays = session.scheduler.holdable(waiting)
        session.scheduler.hold(arrays)
    unheld = tuple(job for job in waiting if job not in arrays)
    return Ordered(Standing.PAUSED, arrays, clusters=live.elsewhere, foreign=live.foreign, unheld=unheld)


def resume(session: Session) -> Ordered:
    """Start new trials again, whatever was ordered before; held jobs are released.

    So it does after a trial reached the target; the next trial that reaches it ends the sweep again.

    Jobs that started during a pause found it and ended, so trials may be without one: the caller says so.
    """
    word = session.refresh().word
    _order(session, SweepState.RUNNING)
    untold = "may start trials again all the same. Jobs of it that are held were not released: give the order again"
    with _order_stands(session, untold):
        live = look_at_jobs(session)
        arrays = session.scheduler.holdable(live.arrays(only_waiting=True))
        session.scheduler.release(arrays)
    open_trials = session.open_trials()
    store = session.store
    return Ordered(
        SweepSummary(store.layout, store.manifest, session.view, {}, live.jobs).state(),
        arrays,
        without_job=None if open_trials is None else max(0, open_trials - len(live.waiting)),
        clusters=live.elsewhere,
        lifted=Standing.of_order(word) if word else None,
        foreign=live.foreign,
    )


def stop(session: Session) -> Ordered:
    """Start no new trials: running ones finish, waiting jobs are cancelled.

    Raises:
        UsageError: the sweep was stopped or canceled before.
    """
    _refuse_ended(session, " already")
    _order(session, SweepState.FINISHED)
    untold = "is stopped all the same: no new trial starts. Its waiting jobs were not cancelled; each ends as it starts"
    with _order_stands(session, untold):
        told = _end_jobs(session, only_waiting=True)
    return replace(told, state=Standing.STOPPED)


def cancel(session: Session) -> Ordered:
    """Start no new trials, and end the running ones."""
    _order(session, SweepState.CANCELED)
    owners = [attempt.owner for attempt in running_attempts(session.view).values() if attempt.owner]
    local = [owner for owner in owners if owner.job is None]
    processes = tuple(owner.pid for owner in local if lives_here(owner))
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    elsewhere = tuple(sorted({owner.host for owner in local if lives_here(owner) is None}))
    untold = "is canceled all the same: no new trial starts. Its jobs were not cancelled: give the order again"
    with _order_stands(session, untold):
        told = _end_jobs(session)
    return replace(told, processes=processes, elsewhere=elsewhere)


def _end_jobs(session: Session, *, only_waiting: bool = False) -> Ordered:
    """Cancel the sweep's jobs, or those that wait, in each place that answers: jobs in a service cost money.

    Raises:
        SchedulerUnavailableError: a place did not answer, or end its jobs; the others have been told.
    """
    told, problem = Ordered(Standing.CANCELED), None
    for place in places_of_jobs(session):
        try:
            live = look_at_jobs(session, place)
            jobs = live.arrays(only_waiting=only_waiting)
            arrays = session.scheduler.endable(jobs)
            session.scheduler.cancel(arrays, only_waiting=only_waiting)
        except SchedulerError as error:
            problem = problem or error
            continue
        told = replace(
            told,
            jobs=told.jobs + arrays,
            clusters=told.clusters + live.elsewhere,
            foreign=told.foreign + live.foreign,
            untold=told.untold + tuple(job for job in jobs if job not in arrays),
        )
    if problem:
        ended = f" (elsewhere cancelled: job {', '.join(told.jobs)})" if told.jobs else ""
        raise SchedulerUnavailableError(f"{problem}{ended}") from problem
    return told


def _refuse_ended(session: Session, consequence: str) -> None:
    view, manifest = session.refresh(), session.store.manifest
    if view.word in (SweepState.FINISHED, SweepState.CANCELED):
        word = view.word if view.reached else Standing.of_order(view.word)
        words = in_words(word, view.reached, manifest.config.metric)
        raise UsageError(f"sweep {manifest.sweep_id} is {words}{consequence}")


def _order(session: Session, state: SweepState) -> None:
    with session.transaction() as transaction:
        transaction.order(state)


@contextmanager
def _order_stands(session: Session, words: str) -> Iterator[None]:
    """Let the error of a scheduler that could not be told say that the order stands, in these words."""
    try:
        yield
    except SchedulerError as error:
        raise SchedulerUnavailableError(f"{error}; sweep {session.store.manifest.sweep_id} {words}") from error
