"""Jobs that ask for the same: what they are for, and what they are given."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from slurmsweep.backends.base import SubmitOptions
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.tail import AttemptId


@dataclass(frozen=True)
class JobBatch:
    """Jobs that ask for the same.

    Attributes:
        wish: what they ask for.
        trials: how many trials they run in all.
        attempt_ids: what each of them is for; empty where each takes the next trial there is.
        again: next attempts of trials that ended: they may be claimed from the moment the scheduler is asked for the
            jobs, and where it refuses these the trials are what they were.
        minutes, mib: of the wish, what was learnt for each trial; None where nothing was.
    """

    wish: SubmitOptions
    trials: int
    attempt_ids: tuple[AttemptId, ...] = ()
    again: tuple[AttemptId, ...] = ()
    minutes: int | None = None
    mib: int | None = None

    def part(self, start: int, stop: int) -> JobBatch:
        """Return the batch of some of its trials."""
        attempt_ids, stop, known = self.attempt_ids[start:stop], min(stop, self.trials), set(self.again)
        again = tuple(a for a in attempt_ids if a in known) if self.attempt_ids else self.again[start:stop]
        return replace(self, trials=stop - start, attempt_ids=attempt_ids, again=again)

    @property
    def new(self) -> int:
        """Number of its trials that were claimable before: not those that this batch gives back."""
        return self.trials - len(self.again)

    def as_far_as(self, view: SweepView) -> JobBatch:
        """Return the batch without attempts that were claimed or given back since it was planned."""
        gone = {a for a in self.again if not may_be_given_back(view, a)}
        return self.without(gone | {a for a in self.attempt_ids if was_claimed(view, a)})

    def without(self, left_out: Collection[AttemptId]) -> JobBatch:
        """Return the batch without those of these attempts that it names or gives back."""
        gone = {*self.attempt_ids, *self.again}.intersection(left_out)
        attempt_ids = tuple(a for a in self.attempt_ids if a not in gone)
        again = tuple(a for a in self.again if a not in gone)
        return replace(self, trials=self.trials - len(gone), attempt_ids=attempt_ids, again=again)


@dataclass(frozen=True)
class PlanBasis:
    """The submissions that a plan counted, so that it is seen under the lock what was announced since.

    Attributes:
        known: names of submissions whose jobs the scheduler was asked about.
        spare: open trials beyond those that the plan makes jobs for: as many may have got jobs since, without harm.
    """

    known: frozenset[str]
    spare: int = 0

    def announced_since(self, view: SweepView, own: Collection[str]) -> int:
        """Return for how many new trials jobs were announced since then by others: not those of the names ``own``.

        An announcement counts also while its scheduler has not answered. One that was refused does not.
        """
        others = (
            s for s in view.submissions.values() if s.job != "" and s.name not in self.known and s.name not in own
        )
        return sum(max(0, submission.trials - len(submission.again)) for submission in others)


def was_claimed(view: SweepView, attempt_id: AttemptId) -> bool:
    """Return whether an agent has taken that attempt, or a later one of the trial."""
    trial = view.trials.get(attempt_id.trial)
    return trial is not None and trial.newest >= attempt_id.attempt


def may_be_given_back(view: SweepView, attempt_id: AttemptId) -> bool:
    """Return whether that is the next attempt of a trial that ended and did not finish, or has more rungs to run."""
    trial = view.trials.get(attempt_id.trial)
    if trial is None or trial.next_attempt != attempt_id:
        return False
    return trial.state.can_retry or trial.ended_at_rung


def with_resources(
    wish: SubmitOptions, minutes: int | None, mib: int | None, avoided: Sequence[str] = (), share: float = 1.0
) -> SubmitOptions:
    """Return the wish with other time and memory, nodes to stay away from, and a share of its width.

    A width is shared by the batches of a wave, by their sizes, each at least 1: Slurm has no limit over several arrays.
    """
    options = dict(wish.options or {})
    if minutes is not None:
        options["time"] = str(minutes)
    if mib is not None:
        options |= {"mem": f"{mib}M", "mem-per-cpu": False, "mem-per-gpu": False}  # sbatch takes one of the three
    if avoided:
        named = options.get("exclude")
        options["exclude"] = ",".join([*([str(named)] if named else []), *avoided])
    width = None if wish.width is None else max(1, int(wish.width * share))
    return replace(wish, options=options, width=width)
