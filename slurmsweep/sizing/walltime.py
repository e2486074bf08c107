"""Time and memory that are learnt: a few trials first, then the rest with what these showed. The decisions, all pure.

Nothing is stored for it: which wave comes next follows from the journal and from what waits in Slurm, so the same
command may be given again at any time, and by anybody. :mod:`slurmsweep.control.waves` gathers and carries out.

Cost: the points of at most some hundred ended trials and a thousand open ones are computed to learn and to choose
canaries. Only where parameters explain the need, those of all open trials are computed, once per wave (15 to 50
microseconds each: a million in about a minute); only two numbers a trial are kept.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from slurmsweep.sizing import grouping
from slurmsweep.sizing.canaries import canaries_wanted, spread
from slurmsweep.sizing.estimate import BEYOND, Estimate, Sample, flat, learn
from slurmsweep.state.lifecycle import TrialState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from slurmsweep.sizing.usage import Usage
    from slurmsweep.state.tail import AttemptId

#: Minutes that are asked at least: a hiccup of the filesystem must not end a trial of a second.
LEAST_MINUTES = 5

#: Seconds beside the command's own: Slurm warns up to half a minute early, and agent and interpreter have to start.
_AROUND = 60.0

#: MiB beside the command's own, for shell and agent; and what is asked at least.
_AROUND_MIB = 64
LEAST_MIB = 256

#: A second canary wave, where all trials of the first were cut off, gets so many times more.
_CANARIES_AGAIN = 2.0

#: Groups of trials at most, each an array: where one of time and memory is learnt, and where both are (3 times 2).
_GROUPS, _TIME_GROUPS, _MEMORY_GROUPS = 6, 3, 2

#: Open trials among which canaries are chosen, evenly from all.
_POOL = 1000


@dataclass(frozen=True)
class Learn:
    """What is to be learnt instead of asked.

    Attributes:
        time, mem: which of the two.
        canaries: trials to learn from; None for what :func:`spread.canaries_wanted` says.
    """

    time: bool = False
    mem: bool = False
    canaries: int | None = None


@dataclass(frozen=True)
class Bounds:
    """Within what is asked.

    Attributes:
        minutes: what canaries are given, and what everything would be without learning; None for no limit.
        mib: likewise; None for the cluster's default.
        most_minutes: the partition's limit; None for none.
        most_mib: of the partition's nodes; None where nobody knows.
        warning: seconds before the limit at which trials are told to end.
    """

    minutes: float | None
    mib: float | None
    most_minutes: float | None
    most_mib: float | None
    warning: float


@dataclass(frozen=True)
class SizingInput:
    """All that the decision rests on.

    Attributes:
        point: the parameters of a trial by its number.
        open: attempts that nobody has claimed and no job waits for, in order.
        live: jobs of the sweep that run or wait.
        history: usages of trials that have ended, evenly chosen where there are very many.
        own: usages of those open trials that ran before, by number.
        bounds: of what may be asked.
    """

    point: Callable[[int], Mapping[str, Any]]
    open: Sequence[AttemptId]
    live: int
    history: Sequence[Sequence[Usage]]
    own: Mapping[int, Sequence[Usage]]
    bounds: Bounds


class Step(Enum):
    """What there is to do."""

    CANARIES = "a few trials go first"
    REST = "the rest, with what was learnt"
    WAIT = "too few trials have ended, and some are on their way"
    STUCK = "trials have ended, and none of them finished"
    NOTHING = "no trial is open"


@dataclass(frozen=True)
class Group:
    """Trials that are given the same.

    Attributes:
        attempt_ids: in the order of their numbers.
        minutes, mib: what each is given; None for what the options say.
    """

    attempt_ids: tuple[AttemptId, ...]
    minutes: int | None = None
    mib: int | None = None


@dataclass(frozen=True)
class Wave:
    """What comes next, and why.

    Attributes:
        step: what to do.
        groups: to be submitted, the neediest first.
        reasons: for people, one line each.
        left: open trials that wait for a later wave.
        live: jobs of the sweep that ran or waited already.
    """

    step: Step
    groups: tuple[Group, ...] = ()
    reasons: tuple[str, ...] = ()
    left: int = 0
    live: int = 0


def next_wave(known: SizingInput, wish: Learn) -> Wave:
    """Decide. Asks nobody and writes nothing."""
    if not known.open:
        running = f"{known.live} jobs run or wait in Slurm" if known.live else "every trial has been claimed"
        return Wave(Step.NOTHING, reasons=(f"nothing to start: {running}",))
    times = time_samples(known.history, known.point)
    pool = _evenly(known.open, _POOL)
    points = [known.point(attempt_id.trial) for attempt_id in pool]
    whole = sum(not sample.is_bound for sample in times)
    wanted = wish.canaries or canaries_wanted(len(known.open) + len(known.history) + known.live, points)
    if whole and (len(times) >= wanted or not known.live):
        return _rest(known, wish, times)
    if known.live:
        reason = f"{len(times)} of {wanted} trials to learn from have ended; {known.live} jobs run or wait in Slurm"
        return Wave(Step.WAIT, reasons=(reason,), left=len(known.open), live=known.live)
    sizes = memory_samples(known.history, known.point) if wish.mem else []
    if known.history and not times and not sizes:
        reason = f"none of the {len(known.history)} trials that ended finished, so nothing can be learnt from them"
        return Wave(Step.STUCK, reasons=(reason,), left=len(known.open))
    chosen = tuple(pool[index] for index in spread(points, wanted))
    return _canaries(known, chosen, [s.value for s in times], [s.value for s in sizes if s.is_bound])


def as_learnt(known: SizingInput, wish: Learn) -> Wave:
    """All open trials with what was learnt; no groups, and why, where trials that finished have shown nothing yet."""
    times = time_samples(known.history, known.point)
    if wish.time and all(sample.is_bound for sample in times):
        ended = f"of {len(known.history)} trials that ended none finished" if known.history else "no trial has ended"
        return Wave(Step.STUCK, reasons=(f"nothing is learnt yet: {ended}",), left=len(known.open))
    return _rest(known, wish, times)


def _canaries(
    known: SizingInput, chosen: tuple[AttemptId, ...], seconds: Sequence[float], mib: Sequence[float]
) -> Wave:
    """A few trials, with what was asked; or with twice what those before them had, none of which finished."""
    minutes = minutes_for(_CANARIES_AGAIN * max(seconds), known.bounds) if seconds else None
    size = mib_for(_CANARIES_AGAIN * max(mib), known.bounds) if mib else None
    limit = known.bounds.minutes if minutes is None else minutes
    given = ("no time limit" if limit is None else f"{limit:g} min each") + (f" and {size} MiB" if size else "")
    again = f" again (all {len(known.history)} before them were cut off)" if seconds or mib else ""
    named = "1 canary" if len(chosen) == 1 else f"{len(chosen)} canaries"
    reason = f"{named}{again}, spread over the parameters' values, with {given}"
    return Wave(Step.CANARIES, (Group(chosen, minutes, size),), (reason,), len(known.open) - len(chosen))


def _rest(known: SizingInput, wish: Learn, times: Sequence[Sample]) -> Wave:
    """All open trials in few groups."""
    sizes = memory_samples(known.history, known.point) if wish.mem else []
    time = learn(times) if wish.time else None
    memory = learn(sizes) if sizes else None
    needs = _needs(known, time, memory)
    groups = _grouped(known.open, needs, both=bool(time and memory))
    reasons = [estimate.explained(what) for estimate, what in ((time, "time"), (memory, "memory")) if estimate]
    if wish.mem and memory is None:
        reasons.append("memory: what the trials that ended used was not recorded, so it is asked as without learning")
    if time:
        reasons += [*_cut_short(groups, known.bounds), _saving(groups, known.bounds)]
    return Wave(Step.REST, tuple(groups), tuple(reasons))


_Need = tuple["int | None", "int | None"]


def _needs(known: SizingInput, time: Estimate | None, memory: Estimate | None) -> list[_Need]:
    """Minutes and MiB of each open trial. Points are computed where something depends on them, and not kept."""
    if not any(estimate and estimate.terms for estimate in (time, memory)):
        alike = _need({}, (), time, memory, known.bounds)
        again = {number: _need({}, own, time, memory, known.bounds) for number, own in known.own.items()}
        return [again.get(attempt_id.trial, alike) for attempt_id in known.open]
    return [
        _need(flat(known.point(attempt_id.trial)), known.own.get(attempt_id.trial, ()), time, memory, known.bounds)
        for attempt_id in known.open
    ]


def _need(
    point: Mapping[str, Any], own: Sequence[Usage], time: Estimate | None, memory: Estimate | None, bounds: Bounds
) -> _Need:
    """What one trial is given: never less than beyond what it was cut off at itself."""
    seconds = [BEYOND * least for usage in own if (least := usage.least_seconds)]
    mib = [BEYOND * least for usage in own if (least := usage.least_mib)]
    return (
        minutes_for(max([time.of(point), *seconds]), bounds) if time else None,
        mib_for(max([memory.of(point), *mib]), bounds) if memory else None,
    )


def minutes_for(seconds: float, bounds: Bounds) -> int:
    """The time limit for a command of that length: with Slurm's early warning, rounded up, within the bounds."""
    minutes = math.ceil(min(seconds + bounds.warning + _AROUND, 1e9) / 60)
    step = 1 if minutes <= 60 else 5 if minutes <= 600 else 15
    rounded = max(LEAST_MINUTES, -(-minutes // step) * step)
    return rounded if bounds.most_minutes is None else max(1, min(rounded, int(bounds.most_minutes)))


def mib_for(mib: float, bounds: Bounds) -> int:
    """The memory to ask for a command of that size, rounded up, within the bounds."""
    size = math.ceil(min(mib, 1e9)) + _AROUND_MIB
    step = 64 if size <= 1024 else 256 if size <= 8192 else 1024
    rounded = max(LEAST_MIB, -(-size // step) * step)
    return rounded if not bounds.most_mib else min(rounded, int(bounds.most_mib))


def time_samples(history: Iterable[Sequence[Usage]], point: Callable[[int], Mapping[str, Any]]) -> list[Sample]:
    """Seconds of each trial that finished, and bounds of those that ran out of time.

    A trial that was cut off and went on counts with what it took before: it needs that much in one piece.
    """
    found = []
    for usages in history:
        last = usages[-1]
        if last.state is TrialState.FINISHED and last.seconds is not None:
            before = sum(usage.seconds or 0.0 for usage in usages[:-1] if _goes_on(usage))
            found.append(Sample(flat(point(last.trial)), last.seconds + before))
        elif cut := [least for usage in usages if (least := usage.least_seconds)]:
            found.append(Sample(flat(point(last.trial)), max(cut), is_bound=True))
    return found


def memory_samples(history: Iterable[Sequence[Usage]], point: Callable[[int], Mapping[str, Any]]) -> list[Sample]:
    """MiB of each trial that finished, and bounds of those that ran out of memory."""
    found = []
    for usages in history:
        last = usages[-1]
        if last.state is TrialState.FINISHED and last.max_rss_mib:
            found.append(Sample(flat(point(last.trial)), last.max_rss_mib))
        elif cut := [least for usage in usages if (least := usage.least_mib)]:
            found.append(Sample(flat(point(last.trial)), max(cut), is_bound=True))
    return found


def _goes_on(usage: Usage) -> bool:
    return usage.is_timeout or usage.state is TrialState.PREEMPTED


def _grouped(attempt_ids: Sequence[AttemptId], needs: Sequence[_Need], *, both: bool) -> list[Group]:
    """Few groups by time, and within each by memory; the neediest first, so that the longest do not end last."""
    minutes = _limits((need[0] for need in needs), _TIME_GROUPS if both else _GROUPS)
    by_time: defaultdict[int | None, list[int]] = defaultdict(list)
    for index, need in enumerate(needs):
        by_time[_given(need[0], minutes)].append(index)
    groups = []
    for given, members in by_time.items():
        mib = _limits((needs[index][1] for index in members), _MEMORY_GROUPS if both else _GROUPS)
        by_memory: defaultdict[int | None, list[AttemptId]] = defaultdict(list)
        for index in members:
            by_memory[_given(needs[index][1], mib)].append(attempt_ids[index])
        groups += [Group(tuple(chosen), given, size) for size, chosen in by_memory.items()]
    return sorted(groups, key=lambda group: (group.minutes or 0, group.mib or 0), reverse=True)


def _limits(needs: Iterable[int | None], most: int) -> list[int]:
    counted = Counter(need for need in needs if need is not None)
    return grouping.bounds(counted, most) if counted else []


def _given(need: int | None, limits: Sequence[int]) -> int | None:
    return None if need is None else grouping.group_of(need, limits)


def _cut_short(groups: Sequence[Group], bounds: Bounds) -> list[str]:
    most = bounds.most_minutes
    if most is None or not any((group.minutes or 0) >= int(most) for group in groups):
        return []
    return [f"some trials are given all that the partition allows ({most:g} min), and may need more"]


def _saving(groups: Sequence[Group], bounds: Bounds) -> str:
    """``asks 3.2 h in all, where 60 min for each would be 20 h: 84 % less``."""
    asked = sum(len(group.attempt_ids) * (group.minutes or 0) for group in groups)
    text = f"asks {_hours(asked)} in all"
    if bounds.minutes is None:
        return text
    without = bounds.minutes * sum(len(group.attempt_ids) for group in groups)
    change = f"{abs(1 - asked / without) * 100:.0f} % {'less' if asked < without else 'more'}"
    return f"{text}, where {bounds.minutes:g} min each would be {_hours(without)}: {change}"


def _hours(minutes: float) -> str:
    return f"{minutes / 60:.0f} h" if minutes >= 6000 else f"{minutes / 60:.3g} h"


def _evenly(attempt_ids: Sequence[AttemptId], most: int) -> Sequence[AttemptId]:
    if len(attempt_ids) <= most:
        return attempt_ids
    return [attempt_ids[place * len(attempt_ids) // most] for place in range(most)]
