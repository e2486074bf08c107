"""Wait for what was submitted: by the journal, and by the scheduler only where the journal is silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.control.events import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurmsweep.control.events import Tell
    from slurmsweep.control.session import Session
    from slurmsweep.state.replay import SweepView


def ended_trials(view: SweepView) -> int:
    """Return how many trials have ended, however they ended."""
    return sum(n for state, n in view.counts().items() if state.has_ended())


class ProgressReader:
    """Reads the journal on and tells how many trials have ended since a command began.

    Args:
        session: of the sweep.
        total: trials that the command waits for.
        before: trials that had ended before it began.
        tell: takes :class:`~slurmsweep.control.events.Progress`.
    """

    def __init__(self, session: Session, total: int, before: int, tell: Tell) -> None:
        self._session, self._total, self._before, self._tell = session, total, before, tell

    def refresh(self) -> SweepView:
        """Read on, tell, return the view. Raises StateUnreadableError."""
        view = self._session.refresh()
        self._tell(Progress(ended_trials(view) - self._before, self._total, view.counts()))
        return view


def wait_for_jobs(session: Session, jobs: Sequence[str], trials: int, before: int, tell: Tell) -> None:
    """Wait until ``trials`` more trials have ended than ``before``, or until the backend has none of the jobs left.

    Args:
        session: of the sweep.
        jobs: ids of what was submitted.
        trials: how many ends to wait for.
        before: number of trials that had ended before the jobs were submitted.
        tell: takes the progress.

    Raises:
        as :meth:`slurmsweep.backends.base.Backend.wait`.
    """
    reader = ProgressReader(session, trials, before, tell)
    reader.refresh()
    session.backend.wait(jobs, before + trials, reader.refresh)
