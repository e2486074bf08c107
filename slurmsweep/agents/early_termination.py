"""Watch a running trial at its bands: record what it has there, and say when others are so much better that it stops.

Only agents of sweeps with ``early_terminate`` load this. W&B's server looks every few minutes; this looks every few
seconds.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from slurmsweep.agents.watch import TrialWatch
from slurmsweep.errors import LockTimeoutError
from slurmsweep.metrics.logged_values import LoggedValues
from slurmsweep.search import hyperband
from slurmsweep.state.records import BandsReached

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.records import BandValue
    from slurmsweep.state.replay import Reading
    from slurmsweep.state.store import SweepStore
    from slurmsweep.state.tail import AttemptId
    from slurmsweep.sweepfile.sections import EarlyTerminate, Metric


class BandWatch(TrialWatch):
    """The watch over one attempt of a sweep with ``early_terminate``.

    Args:
        store: of the sweep.
        attempt_id: of the trial that runs.
        by: the sweep's rule, and the metric it compares.
        period, say: as of :class:`.watch.TrialWatch`.
    """

    def __init__(
        self,
        store: SweepStore,
        attempt_id: AttemptId,
        by: tuple[EarlyTerminate, Metric],
        period: float,
        say: Callable[[str], None],
    ) -> None:
        super().__init__("early_terminate", period, say)
        self._store, self._attempt_id = store, attempt_id
        self._rule, self._metric = by
        self._bands = sorted(set(hyperband.bands(self._rule)))
        self._values: LoggedValues | None = None
        self._reading: Reading | None = None
        self._reached: dict[int, float] = {}
        self._recorded: set[int] = set()

    def why_stop(self) -> str:
        """Record the bands that were reached; return why other trials are better. Raises OSError, StateError.

        Empty also before the first band, and while nothing new is known of this trial or of others.
        """
        own = self.read()
        new = self._unrecorded()
        if not self._reached:
            return ""
        if new:
            with suppress(LockTimeoutError):  # busy: the value counts for this look all the same
                self._store.record_bands(self._attempt_id, new)
                self._recorded.update(band for band, _ in new)
        elif self._reading is not None and os.stat(self._store.journal.path).st_size == self._reading.offset:
            return ""  # the journal has not grown since it was last read
        view, trial = self._up_to_date().view, self._attempt_id.trial
        said = hyperband.verdict(self._rule, self._metric.goal, own, lambda band: view.values_at(band, trial))
        if said is None or not said.stops:
            return ""
        name, best = self._metric.name, "" if self._rule.strict else ", its best so far,"
        return (
            f"stopped early: {name}={said.value:g}{best} is worse than {said.threshold:g}, "
            f"with which trials go on that logged it {said.band} times"
        )

    def judged(self, outcome: Outcome) -> tuple[Outcome, BandsReached]:
        """Return the outcome as it is, and what the attempt had at bands."""
        return outcome, BandsReached(tuple(sorted(self._reached.items())), self._unrecorded())

    def read(self) -> Sequence[float]:
        """Return all values of the trial so far, and note the bands it has reached. Raises OSError, StateError."""
        if self._values is None:
            first = 1
            if self._attempt_id.attempt > 1:
                first, recorded = self._up_to_date().view.bands_of(self._attempt_id.trial)
                self._recorded |= recorded
            self._values = LoggedValues(self._metric, self._store.layout, self._attempt_id, first)
        own = self._values.read()
        for band in self._bands:
            if band > len(own):
                break
            self._reached.setdefault(band, own[band - 1])
        return own

    def _unrecorded(self) -> tuple[BandValue, ...]:
        """Return the bands that were reached and are not in the journal, with the value at each."""
        return tuple(pair for pair in sorted(self._reached.items()) if pair[0] not in self._recorded)

    def _up_to_date(self) -> Reading:
        if self._reading is None:
            from slurmsweep.state import view_cache  # trials that end before their first band need none

            self._reading = view_cache.current(self._store)
        else:
            self._reading.refresh()
        return self._reading
