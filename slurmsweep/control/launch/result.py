"""What came of starting trials: of one wave, and of a whole call."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from slurmsweep.backends.base import SubmitResult
from slurmsweep.control.round.headline import Headline
from slurmsweep.sizing.walltime import Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurmsweep.control.jobs.wakeup import WakeupJobs
    from slurmsweep.control.round.decide import Plan

#: Steps after which a later wave is sized by what the trials of this one showed.
LEARNING = (Step.CANARIES, Step.WAIT)


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
        plan: what was decided.
        submitted: what the scheduler took of it, and what a limit kept back.
        watch: the jobs that wake the sweep's supervisor; None where the call enabled none.
        done_before: number of trials that were done before.
        undone: number of those among them that this wave runs again: they had been stopped early.
        started: number of trials that were started; of a sweep with rungs that the call waits for, of new ones only.
        expected: number of trials that finish, or are stopped early, where all that was started does.
        is_last: no further wave follows.
        stopped_by: why no further trials are to start; empty where they may.
    """

    plan: Plan
    submitted: SubmitResult
    watch: WakeupJobs | None
    done_before: int
    undone: int
    started: int
    expected: int
    is_last: bool
    stopped_by: str

    @property
    def step(self) -> Step | None:
        """What the wave is for where time or memory is learnt."""
        return self.plan.wave.step if self.plan.wave else None


def result_of(waves: Sequence[SubmittedWave], plan: Plan, said: Headline, *, waited: bool) -> LaunchResult:
    """Return what a call did in its waves, at least one; ``plan`` is its last decision, which may submit nothing."""
    first, last = waves[0], waves[-1]
    arrays = tuple(array for wave in waves for array in wave.submitted.arrays)
    is_supervised = last.watch is not None
    expected = first.done_before + sum(wave.expected - wave.undone for wave in waves)
    return LaunchResult(
        plan,
        replace(last.submitted, arrays=arrays),
        expected + (last.submitted.kept_back if is_supervised else 0),
        is_stuck=last.step is Step.STUCK,
        has_supervisor=is_supervised,
        waited=waited,
        later=plan.wave.left if plan.wave and last.step in LEARNING else 0,
        headline=said,
        stopped_by=last.stopped_by,
    )
