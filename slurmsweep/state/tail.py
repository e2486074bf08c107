"""The running head that every record carries, so that claims read the end of the journal and not all of it.

**A hint, never the truth**: it was computed by a writer whose view may have been stale. It may name a trial that is
taken (the attempt's folder says so) and it may have lost a retry (replay finds it when nothing else is left).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.state.fields import MOST_ATTEMPTS, Fields, WrongFieldError, mapping, number, one_of, row, rows, whole
from slurmsweep.state.lifecycle import Standing, SweepState, TrialState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slurmsweep.sweepfile.sections import Metric

#: Retries kept in the head. More wait in their retry records, which the head points to.
QUEUE_LIMIT = 64


class AttemptId(NamedTuple):
    """One attempt that may be claimed."""

    trial: int
    attempt: int


class RetryPage(NamedTuple):
    """Where retries wait that had no room in the head.

    Attributes:
        offset: of their retry record in the journal.
        first: index of the first of its attempts that is not in the head yet.
    """

    offset: int
    first: int


class TargetReached(NamedTuple):
    """The trial whose metric reached the sweep's target, and so ended the sweep.

    Attributes:
        trial: its number.
        value: of the metric at the end of the attempt.
    """

    trial: int
    value: float


#: An attempt, and what reached the target, as lists on disk.
ATTEMPT_ID = row(AttemptId, whole(), whole(1, MOST_ATTEMPTS))
REACHED = row(TargetReached, whole(), number())


def in_words(word: SweepState | Standing, reached: TargetReached | None, metric: Metric | None) -> str:
    """Return ``paused``, or ``finished: trial 7 reached the target (acc 0.913 >= 0.9)``."""
    if reached is None or metric is None or metric.target is None:
        return str(word)
    sign = ">=" if metric.goal == "maximize" else "<="
    return (
        f"{word}: trial {reached.trial} reached the target ({metric.name} {reached.value:g} {sign} {metric.target:g})"
    )


class Head(NamedTuple):
    """State as its writer saw it.

    Attributes:
        sequence: number of records since the first.
        next_trial: the first number that was never claimed.
        counts: trials by state; trials never claimed are in none.
        queue: retries to claim before new trials, oldest first.
        word: what was ordered (paused, finished, canceled); None while agents may claim.
        more: where further retries wait; each retry record names the one to look at after it.
        exhausted: offset in the journal up to which a replay found that nothing waits to be claimed.
        reached: what ended the sweep, where that was its target and no person's order.
    """

    sequence: int = 0
    next_trial: int = 0
    counts: Mapping[TrialState, int] = {}
    queue: tuple[AttemptId, ...] = ()
    word: SweepState | None = None
    more: RetryPage | None = None
    exhausted: int = 0
    reached: TargetReached | None = None

    def moved(self, before: TrialState | None, after: TrialState) -> Head:
        """Return the head after a trial went from ``before`` (None: it was never claimed) to ``after``."""
        counts = dict(self.counts)
        if before is not None:
            counts[before] = max(0, counts.get(before, 0) - 1)
        counts[after] = counts.get(after, 0) + 1
        return self._replace(counts={state: n for state, n in counts.items() if n})

    def without(self, attempt_id: AttemptId) -> Head:
        """Return the head after an attempt was claimed: by the writer, or by a process whose folder the writer met.

        A trial beyond the next new one (some arrays name theirs) leaves it where it is: claims get there and pass on.
        """
        queue = tuple(s for s in self.queue if s != attempt_id)
        is_next = attempt_id.trial == self.next_trial
        return self._replace(queue=queue, next_trial=self.next_trial + is_next)

    def room(self) -> int:
        """Return how many further retries the head can hold."""
        return QUEUE_LIMIT - len(self.queue)

    def with_queue(self, attempt_ids: Sequence[AttemptId]) -> Head:
        """Return the head with further retries that wait; those beyond the limit are left out."""
        queue = self.queue + tuple(s for s in attempt_ids if s not in self.queue)
        return self._replace(queue=queue[:QUEUE_LIMIT])

    def to_json(self) -> dict[str, Any]:
        """Return the document, with short keys: it is in every record."""
        data: dict[str, Any] = {"s": self.sequence, "n": self.next_trial}
        if self.counts:
            data["c"] = {state.value: n for state, n in self.counts.items()}
        if self.queue:
            data["q"] = [[s.trial, s.attempt] for s in self.queue]
        if self.word:
            data["w"] = self.word.value
        if self.more:
            data["m"] = [self.more.offset, self.more.first]
        if self.exhausted:
            data["e"] = self.exhausted
        if self.reached:
            data["r"] = list(self.reached)
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Head:
        """Return the head of a record; the absent head of the first line is the empty one. Raises WrongFieldError."""
        head = _HEAD(data)
        known = {name: head[key] for key, name in _NAMES.items() if key in head}
        tail = cls(**known)
        if tail.next_trial > tail.sequence + _LARGEST_LEAD:
            raise WrongFieldError(f"{tail.next_trial} trials are more than {tail.sequence} records can claim", "n")
        return tail


#: How far the next new trial may be ahead of the number of records: each of the trials between has a folder that its
#: maker died in before it wrote a record.
_LARGEST_LEAD = 100_000

#: The names of a head's fields on disk.
_NAMES = {
    "s": "sequence",
    "n": "next_trial",
    "c": "counts",
    "q": "queue",
    "w": "word",
    "m": "more",
    "e": "exhausted",
    "r": "reached",
}
_HEAD = Fields(
    {},
    {
        **dict.fromkeys("sne", whole()),
        "c": mapping(whole(), one_of(TrialState)),
        "q": rows(ATTEMPT_ID),
        "w": one_of(SweepState),
        "m": row(RetryPage, whole(), whole()),
        "r": REACHED,
    },
)
