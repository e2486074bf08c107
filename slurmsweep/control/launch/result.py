"""What came of starting trials: of one wave, and of a whole call."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from slurmsweep.backends.base import SubmitResult
from slurmsweep.control.round.headline import Headline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurmsweep.control.jobs.wakeup import WakeupJobs
    from slurmsweep.control.round.decide import Plan


@dataclass(frozen=True)
class LaunchResult:
    """What a call that starts trials did.

    Attributes:
        plan: the last decision; of a rehearsal the only one.
        submitted: what the scheduler took, and what a limit kept back.
        expected: number of finished trials where all that was started finishes, or is stopped early.
        is_stuck: trials ended and none finished, so that the rest was not submitted.
        has_supervisor: a supervisor runs again and submits what is left.
        waited: the trials that were started have ended.
        later: number of trials that a later wave submits, with what those of this one showed.
        headline: what was not done of what was asked.
        stopped_by: why no further trials were started; empty where that is not so.
    """

    plan: Plan
    submitted: SubmitResult = field(default_factory=SubmitResult)
    expected: int = 0
    is_stuck: bool = False
    has_supervisor: bool = False
    waited: bool = False
    later: int = 0
    headline: Headline = field(default_factory=Headline)
    stopped_by: str = ""


@dataclass(frozen=True)
class SubmittedWave:
    """Trials that were submitted together, and waited for where the call waits.

    Attributes:
        submitted: what the scheduler took, and what a limit kept back.
        watch: the jobs that wake the sweep's supervisor; None where the call enabled none.
        started: number of trials that were started; of a sweep with rungs that the call waits for, of new ones only.
        expected: number of trials by which more are done than before, where all that was started finishes, or is
            stopped early. Trials that run again although they were stopped early were done before.
        is_last: no further wave follows.
        stopped_by: why no further trials are to start; empty where they may.
    """

    submitted: SubmitResult
    watch: WakeupJobs | None
    started: int
    expected: int
    is_last: bool
    stopped_by: str


def result_of(waves: Sequence[SubmittedWave], done_before: int, plan: Plan, said: Headline) -> LaunchResult:
    """Return what a call did in its waves, at least one, without :attr:`~LaunchResult.waited`.

    Args:
        waves: in order.
        done_before: number of trials that were done before the first.
        plan: the last decision, which may have submitted nothing.
        said: what was not done of what was asked.
    """
    last = waves[-1]
    is_supervised = last.watch is not None
    expected = done_before + sum(wave.expected for wave in waves)
    return LaunchResult(
        plan,
        replace(last.submitted, arrays=tuple(array for wave in waves for array in wave.submitted.arrays)),
        expected + (last.submitted.kept_back if is_supervised else 0),
        is_stuck=plan.is_stuck,
        has_supervisor=is_supervised,
        later=plan.wave.left if plan.wave and plan.is_learning else 0,
        headline=said,
        stopped_by=last.stopped_by,
    )
