"""Watch a running trial at its bands: record what it has there, and say when others are so much better that it stops.

Only agents of sweeps with ``early_terminate`` load this. There is no server: each agent reads the history of its own
trial, and of the others what their agents recorded in the journal. W&B's server looks every few minutes; this looks
every few seconds.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from slurmsweep.errors import LockTimeoutError
from slurmsweep.metrics.logged_values import LoggedValues
from slurmsweep.search import hyperband
from slurmsweep.state.store import BandsReached

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slurmsweep.search.hyperband import Verdict
    from slurmsweep.state.replay import Reading
    from slurmsweep.state.store import SweepStore
    from slurmsweep.state.tail import AttemptId
    from slurmsweep.sweepfile.sections import EarlyTerminate, Metric

#: Seconds until the next look at a trial that has just begun, and the part of its age for an older one: what stops a
#: trial of seconds in time would be needless for one of days.
_SHORTEST, _OF_ITS_AGE = 1.0, 0.05

#: A look waits for so many times as long as the one before took: of a large sweep it is no load for the training.
_LEISURE = 10


class BandWatch:
    """The watch over one attempt.

    Args:
        store: of the sweep.
        attempt_id: of the trial that runs.
        by: the sweep's rule, and the metric it compares.
        period: seconds between two looks at most; at a young trial it looks more often.
        say: takes a line for the trial's log: why it is stopped, and once what cannot be read.

    Attributes:
        due: when to look next, by the monotonic clock.
    """

    def __init__(
        self,
        store: SweepStore,
        attempt_id: AttemptId,
        by: tuple[EarlyTerminate, Metric],
        period: float,
        say: Callable[[str], None],
    ) -> None:
        self._store, self._attempt_id, self._say = store, attempt_id, say
        self._rule, self._metric = by
        self._bands = sorted(set(hyperband.bands(self._rule)))
        self._period = period
        self._begun = time.monotonic()
        self.due = self._begun + min(period, _SHORTEST)
        self._values: LoggedValues | None = None
        self._reading: Reading | None = None
        self._reached: dict[int, float] = {}
        self._recorded: set[int] = set()
        self._has_complained = False

    @property
    def is_due(self) -> bool:
        """Whether the time for a :meth:`look` has come."""
        return time.monotonic() >= self.due

    def look(self) -> bool:
        """Record the bands that were reached, and return whether the trial is to stop. Raises nothing.

        What cannot be read or written is tried again at the next look.
        """
        begun = time.monotonic()
        said = None
        try:
            said = self._judge()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with these files, the trial goes on
            self._complain(error)
        ended = time.monotonic()
        period = min(self._period, max(_SHORTEST, _OF_ITS_AGE * (ended - self._begun)))
        self.due = ended + max(period, _LEISURE * (ended - begun))
        if said is None or not said.stops:
            return False
        name, best = self._metric.name, "" if self._rule.strict else ", its best so far,"
        self._say(
            f"stopped early: {name}={said.value:g}{best} is worse than {said.threshold:g}, "
            f"with which trials go on that logged it {said.band} times (early_terminate)"
        )
        return True

    def ended(self) -> BandsReached:
        """Return what the attempt had at bands in the end. Raises nothing."""
        try:
            self._read()
        except Exception as error:  # noqa: BLE001 - the outcome matters more
            self._complain(error)
        values = tuple(sorted(self._reached.items()))
        return BandsReached(values, tuple(pair for pair in values if pair[0] not in self._recorded))

    def _judge(self) -> Verdict | None:
        """Return what the rule says; None before the first band and while nothing happens. Raises as :meth:`_read`."""
        own = self._read()
        if not self._reached:
            return None
        new = tuple(pair for pair in sorted(self._reached.items()) if pair[0] not in self._recorded)
        if new:
            with suppress(LockTimeoutError):  # busy: the value counts for this look all the same
                self._store.record_bands(self._attempt_id, new)
                self._recorded.update(band for band, _ in new)
        if not self._has_news() and not new:
            return None
        reading = self._up_to_date()
        trial = self._attempt_id.trial
        return hyperband.verdict(self._rule, self._metric.goal, own, lambda band: reading.view.values_at(band, trial))

    def _read(self) -> Sequence[float]:
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

    def _has_news(self) -> bool:
        """Return whether records were added to the journal since it was last read."""
        return self._reading is None or os.stat(self._store.journal.path).st_size != self._reading.offset

    def _up_to_date(self) -> Reading:
        if self._reading is None:
            from slurmsweep.state import view_cache  # trials that end before their first band need none

            self._reading = view_cache.current(self._store)
        else:
            self._reading.refresh()
        return self._reading

    def _complain(self, error: Exception) -> None:
        if not self._has_complained:
            self._has_complained = True
            self._say(
                f"early_terminate cannot look at this trial now, and tries again: {str(error) or type(error).__name__}"
            )
