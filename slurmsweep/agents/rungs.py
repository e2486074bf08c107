"""The parts in which a trial of a sweep with rungs runs: how far an attempt goes, and where it got to.

A script learns the end of its part from the environment, saves a checkpoint there and exits with 0. One that does not
ask is stopped once it has logged the metric more often than its part says, as a trial is that is stopped early.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.agents.watch import TrialWatch
from slurmsweep.learning.rungs import rung_of
from slurmsweep.metrics.logged_values import LoggedValues
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import RUNG, STOPPED_EARLY
from slurmsweep.state.records import NO_BANDS, BandsReached

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.store import SweepStore
    from slurmsweep.state.tail import AttemptId
    from slurmsweep.sweepfile.rungs import Rungs
    from slurmsweep.sweepfile.sections import Metric

#: The rung that an attempt runs to, from 1 on, and how often the metric has been logged at its end.
NUMBER, STEPS = "SLURMSWEEP_RUNG", "SLURMSWEEP_RUNG_STEPS"

#: How often at the end of the last rung.
LAST_STEPS = "SLURMSWEEP_LAST_RUNG_STEPS"


def variables(rungs: Rungs, view: SweepView | None, trial: int) -> dict[str, str]:
    """Return the environment variables that tell a script how far to run; ``view`` is None for a first attempt."""
    rung = rung_of(rungs, view, trial) if view else 0
    return {NUMBER: str(rung + 1), STEPS: str(rungs.steps[rung]), LAST_STEPS: str(rungs.steps[-1])}


class RungWatch(TrialWatch):
    """The watch over one attempt of a sweep with rungs.

    Args:
        store: of the sweep.
        attempt_id: of the trial that runs.
        by: the sweep's rungs, and the metric by which trials are compared.
        part: index of the rung that the attempt runs to, and the trial's first attempt that no person deleted.
        period, say: as of :class:`.watch.TrialWatch`.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - those of any watch, and where the trial stands
        self,
        store: SweepStore,
        attempt_id: AttemptId,
        by: tuple[Rungs, Metric],
        part: tuple[int, int],
        period: float,
        say: Callable[[str], None],
    ) -> None:
        super().__init__("slurmsweep.rungs", period, say)
        self._steps, (self._rung, first), self._metric = by[0].steps, part, by[1]
        self._logged = LoggedValues(by[1], store.layout, attempt_id, first)
        self._values: Sequence[float] = ()

    def read(self) -> Sequence[float]:
        """Return what the trial has logged so far, and keep it. Raises OSError."""
        self._values = self._logged.read()
        return self._values

    def why_stop(self) -> str:
        """Return that the trial has gone on beyond the end of its part; empty if it has not. Raises OSError."""
        times = len(self.read())
        if self._rung == len(self._steps) - 1 or times <= self._steps[self._rung]:
            return ""
        return (
            f"stopped: the metric was logged {times} times, and this part of the trial ends after "
            f"{self._steps[self._rung]}; {STEPS} tells a script so"
        )

    def _worth(self, step: int) -> float:
        """Return the value of the trial when it had logged the metric so many times."""
        summary = self._metric.summary
        return summary.of(self._values[:step], self._metric.goal) if summary else self._values[step - 1]

    def judged(self, outcome: Outcome) -> tuple[Outcome, BandsReached]:
        """Return an attempt that got to its rung as finished there, with the value at each rung that it reached.

        An attempt that ends with exit code 0 got there, also where it logged the metric less often: its last value
        counts, or that of an attempt before it where it had nothing left to do. One that failed or was cut off has
        reached nothing: it runs to the same rung again.
        """
        was_stopped = outcome.cause == STOPPED_EARLY
        if outcome.state is not TrialState.FINISHED and not was_stopped:
            return outcome, NO_BANDS
        values, own = self._values, self._steps[self._rung]
        steps = (own,) if was_stopped else self._steps[self._rung :]
        reached = {step: self._worth(step) for step in steps if step <= len(values)}
        last = self._worth(len(values)) if outcome.metric is None and values else outcome.metric
        if own not in reached and last is not None:
            reached[own] = last
        if not reached:  # nothing to compare it by: it has finished
            return outcome, NO_BANDS
        at_rungs = tuple(sorted(reached.items()))
        newest = max(reached)
        cause = "" if newest == self._steps[-1] else f"{RUNG} {newest}"
        metric = reached[newest] if outcome.metric is None else outcome.metric
        lacks = outcome.no_metric if outcome.metric is not None else None
        ended = outcome._replace(state=TrialState.FINISHED, cause=cause, exit_code=0, metric=metric, no_metric=lacks)
        return ended, BandsReached(at_rungs, unrecorded=at_rungs)
