"""Wait for what was submitted: by the journal, and by the scheduler only where the journal is silent."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from slurmsweep.control.jobs.waiting_reasons import stuck_jobs_teller
from slurmsweep.control.round.events import Noticed, Progress
from slurmsweep.control.round.reconcile import cancel_idle
from slurmsweep.control.snapshot import look_at_jobs
from slurmsweep.errors import SchedulerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slurmsweep.control.jobs.max_fails import FailedAlike
    from slurmsweep.control.round.events import Tell
    from slurmsweep.control.session import Session
    from slurmsweep.state.replay import SweepView


def ended_trials(view: SweepView) -> int:
    """Return how many trials have ended, however they ended."""
    return sum(n for state, n in view.counts().items() if state.has_ended())


def progress_reader(session: Session, total: int, before: int, tell: Tell) -> Callable[[], SweepView]:
    """Return a function that reads the journal on, tells :class:`Progress` since ``before``, and returns the view.

    It raises StateUnreadableError. Args as :func:`wait_for_jobs`, with ``total`` ends to wait for.
    """

    def refresh() -> SweepView:
        view = session.refresh()
        early, not_needed = len(view.trials.stopped_early()), len(view.trials.not_needed())
        tell(Progress(ended_trials(view) - before, total, view.counts(), early, not_needed))
        return view

    return refresh


def wait_for_jobs(  # noqa: PLR0913 - what was submitted, and two that listen
    session: Session, jobs: Sequence[str], trials: int, before: int, tell: Tell, *, brake: FailedAlike | None = None
) -> None:
    """Wait until ``trials`` more trials have ended than ``before``, or until the backend has none of the jobs left.

    Jobs that never start as they are, are told once.

    When a trial reaches the target, the jobs that wait are cancelled, if the agent could not do that.

    Args:
        session: of the sweep.
        jobs: ids of what was submitted.
        trials: how many ends to wait for.
        before: number of trials that had ended before the jobs were submitted.
        tell: takes the progress.
        brake: says when no further trial is to start: jobs that wait are cancelled then, too; None for never.

    Raises:
        as :meth:`slurmsweep.backends.base.Backend.wait`.
    """
    read = progress_reader(session, trials, before, tell)
    is_open = session.view.reached is None

    def refresh() -> SweepView:
        nonlocal is_open
        view = read()
        if is_open and not may_start():
            is_open = False
            with suppress(SchedulerUnavailableError):  # then they start, and most likely fail
                session.backend.cancel(look_at_jobs(session).arrays(only_waiting=True), only_waiting=True)
        elif is_open and view.reached:
            is_open = False
            with suppress(SchedulerUnavailableError):  # then they start, find nothing to do, and end
                cancel_idle(session, look_at_jobs(session))
        return view

    def may_start() -> bool:
        return brake is None or brake.may_start()

    refresh()
    sweep = session.store.manifest.sweep_id
    try:
        session.backend.wait(jobs, before + trials, refresh, may_start, stuck_jobs_teller(session, tell))
    except SchedulerUnavailableError as error:
        went_on = f"only the waiting has ended, and the jobs go on: `slurmsweep status {sweep}`"
        raise SchedulerUnavailableError(f"{error}; {went_on}") from error
    session.store.link()
    if brake and brake.reason and ended_trials(session.view) < before + trials:
        again = f"`slurmsweep resubmit {sweep}` runs what failed again, and the rest"
        tell(Noticed(f"no further trials: {brake.reason}. Once that is mended, {again}; --max-fails 0 never stops"))
