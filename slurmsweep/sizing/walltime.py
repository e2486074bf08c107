"""Size jobs automatically: a few trials go first, the rest gets the time and memory that these show. All pure.

1. *Canaries*: a few trials (:mod:`.canaries`) run with what the user or the template asks for.
2. From those that ended, :mod:`.estimate` says what each open trial needs, by its parameters.
3. Open trials are put into a few groups (:mod:`.grouping`), each an array that asks for what its neediest trial needs.

No state is stored for this: which wave comes next follows from the journal and from the jobs that wait, so any user
may give the same command again at any time. The caller gathers the input and submits the groups.

Cost: the points of at most some hundred ended trials and a thousand open ones are computed. Only where parameters
explain the need, the points of all open trials are computed, once per wave (15 to 50 microseconds each, so about a
minute for a million); two numbers a trial are kept.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from slurmsweep.report.figures import counted
from slurmsweep.search.flat import flat
from slurmsweep.sizing import grouping
from slurmsweep.sizing.canaries import canaries_wanted, choose_canaries
from slurmsweep.sizing.estimate import CUT_OFF_FACTOR, Estimate, Sample, evenly, fit_estimate
from slurmsweep.state.lifecycle import TrialState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from slurmsweep.sizing.usage import Usage
    from slurmsweep.state.tail import AttemptId

    Point = Callable[[int], Mapping[str, Any]]

#: Minutes that are asked for at least: a hiccup of the filesystem must not end a trial of a second.
LEAST_MINUTES = 5

#: Seconds beside the command's own: Slurm warns up to half a minute early, and agent and interpreter have to start.
_AROUND = 60.0

#: MiB beside the command's own, for shell and agent; and what is asked for at least.
_AROUND_MIB, LEAST_MIB = 64, 256

#: What a second wave of canaries gets, times what the first had, where all trials of the first were cut off.
_CANARIES_AGAIN = 2.0

#: Groups of trials at most, each an array: where time or memory is sized, and where both are (3 times 2).
_GROUPS, _TIME_GROUPS, _MEMORY_GROUPS = 6, 3, 2

#: Number of open trials among which canaries are chosen, evenly from all.
_POOL = 1000


@dataclass(frozen=True)
class AutoSizing:
    """What to size automatically, the rest stays as it was asked for; and how many trials go first.

    That number is :func:`.canaries.canaries_wanted` for None.
    """

    time: bool = False
    mem: bool = False
    canaries: int | None = None


@dataclass(frozen=True)
class Bounds:
    """What jobs ask for without sizing, and the bounds of what sizing may ask for.

    Attributes:
        minutes: time limit of canaries, and of all trials without sizing; None for no limit.
        mib: likewise memory in MiB; None for the cluster's default.
        most_minutes: the partition's limit; None for none.
        most_mib: memory of the partition's largest node in MiB; None where it is not known.
        warning: seconds before the time limit at which trials are told to end.
        memory_by: the option that decides how much memory a job has.
    """

    minutes: float | None
    mib: float | None
    most_minutes: float | None
    most_mib: float | None
    warning: float
    memory_by: str = "mem"


#: Where no scheduler is asked.
NO_BOUNDS = Bounds(None, None, None, None, warning=60)


@dataclass(frozen=True)
class SizingInput:
    """All that the decision rests on.

    Attributes:
        point: returns the parameters of a trial by its number.
        open: attempts that no agent has claimed and no job waits for, in order.
        live: number of jobs of the sweep that run or wait.
        history: usages of trials that have ended, a list a trial; evenly chosen where there are very many.
        own: usages of those open trials that ran before, by number.
        bounds: of what may be asked for.
    """

    point: Point
    open: Sequence[AttemptId]
    live: int
    history: Sequence[Sequence[Usage]]
    own: Mapping[int, Sequence[Usage]]
    bounds: Bounds


class Step(Enum):
    """What a wave is for; the last three submit nothing."""

    CANARIES = "a few trials go first"
    REST = "all open trials go, sized by those that ended"
    WAIT = "too few trials have ended, and jobs of the sweep run or wait"
    STUCK = "trials have ended, and none of them finished"
    NOTHING = "no trial is open"


@dataclass(frozen=True)
class Group:
    """Attempts in order that ask for the same: one array. None for what the options of the submission say."""

    attempt_ids: tuple[AttemptId, ...]
    minutes: int | None = None
    mib: int | None = None


@dataclass(frozen=True)
class Wave:
    """What to submit next, and why.

    Attributes:
        step: what the wave is for.
        groups: what to submit, the neediest first.
        reasons: for people, one line each.
        left: number of open trials that wait for a later wave.
        live: number of jobs of the sweep that ran or waited already.
    """

    step: Step
    groups: tuple[Group, ...] = ()
    reasons: tuple[str, ...] = ()
    left: int = 0
    live: int = 0

    @property
    def is_stuck(self) -> bool:
        """Whether trials have ended and none of them finished, so that nothing is submitted."""
        return self.step is Step.STUCK

    @property
    def is_learning(self) -> bool:
        """Whether a later wave is sized by what the trials of this one show."""
        return self.step in (Step.CANARIES, Step.WAIT)


def next_wave(known: SizingInput, auto: AutoSizing) -> Wave:
    """Return the wave that comes next: canaries, the rest, or nothing now."""
    at_work = counted(known.live, "job runs or waits", "jobs run or wait")
    if not known.open:
        why = at_work if known.live else "every trial has been claimed"
        return Wave(Step.NOTHING, reasons=(f"nothing to start: {why}",))
    times = time_samples(known.history, known.point)
    pool = evenly(known.open, _POOL)
    points = [known.point(attempt_id.trial) for attempt_id in pool]
    whole = sum(not sample.is_bound for sample in times)
    wanted = auto.canaries or canaries_wanted(len(known.open) + len(known.history) + known.live, points)
    if whole and (len(times) >= wanted or not known.live):
        return _rest(known, auto, times)
    if known.live:
        reason = f"{len(times)} of {wanted} trials to learn from have ended; {at_work}"
        return Wave(Step.WAIT, reasons=(reason,), left=len(known.open), live=known.live)
    sizes = memory_samples(known.history, known.point) if auto.mem else []
    if known.history and not times and not sizes:
        reason = f"no trial finished of the {len(known.history)} that ended, so nothing can be learnt from them"
        return Wave(Step.STUCK, reasons=(reason,), left=len(known.open))
    chosen = tuple(pool[index] for index in choose_canaries(points, wanted))
    return _canaries(known, chosen, [s.value for s in times], [s.value for s in sizes if s.is_bound])


def wave_of_all(known: SizingInput, auto: AutoSizing) -> Wave:
    """Return all open trials, sized by those that ended, without canaries; no groups, and why, if none finished."""
    times = time_samples(known.history, known.point)
    if auto.time and all(sample.is_bound for sample in times):
        ended = f"no trial finished of the {len(known.history)} that ended" if known.history else "no trial has ended"
        return Wave(Step.STUCK, reasons=(f"nothing is learnt yet: {ended}",), left=len(known.open))
    return _rest(known, auto, times)


def _canaries(
    known: SizingInput, chosen: tuple[AttemptId, ...], seconds: Sequence[float], mib: Sequence[float]
) -> Wave:
    """Return a wave of canaries, with what was asked for; with twice what those before had if all were cut off."""
    minutes = minutes_for(_CANARIES_AGAIN * max(seconds), known.bounds) if seconds else None
    size = mib_for(_CANARIES_AGAIN * max(mib), known.bounds) if mib else None
    limit = known.bounds.minutes if minutes is None else minutes
    given = ("no time limit" if limit is None else f"{limit:g} min each") + (f" and {size} MiB" if size else "")
    again = f" again (all {len(known.history)} before them were cut off)" if seconds or mib else ""
    named = counted(len(chosen), "canary", "canaries")
    reason = f"{named}{again}, spread over the parameters' values, with {given}"
    return Wave(Step.CANARIES, (Group(chosen, minutes, size),), (reason,), len(known.open) - len(chosen))


def _rest(known: SizingInput, auto: AutoSizing, times: Sequence[Sample]) -> Wave:
    """Return a wave of all open trials in few groups; the neediest first, so that the longest do not end last."""
    sizes = memory_samples(known.history, known.point) if auto.mem else []
    time = fit_estimate(times) if auto.time else None
    memory = fit_estimate(sizes) if sizes else None
    needs = _needs(known, time, memory)
    minutes, mib = [need[0] for need in needs], [need[1] for need in needs]
    time_groups, memory_groups = (_TIME_GROUPS, _MEMORY_GROUPS) if time and memory else (_GROUPS, _GROUPS)
    groups = [
        Group(tuple(known.open[index] for index in alike), limit, size)
        for limit, members in _grouped(range(len(needs)), minutes, time_groups).items()
        for size, alike in _grouped(members, mib, memory_groups).items()
    ]
    groups.sort(key=lambda group: (group.minutes or 0, group.mib or 0), reverse=True)
    reasons = [estimate.explained(what) for estimate, what in ((time, "time"), (memory, "memory")) if estimate]
    if auto.mem and memory is None:
        reasons.append("memory: what the trials that ended used was not recorded, so it is asked as without learning")
    if time:
        most = known.bounds.most_minutes
        if most is not None and any((group.minutes or 0) >= int(most) for group in groups):
            reasons.append(f"some trials are given all that the partition allows ({most:g} min), and may need more")
        reasons.append(_saving(groups, known.bounds))
    return Wave(Step.REST, tuple(groups), tuple(reasons))


_Need = tuple["int | None", "int | None"]


def _needs(known: SizingInput, time: Estimate | None, memory: Estimate | None) -> list[_Need]:
    """Return minutes and MiB of each open trial. Points are computed only where a need depends on them."""
    trials, bounds = [attempt_id.trial for attempt_id in known.open], known.bounds
    if any(estimate and estimate.terms for estimate in (time, memory)):
        return [
            _need(dict(flat(known.point(trial))), known.own.get(trial, ()), time, memory, bounds) for trial in trials
        ]
    alike = _need({}, (), time, memory, bounds)
    again = {trial: _need({}, own, time, memory, bounds) for trial, own in known.own.items()}
    return [again.get(trial, alike) for trial in trials]


def _need(
    point: Mapping[str, Any], own: Sequence[Usage], time: Estimate | None, memory: Estimate | None, bounds: Bounds
) -> _Need:
    """Return what one trial is given: always more than it had when it was cut off itself."""
    seconds = [CUT_OFF_FACTOR * least for usage in own if (least := usage.least_seconds)]
    mib = [CUT_OFF_FACTOR * least for usage in own if (least := usage.least_mib)]
    return (
        minutes_for(max([time.of(point), *seconds]), bounds) if time else None,
        mib_for(max([memory.of(point), *mib]), bounds) if memory else None,
    )


def minutes_for(seconds: float, bounds: Bounds) -> int:
    """Return the time limit for a command of that length: with Slurm's early warning, rounded up, within bounds."""
    minutes = math.ceil(min(seconds + bounds.warning + _AROUND, 1e9) / 60)
    step = 1 if minutes <= 60 else 5 if minutes <= 600 else 15
    rounded = max(LEAST_MINUTES, math.ceil(minutes / step) * step)
    return rounded if bounds.most_minutes is None else max(1, min(rounded, int(bounds.most_minutes)))


