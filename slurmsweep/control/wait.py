"""Wait for what was submitted: by the journal, and by the scheduler only where the journal is silent."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from slurmsweep.control.events import Progress
from slurmsweep.control.reconcile import cancel_idle
from slurmsweep.control.snapshot import look_at_jobs
from slurmsweep.errors import SchedulerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slurmsweep.control.events import Tell
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
        tell(Progress(ended_trials(view) - before, total, view.counts(), len(view.trials.stopped_early())))
        return view

    return refresh


def wait_for_jobs(session: Session, jobs: Sequence[str], trials: int, before: int, tell: Tell) -> None:
    """Wait until ``trials`` more trials have ended than ``before``, or until the backend has none of the jobs left.

    When a trial reaches the target, the jobs that wait are cancelled, if the agent could not do that.

    Args:
        session: of the sweep.
        jobs: ids of what was submitted.
        trials: how many ends to wait for.
        before: number of trials that had ended before the jobs were submitted.
        tell: takes the progress.

    Raises:
        as :meth:`slurmsweep.backends.base.Backend.wait`.
    """
    read = progress_reader(session, trials, before, tell)
    was_open = session.view.reached is None

    def refresh() -> SweepView:
        nonlocal was_open
        view = read()
        if was_open and view.reached:
            was_open = False
            with suppress(SchedulerUnavailableError):  # then they start, find nothing to do, and end
                cancel_idle(session, look_at_jobs(session))
        return view

    refresh()
    session.backend.wait(jobs, before + trials, refresh)
    session.store.link()
