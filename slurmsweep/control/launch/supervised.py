"""Give a sweep a supervisor: what commands do; the supervisor's rounds are :mod:`.rounds`."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from slurmsweep.backends.base import JobSource, SubmitResult
from slurmsweep.control.jobs.wakeup import WakeupJobs, wish_of
from slurmsweep.control.round.apply import apply
from slurmsweep.control.round.reconcile import give_back
from slurmsweep.control.round.retry_policy import retry_policy_of
from slurmsweep.control.snapshot import look_at_jobs
from slurmsweep.errors import JobLimitError, SubmissionRefusedError
from slurmsweep.state.supervisor_files import SupervisorFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from slurmsweep.control.round.decide import Plan
    from slurmsweep.control.round.events import Tell
    from slurmsweep.control.session import Session
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.supervisor_files import PreviousSettings, SupervisorSettings
    from slurmsweep.state.tail import AttemptId
    from slurmsweep.state.trial import Trial

#: Minutes until the next round where trials wait for room: jobs of others end at any time.
SOON = 10

#: Seconds between two looks at the journal, and between two questions to the scheduler, of a command that waits.
_JOURNAL_PERIOD = 1.0
_ASK_PERIOD = 60.0


def begin(session: Session, settings: SupervisorSettings) -> tuple[WakeupJobs, PreviousSettings]:
    """Give the sweep a supervisor from now on: the clock waits in the scheduler when this returns.

    Returns:
        The jobs that wake the supervisor, and what the sweep had before.

    Raises:
        UsageError: an option of the supervisor or of its jobs is wrong; nothing was changed.
        SubmissionRefusedError: the scheduler refused the supervisor; nothing was changed.
        SchedulerError: the scheduler could not be asked.
    """
    watch, files = WakeupJobs(session, settings), _files(session)
    refuse_wrong_settings(session, settings)
    before = files.ask_for(settings)
    try:
        watch.watch_over_me()
    except SubmissionRefusedError:
        _undo(session, watch, before)
        raise
    return watch, before


def refuse_wrong_settings(session: Session, settings: SupervisorSettings) -> None:
    """Raise UsageError where an option of the supervisor or of its jobs is wrong."""
    session.scheduler.options(wish_of(settings, session), JobSource.of(session.store))
    session.scheduler.normalized(settings.supervisor)


def _undo(session: Session, watch: WakeupJobs, before: PreviousSettings) -> None:
    """Restore the previous settings; cancel the supervisor if there was none."""
    if not before.mended_itself:
        watch.stop()
    _files(session).undo(before)


@contextmanager
def supervised(session: Session, settings: SupervisorSettings) -> Iterator[WakeupJobs]:
    """Submit jobs in the body with a supervisor: the clock waits in the scheduler before the first array does.

    Where the scheduler refused everything, the supervisor is what it was before. Raises as :func:`begin` and the body.
    """
    watch, before = begin(session, settings)
    arrays = session.refresh().job_ids()
    try:
        yield watch
    except SubmissionRefusedError:
        if session.refresh().job_ids() == arrays:
            _undo(session, watch, before)
        raise
    session.refresh()
    watch.wake_after(look_at_jobs(session).arrays())


def submit_supervised(
    session: Session, settings: SupervisorSettings, plan: Plan, tell: Tell
) -> tuple[SubmitResult, WakeupJobs]:
    """Apply a plan with a supervisor; what finds no room is left to it.

    Args as :func:`slurmsweep.control.round.apply.apply`; raises as :func:`supervised`.
    """
    with supervised(session, settings) as watch:
        try:
            result = apply(session, plan, tell)
        except JobLimitError as error:
            result = SubmitResult((), plan.trials, str(error))
    if result.kept_back or (plan.wave and plan.wave.left):
        leave_to_supervisor(session, settings, plan.retry.attempt_ids)
    if result.kept_back or result.left_to_others:
        watch.wake_after(look_at_jobs(session).arrays(), min(SOON, settings.every))
    return result, watch


def leave_to_supervisor(session: Session, settings: SupervisorSettings, wanted: Collection[AttemptId]) -> None:
    """Give back for good what a person wanted to run again, is without a job, and no round would run again."""
    policy = retry_policy_of(settings)
    most = policy.max_attempts or math.inf

    def is_left_out(trial: Trial) -> bool:
        again = trial.next_attempt
        return again in wanted and (trial.cause in policy.spared or again.attempt > most)

    if wanted:
        give_back(session, is_left_out, why="resubmit")


def resume_supervision(session: Session) -> bool:
    """Schedule a round within a minute after the sweep was resumed; return False where it has no supervisor."""
    settings = _files(session).settings()
    if settings is None:
        return False
    watch, _ = begin(session, settings)
    watch.wake_after(look_at_jobs(session).arrays(), 1)
    return True


def wait_until_over(session: Session, watch: WakeupJobs, refresh: Callable[[], SweepView]) -> bool:
    """Wait for the sweep's end; return False where no supervisor is left. One question to the scheduler a minute.

    Raises:
        SchedulerUnavailableError: the scheduler did not answer; the jobs go on.
    """
    files = _files(session)
    next_question = time.monotonic() + _ASK_PERIOD
    while not files.has_report():
        time.sleep(_JOURNAL_PERIOD)
        refresh()
        if time.monotonic() >= next_question:
            next_question = time.monotonic() + _ASK_PERIOD
            if not watch.alive() and not files.has_report():
                return False
    refresh()
    return True


def _files(session: Session) -> SupervisorFiles:
    return SupervisorFiles(session.store.layout, session.store.access)