def mib_for(mib: float, bounds: Bounds) -> int:
    """Return the MiB to ask for, for a command of that size: rounded up, within bounds."""
    size = math.ceil(min(mib, 1e9)) + _AROUND_MIB
    step = 64 if size <= 1024 else 256 if size <= 8192 else 1024
    rounded = max(LEAST_MIB, math.ceil(size / step) * step)
    return rounded if not bounds.most_mib else min(rounded, int(bounds.most_mib))


def time_samples(history: Iterable[Sequence[Usage]], point: Point) -> list[Sample]:
    """Return the seconds of each trial that finished, and a bound for each that ran out of time.

    A trial that was cut off and went on counts with what it took before: it needs that much in one piece.
    """

    def seconds(usages: Sequence[Usage]) -> float | None:
        *earlier, last = usages
        cut = [usage for usage in earlier if usage.is_timeout or usage.state is TrialState.PREEMPTED]
        return None if last.seconds is None else last.seconds + sum(usage.seconds or 0.0 for usage in cut)

    return _samples(history, point, seconds, lambda usage: usage.least_seconds)


def memory_samples(history: Iterable[Sequence[Usage]], point: Point) -> list[Sample]:
    """Return the MiB of each trial that finished, and a bound for each that ran out of memory."""
    return _samples(history, point, lambda usages: usages[-1].max_rss_mib or None, lambda usage: usage.least_mib)


