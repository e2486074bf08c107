"""Asked beside used: what a sweep's attempts asked of Slurm, held and used, and what to ask instead."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.state.lifecycle import TrialState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from slurmsweep.sizing.usage import Usage
    from slurmsweep.sizing.walltime import Bounds

#: Advice is given where it changes at least so much of what was asked.
_WORTH_SAYING = 0.2

#: Trials from which it is learnt whether parameters explain the time.
_MOST_SAMPLES = 400

#: Accounting counts whole seconds, and a start-up is not what a trial is like: shorter ones tell nothing of CPUs.
_TELLING_SECONDS = 10

#: Trials with a job of their own that finish sooner are mostly the start of their jobs; from so many on it is said.
_WORTH_A_JOB_SECONDS = 10
_MANY = 20

#: CPUs a trial may use more than it is advised to ask for: start-up and output take some.
_SPARE_LOAD = 0.1


class Advice(NamedTuple):
    """One thing to ask differently.

    Attributes:
        option: as it is written on the command line.
        why: the numbers behind it.
    """

    option: str
    why: str


class Resource(NamedTuple):
    """One of time, CPUs, memory.

    Attributes:
        asked, used: in all: hours (time), core-hours (CPUs: held and computed), MiB of all attempts (memory); of those
            attempts of which both are known.
        each_asked: the most that one attempt asked: minutes, CPUs, MiB; None where nobody knows.
        each_used: median of the attempts.
        most_used: the most that one attempt used.
    """

    asked: float
    used: float
    each_asked: float | None
    each_used: float | None
    most_used: float | None

    @property
    def share(self) -> float | None:
        """Of what was asked, what was used."""
        return self.used / self.asked if self.asked else None


class Efficiency(NamedTuple):
    """Of a whole sweep.

    Attributes:
        trials: with an attempt that ended here.
        attempts: that ended here.
        time, cpu, memory: asked beside used.
        asked_core_hours: of all limits: what Slurm had to plan for.
        held_core_hours: CPUs times the time they were held.
        used_core_hours: that was computed.
        lost_core_hours: held by attempts that did not finish.
        saved_hours: by limits that differ: hours that the longest of them for all would have asked more.
        advice: what to ask instead.
    """

    trials: int
    attempts: int
    time: Resource
    cpu: Resource
    memory: Resource
    asked_core_hours: float
    held_core_hours: float
    used_core_hours: float
    lost_core_hours: float
    saved_hours: float
    advice: tuple[Advice, ...]


class _Column:
    """Asked and used of one resource, as attempts come by: numbers only, because there may be a million."""

    def __init__(self) -> None:
        self.asked_in_all = self.used_in_all = 0.0
        self.asked: Counter[float] = Counter()
        self.used = array("d")

    def add(self, asked: float | None, used: float | None, weight: float = 1.0) -> None:
        if asked is not None:
            self.asked[asked] += 1
        if used is not None:
            self.used.append(used)
        if asked is not None and used is not None:
            self.asked_in_all += asked * weight
            self.used_in_all += used * weight

    def resource(self, scale: float = 1.0) -> Resource:
        return Resource(
            self.asked_in_all / scale,
            self.used_in_all / scale,
            max(self.asked, default=None),
            _median(self.used) if self.used else None,
            max(self.used, default=None),
        )


class _Sums:
    """What is kept of all attempts."""

    def __init__(self) -> None:
        self.trials = self.attempts = self.finished = 0
        self.minutes, self.cpus, self.mib = _Column(), _Column(), _Column()
        self.asked = self.held = self.used = self.lost = 0.0
        self.alone = array("d")
        self.loads, self.seconds, self.sizes = array("d"), array("d"), array("d")
        self.out_of_time, self.out_of_memory = array("d"), array("d")
        self.some: list[list[Usage]] = []


def measure(
    trials: Iterable[Sequence[Usage]],
    point: Callable[[int], Mapping[str, Any]] | None = None,
    bounds: Bounds | None = None,
) -> Efficiency:
    """One pass over the usages of all trials.

    Args:
        trials: usages by trial; those of other sweeps, which were adopted, are passed over.
        point: parameters by number, for a few of them.
        bounds: within which advice stays; None for no advice.
    """
    sums = _Sums()
    for usages in trials:
        here = [usage for usage in usages if usage.origin is None]
        if here:
            _add_trial(sums, here)
    return Efficiency(
        trials=sums.trials,
        attempts=sums.attempts,
        time=sums.minutes.resource(60),
        cpu=sums.cpus.resource(3600),
        memory=sums.mib.resource(),
        asked_core_hours=sums.asked / 3600,
        held_core_hours=sums.held / 3600,
        used_core_hours=sums.used / 3600,
        lost_core_hours=sums.lost / 3600,
        saved_hours=_saved_minutes(sums.minutes.asked) / 60,
        advice=tuple(_advice(sums, point, bounds)) if point and bounds else (),
    )


def _add_trial(sums: _Sums, usages: list[Usage]) -> None:
    sums.trials += 1
    if len(sums.some) < _MOST_SAMPLES:
        sums.some.append(usages)
    for usage in usages:
        _add(sums, usage)


def _add(sums: _Sums, usage: Usage) -> None:
    sums.attempts += 1
    cpus = usage.asked_cpus or 1
    held = usage.held_seconds or 0.0
    load = usage.cpu_seconds / held if usage.cpu_seconds is not None and held >= _TELLING_SECONDS else None
    sums.minutes.add(usage.asked_minutes, held / 60 if usage.held_seconds is not None else None)
    sums.cpus.add(usage.asked_cpus, load, weight=held)
    sums.mib.add(usage.asked_mib, usage.max_rss_mib)
    sums.asked += cpus * 60 * (usage.asked_minutes or 0.0)
    sums.held += cpus * held
    sums.used += usage.cpu_seconds or 0.0
    if usage.state is TrialState.FINISHED:
        sums.finished += 1
        for column, value in ((sums.seconds, usage.seconds), (sums.sizes, usage.max_rss_mib), (sums.loads, load)):
            if value is not None:
                column.append(value)
        if usage.has_job_alone and usage.seconds is not None:
            sums.alone.append(usage.seconds)
    else:
        sums.lost += cpus * held
    if (least := usage.least_seconds) is not None:
        sums.out_of_time.append(least)
    if (least := usage.least_mib) is not None:
        sums.out_of_memory.append(least)


def _median(values: Iterable[float]) -> float:
    """Of one value or more. Python's ``statistics`` would load as much again as all this takes."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return (ordered[middle] + ordered[~middle]) / 2


