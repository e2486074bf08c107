"""Ask for a sweep to be looked after: what people do; the rounds themselves are :mod:`.rounds`."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from slurmsweep.backends.base import SubmitOptions
from slurmsweep.backends.slurm.fit_limits import SubmitResult
from slurmsweep.control.array_tasks import live_elements
from slurmsweep.control.reconcile import give_back
from slurmsweep.control.retry_policy import RetryPolicy
from slurmsweep.control.start import JOURNAL_PERIOD
from slurmsweep.control.submit import job_options, send_all
from slurmsweep.errors import JobLimitError, SubmissionRefusedError
from slurmsweep.state.supervisor_files import SupervisorFiles, SupervisorSettings
from slurmsweep.supervisor.wakeup_jobs import WakeupJobs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from slurmsweep.backends.slurm.fit_limits import Submitted
    from slurmsweep.control.submit import JobBatch
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.store import SweepStore
    from slurmsweep.state.supervisor_files import PreviousSettings
    from slurmsweep.state.tail import AttemptId
    from slurmsweep.state.trial import Trial
    from slurmsweep.state.view_cache import Follower

#: Minutes until the next round where trials wait for room: jobs of others end at any time.
SOON = 10

#: Attempts of a trial at most, unless somebody says otherwise.
_MOST_ATTEMPTS = 3

#: Causes of ends that a person, or the search, wanted.
_ON_PURPOSE = frozenset({"cancelled", "interrupted", "early_terminate"})

#: Seconds between two squeue calls of a command that waits for the end.
_ASK_PERIOD = 60.0


def begin(store: SweepStore, settings: SupervisorSettings) -> WakeupJobs:
    """From now on the sweep mends itself: the clock waits in Slurm when this returns.

    Raises:
        UsageError: an option of the supervisor's is wrong; nothing was changed.
        SubmissionRefusedError: Slurm refused the supervisor; nothing was changed.
        SchedulerError: Slurm could not be asked.
    """
    return _begin(store, settings)[0]


def _begin(store: SweepStore, settings: SupervisorSettings) -> tuple[WakeupJobs, PreviousSettings]:
    watch, files = alarms_of(store, settings, None), SupervisorFiles(store.layout, store.access)
    before = files.ask_for(settings)
    try:
        watch.watch_over_me()
    except SubmissionRefusedError:
        _undo(store, watch, before)
        raise
    return watch, before


def _taken(store: SweepStore) -> set[str]:
    """Arrays that Slurm took so far."""
    return set(store.replay().job_ids())


def _undo(store: SweepStore, watch: WakeupJobs, before: PreviousSettings) -> None:
    """Nobody looks after the sweep who did not before."""
    if not before.mended_itself:
        watch.stop()
    SupervisorFiles(store.layout, store.access).undo(before)


@contextmanager
def minded(store: SweepStore, settings: SupervisorSettings) -> Iterator[WakeupJobs]:
    """Submit something with somebody to look after it: the clock waits in Slurm before the first array does.

    Raises:
        UsageError, SchedulerError: as :func:`begin` and the body do; where Slurm refused everything, all is as it was.
    """
    watch, before = _begin(store, settings)
    arrays = _taken(store)
    try:
        yield watch
    except SubmissionRefusedError:
        if _taken(store) == arrays:
            _undo(store, watch, before)
        raise
    watch.wake_after(live_elements(store.replay()).arrays)


def submit_minded(
    store: SweepStore,
    settings: SupervisorSettings,
    errands: Sequence[JobBatch],
    *,
    takes_up: bool = False,
    tell: Callable[[Submitted], None] | None = None,
) -> tuple[SubmitResult, WakeupJobs]:
    """Submit jobs and look after them; what finds no room is left to the supervisor.

    Args as :func:`slurmsweep.control.submit.send_all`; raises as :func:`minded`.
    """
    with minded(store, settings) as watch:
        try:
            handed = send_all(store, errands, takes_up=takes_up, tell=tell)
        except JobLimitError as error:
            handed = SubmitResult((), sum(errand.trials for errand in errands), str(error))
    if handed.kept_back:
        leave_to_supervisor(store, settings, [attempt_id for errand in errands for attempt_id in errand.again])
        watch.wake_after(live_elements(store.replay()).arrays, min(SOON, settings.every))
    return handed, watch


def leave_to_supervisor(store: SweepStore, settings: SupervisorSettings, attempt_ids: Collection[AttemptId]) -> None:
    """Give back for good what a person wanted to be run again, is without a job, and no round would run again."""
    wanted, rules = set(attempt_ids), rules_of(settings)
    most = rules.max_attempts or math.inf

    def is_left_out(trial: Trial) -> bool:
        attempt_id = trial.next_attempt
        return attempt_id in wanted and (trial.cause in rules.spared or attempt_id.attempt > most)

    if attempt_ids:
        give_back(store, is_left_out, why="resubmit")


def take_up(store: SweepStore) -> bool:
    """After a pause, or an end that was no end: a round within a minute; False where the sweep does not mend itself."""
    settings = SupervisorFiles(store.layout, store.access).settings()
    if settings is None:
        return False
    begin(store, settings).wake_after(live_elements(store.replay()).arrays, 1)
    return True


def wait_until_over(
    store: SweepStore, follower: Follower, watch: WakeupJobs, show: Callable[[SweepView], None]
) -> bool:
    """Wait for the sweep's end; False where nobody looks after it any more. Costs one squeue a minute.

    Raises:
        SchedulerUnavailableError: Slurm did not answer; the jobs go on.
    """
    files = SupervisorFiles(store.layout, store.access)
    next_question = time.monotonic() + _ASK_PERIOD
    while not files.has_report():
        time.sleep(JOURNAL_PERIOD)
        show(follower.refresh())
        if time.monotonic() >= next_question:
            next_question = time.monotonic() + _ASK_PERIOD
            if not watch.alive() and not files.has_report():
                return False
    show(follower.refresh())
    return True


def rules_of(settings: SupervisorSettings) -> RetryPolicy:
    """What deserves another attempt; what a person ended stays ended."""
    return RetryPolicy(**{"max_attempts": _MOST_ATTEMPTS, **settings.rules}, spared=_ON_PURPOSE)


def alarms_of(store: SweepStore, settings: SupervisorSettings, me: str | None) -> WakeupJobs:
    """The two jobs that wake its supervisor; ``me`` is the job this runs in, if it is one. Raises UsageError."""
    options = job_options(wishes_of(settings), store.manifest.config)
    return WakeupJobs(store, settings, options, me)


def wishes_of(settings: SupervisorSettings) -> SubmitOptions:
    """What later jobs ask for."""
    return SubmitOptions(settings.template, settings.options, settings.width)