def _samples(
    history: Iterable[Sequence[Usage]],
    point: Point,
    used: Callable[[Sequence[Usage]], float | None],
    least: Callable[[Usage], float | None],
) -> list[Sample]:
    """Return a sample for each trial that tells something: what it used if it finished, else what it needs at least."""
    found = []
    for usages in history:
        last = usages[-1]
        value = used(usages) if last.state is TrialState.FINISHED else None
        bounds = [bound for usage in usages if (bound := least(usage))]
        if value is not None:
            found.append(Sample(dict(flat(point(last.trial))), value))
        elif bounds:
            found.append(Sample(dict(flat(point(last.trial))), max(bounds), is_bound=True))
    return found


def _grouped(members: Iterable[int], needs: Sequence[int | None], most: int) -> dict[int | None, list[int]]:
    """Return the members in at most so many groups, by what the group asks for; None for those without a need."""
    members = list(members)
    counted = Counter(need for index in members if (need := needs[index]) is not None)
    limits = grouping.group_limits(counted, most) if counted else []
    found: defaultdict[int | None, list[int]] = defaultdict(list)
    for index in members:
        need = needs[index]
        found[None if need is None else grouping.limit_for(need, limits)].append(index)
    return found


def _saving(groups: Sequence[Group], bounds: Bounds) -> str:
    """Return ``asks 3.2 h in all, where 60 min for each would be 20 h: 84 % less``."""
    asked = sum(len(group.attempt_ids) * (group.minutes or 0) for group in groups)
    without = (bounds.minutes or 0) * sum(len(group.attempt_ids) for group in groups)
    text = f"asks {_hours(asked)} in all"
    if not without:
        return text
    change = f"{abs(1 - asked / without) * 100:.0f} % {'less' if asked < without else 'more'}"
    return f"{text}, where {bounds.minutes:g} min each would be {_hours(without)}: {change}"


def _hours(minutes: float) -> str:
    return f"{minutes / 60:.0f} h" if minutes >= 6000 else f"{minutes / 60:.3g} h"