def _saved_minutes(asked: Counter[float]) -> float:
    """What the longest limit for all would have asked more."""
    most = max(asked, default=0.0)
    return sum((most - minutes) * count for minutes, count in asked.items())


def _advice(sums: _Sums, point: Callable[[int], Mapping[str, Any]], bounds: Bounds) -> Iterable[Advice]:
    yield from _time_advice(sums, point, bounds)
    yield from _memory_advice(sums, bounds)
    yield from _cpu_advice(sums)
    yield from _job_advice(sums)


def _time_advice(sums: _Sums, point: Callable[[int], Mapping[str, Any]], bounds: Bounds) -> Iterable[Advice]:
    from slurmsweep.sizing.estimate import BEYOND, margin
    from slurmsweep.sizing.walltime import minutes_for

    asked = sums.minutes.asked
    if sums.out_of_time:
        longest = max(sums.out_of_time)
        why = f"{_attempts(sums.out_of_time)} ran out of time, one after {_time(longest)}"
        yield Advice(f"--time {minutes_for(BEYOND * longest, bounds)}", why)
    elif sums.seconds:
        enough = minutes_for(max(sums.seconds) * margin(len(sums.seconds)), bounds)
        if enough * asked.total() < (1 - _WORTH_SAYING) * sum(minutes * n for minutes, n in asked.items()):
            longest_text = f"the longest of {len(sums.seconds)} trials took {_time(max(sums.seconds))}"
            yield Advice(f"--time {enough}", f"{longest_text}, of {max(asked):g} min")
    if len(asked) == 1:
        yield from _auto_advice(sums, point, bounds)


def _auto_advice(sums: _Sums, point: Callable[[int], Mapping[str, Any]], bounds: Bounds) -> Iterable[Advice]:
    """Where parameters explain the time, a limit for each trial asks less than any limit for all."""
    from slurmsweep.sizing.estimate import learn
    from slurmsweep.sizing.walltime import minutes_for, time_samples

    samples = time_samples(sums.some, point)
    if not samples:
        return
    estimate = learn(samples)
    limits = [minutes_for(estimate.of(sample.params), bounds) for sample in samples]
    less = 1 - sum(limits) / (max(limits) * len(limits))
    if estimate.terms and less > _WORTH_SAYING:
        names = " and ".join(term.name for term in estimate.terms)
        yield Advice("--time auto", f"time depends on {names}: a limit for each trial asks {less * 100:.0f} % less")


def _memory_advice(sums: _Sums, bounds: Bounds) -> Iterable[Advice]:
    from slurmsweep.sizing.estimate import BEYOND, margin
    from slurmsweep.sizing.walltime import mib_for

    asked = max(sums.mib.asked, default=None)
    if sums.out_of_memory:
        largest = max(sums.out_of_memory)
        why = f"{_attempts(sums.out_of_memory)} ran out of memory, one at {largest:.0f} MiB"
        yield Advice(f"--mem {mib_for(BEYOND * largest, bounds)}M", why)
    elif sums.sizes:
        largest = max(sums.sizes)
        enough = mib_for(largest * margin(len(sums.sizes)), bounds)
        if asked is not None and enough < (1 - _WORTH_SAYING) * asked:
            why = f"the largest of {len(sums.sizes)} trials used {largest:.0f} of {asked:g} MiB"
            yield Advice(f"--mem {enough}M", why)


def _cpu_advice(sums: _Sums) -> Iterable[Advice]:
    asked = max(sums.cpus.asked, default=None)
    if not sums.loads or asked is None:
        return
    most, usual = max(sums.loads), _median(sums.loads)
    enough = max(1, math.ceil(most - _SPARE_LOAD))
    if enough < asked:
        yield Advice(f"--cpus-per-task {enough}", f"trials used {usual:.2g} of {asked:g} CPUs, the busiest {most:.2g}")


def _job_advice(sums: _Sums) -> Iterable[Advice]:
    """Where trials need one CPU and little time, a job for each costs Slurm and the sweep more than the trials do."""
    usual = _median(sums.alone) if len(sums.alone) >= _MANY else math.inf
    if usual < _WORTH_A_JOB_SECONDS and max(sums.cpus.asked, default=1) <= 1:
        half = f"half of {len(sums.alone)} trials took less than {_time(usual)}"
        yield Advice("--template packed", f"{half}: several in a job, if they need no GPU each")


def _attempts(cut_off: Sequence[float]) -> str:
    return f"{len(cut_off)} attempt{'s' if len(cut_off) > 1 else ''}"


def _time(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 60 else f"{seconds / 60:.3g} min"
