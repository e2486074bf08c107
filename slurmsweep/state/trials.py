"""All trials of a sweep that records speak of: those whose story is over as columns, the others as objects."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import merge
from typing import TYPE_CHECKING

from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.trial import Trial
from slurmsweep.state.trial_index import TrialIndex

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Collection, Iterator

    from slurmsweep.state.trial import JobSpan


class Trials(Mapping[int, Trial]):
    """Trials by number, ascending.

    What is looked up is a copy where the trial has settled: to change a trial, :meth:`open` it. Going over all of them
    makes an object of each; the questions below do not.
    """

    def __init__(self, settled: TrialIndex | None = None, unsettled: dict[int, Trial] | None = None) -> None:
        self._settled = settled or TrialIndex()
        self._objects = unsettled or {}

    def __getitem__(self, number: int) -> Trial:
        found = self._objects.get(number)
        return found or self._settled.get(number)

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and (number in self._objects or number in self._settled)

    def __iter__(self) -> Iterator[int]:
        return merge(self._settled.numbers(), sorted(self._objects))

    def __len__(self) -> int:
        return len(self._objects) + len(self._settled)

    @property
    def settled(self) -> TrialIndex:
        """The columns."""
        return self._settled

    def unsettled(self) -> list[Trial]:
        """Those that run, wait, or have more to tell than one attempt and its end; by number."""
        return [self._objects[number] for number in sorted(self._objects)]

    def open(self, number: int) -> Trial:
        """The trial of that number, to be changed; a new one where no record spoke of it."""
        if number in self._settled:
            self._objects[number] = self._settled.take(number)
        return self._objects.setdefault(number, Trial(number))

    def settle(self, number: int) -> None:
        """Keep a trial as columns, if its story fits them."""
        if self._settled.put(self._objects[number]):
            del self._objects[number]

    def counts(self) -> dict[TrialState, int]:
        """How many of each state."""
        counts = self._settled.counts()
        for trial in self._objects.values():
            counts[trial.state] = counts.get(trial.state, 0) + 1
        return counts

    def in_state(self, state: TrialState) -> Iterator[int]:
        """Numbers of those in one state, ascending."""
        others = sorted(number for number, trial in self._objects.items() if trial.state is state)
        return merge(self._settled.numbers_in(state), others)

    def of_jobs(self, jobs: Collection[str]) -> Iterator[Trial]:
        """Those of which an attempt was made by one of these Slurm jobs."""
        for trial in self.unsettled():
            if any(a.owner and a.owner.job in jobs for a in trial.attempts.values()):
                yield trial
        yield from map(self._settled.get, self._settled.of_jobs(jobs))

    def stays(self) -> Iterator[JobSpan]:
        """Of all attempts that Slurm jobs made."""
        yield from self._settled.stays()
        for trial in self.unsettled():
            yield from trial.stays()

    def nodes_of_finished(self) -> Counter[str]:
        """How many trials finished on each of Slurm's nodes."""
        nodes = self._settled.nodes_of(TrialState.FINISHED)
        for trial in self._objects.values():
            owner = trial.current.owner if trial.current else None
            if trial.state is TrialState.FINISHED and owner and owner.node:
                nodes[owner.node] += 1
        return nodes

    def times(self) -> tuple[float, float] | None:
        """Return the first and the last time of any claim or end, seconds since the epoch; None without one."""
        attempts = (attempt for trial in self._objects.values() for attempt in trial.attempts.values())
        named = (t for a in attempts for t in (a.claimed, a.outcome.ended if a.outcome else None) if t)
        times = [*(self._settled.times() or ()), *named]
        return (min(times), max(times)) if times else None

    def unknown_below(self, end: int) -> Iterator[int]:
        """Numbers below ``end`` of which no record speaks, ascending."""
        return (number for number in self._settled.absent_below(end) if number not in self._objects)
