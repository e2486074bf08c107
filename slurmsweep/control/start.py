"""Where trials run and how many are wanted: the decisions between a command line and a backend."""

from __future__ import annotations

import os
import time
from enum import Enum
from typing import TYPE_CHECKING

from slurmsweep.backends.slurm import commands, queue
from slurmsweep.errors import SchedulerUnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.store import SweepStore
    from slurmsweep.state.view_cache import Follower

#: Seconds between two looks at the journal, and without an end before squeue is called, while a command waits for jobs.
JOURNAL_PERIOD = 1.0
SQUEUE_PERIOD = 15.0


class Backend(str, Enum):
    """Where agents run."""

    LOCAL = "local"
    SLURM = "slurm"

    def __str__(self) -> str:
        """The bare word."""
        return self.value


def choose_backend(wish: str) -> Backend:
    """``auto`` is Slurm where ``sbatch`` is found. Raises SchedulerUnavailableError for ``slurm`` without one."""
    if wish == "auto":
        return Backend.SLURM if commands.available() else Backend.LOCAL
    if wish == "slurm" and not commands.available():
        raise SchedulerUnavailableError(
            "there is no sbatch on this machine: use --backend local, or log in to the cluster"
        )
    return Backend(wish)


def unclaimed(store: SweepStore, view: SweepView) -> int | None:
    """Trials that nobody has claimed, new ones and retries that wait; None where the search has no end."""
    if store.manifest.trials is None:
        return None
    waiting = sum(1 for trial in view.trials.unsettled() if trial.open_to > trial.newest)
    return store.manifest.trials - (len(view.trials) - waiting)


def agents_wanted(store: SweepStore, view: SweepView, asked: int | None, queued: int = 0) -> int:
    """How many single-count agents to start.

    Args:
        store: of the sweep.
        view: its state now.
        asked: ``--count``; None for as many as there are trials nobody has claimed.
        queued: agents that wait in Slurm and will claim one each.

    Raises:
        UsageError: the search has no end and nobody said how many.
    """
    open_trials = unclaimed(store, view)
    if open_trials is None:
        if asked is None:
            method = store.manifest.config.method
            raise UsageError(
                f"a {method} search has no end: say how many trials by --count, or run_cap in the sweep file"
            )
        return asked
    return max(0, open_trials - queued) if asked is None else asked


def no_more_than_open(store: SweepStore, view: SweepView, wanted: int) -> int:
    """Local agents beyond the open trials would only start and say that nothing is left."""
    open_trials = unclaimed(store, view)
    return wanted if open_trials is None else min(wanted, open_trials)


def default_jobs() -> int:
    """Local trials at a time where nobody said: one, because a training script may want the whole machine."""
    return int(os.environ.get("SLURMSWEEP_JOBS") or 1)


def wait_for_jobs(
    follower: Follower,
    jobs: Sequence[str],
    count: int,
    progress: Callable[[SweepView], None],
    before: SweepView | None = None,
) -> None:
    """Wait until ``count`` more trials have ended than ``before`` (than now), or Slurm has nothing left of ``jobs``.

    Costs the controller one squeue after 15 s in which no trial ended: who sees them end need not ask whether any job
    lives. Ctrl-C ends the waiting, not the jobs.

    Raises:
        SchedulerUnavailableError: Slurm did not answer; the jobs go on.
    """
    target = _ended(follower.refresh() if before is None else before) + count
    ended, next_question = _ended(follower.view), time.monotonic() + SQUEUE_PERIOD
    while ended < target:
        time.sleep(JOURNAL_PERIOD)
        progress(follower.refresh())
        before_it, ended = ended, _ended(follower.view)
        if ended != before_it:
            next_question = time.monotonic() + SQUEUE_PERIOD
        elif time.monotonic() >= next_question:
            next_question = time.monotonic() + SQUEUE_PERIOD
            if not any(report.alive for report in queue.ask(jobs).tasks.values()):
                break
    progress(follower.refresh())


def _ended(view: SweepView) -> int:
    return sum(n for state, n in view.counts().items() if state.has_ended())
