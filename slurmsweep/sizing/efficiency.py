"""Compare what a sweep's attempts asked for, held and used, and advise what to ask for instead."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep import search
from slurmsweep.report.figures import counted, duration
from slurmsweep.sizing.estimate import CUT_OFF_FACTOR, fit_estimate, margin
from slurmsweep.sizing.walltime import mib_for, minutes_for, time_samples
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import STOPPED_EARLY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from slurmsweep.sizing.estimate import Sample
    from slurmsweep.sizing.usage import Ledger, Usage
    from slurmsweep.sizing.walltime import Bounds, Point
    from slurmsweep.state.manifest import Manifest
    from slurmsweep.state.replay import SweepView

#: Share of what was asked for that advice must save.
_WORTH_SAYING = 0.2

#: Number of trials that show whether parameters explain the time.
_MOST_SAMPLES = 400

#: Seconds from which an attempt tells how many CPUs it uses: accounting counts whole seconds, and start-up differs.
_TELLING_SECONDS = 10

#: Trials with a job of their own that finish sooner are mostly the start of their jobs; said of so many or more.
_WORTH_A_JOB_SECONDS, _MANY = 10, 20

#: CPUs that a trial may use beyond what it is advised to ask for: start-up and output take some.
_SPARE_LOAD = 0.1


class Advice(NamedTuple):
    """One thing to ask for differently: an option as written on the command line, and the numbers behind it."""

    option: str
    why: str


class Resource(NamedTuple):
    """Time, CPUs or memory of all attempts.

    Attributes:
        asked, used: sums over the attempts of which both are known: hours (time), core-hours (CPUs: held and
            computed), MiB (memory).
        each_asked: the most that one attempt asked for: minutes, CPUs, MiB; None where that is not known of any.
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
        """Share of what was asked for that was used; None where nothing was asked for."""
        return self.used / self.asked if self.asked else None


class Efficiency(NamedTuple):
    """What a whole sweep asked for and used.

    Attributes:
        trials: number with an attempt that ended here.
        attempts: number that ended here.
        time, cpu, memory: asked beside used.
        asked_core_hours: CPUs times time limits: what Slurm had to plan for.
        held_core_hours: CPUs times the time they were held.
        used_core_hours: what was computed.
        lost_core_hours: held by attempts that did not finish.
        saved_hours: what the longest time limit for all attempts would have asked for beyond their own limits.
        advice: what to ask for instead.
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
    """Asked and used of one resource, added up attempt by attempt; numbers only, because there may be a million."""

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
    """What is kept of all attempts: sums in seconds times CPUs, and the numbers that advice looks at."""

    def __init__(self) -> None:
        self.attempts = 0
        self.minutes, self.cpus, self.mib = _Column(), _Column(), _Column()
        self.asked = self.held = self.used = self.lost = 0.0
        # of trials that finished: seconds, MiB, CPUs used; and seconds of those that had a job for themselves
        self.seconds, self.sizes, self.loads, self.alone = array("d"), array("d"), array("d"), array("d")
        self.out_of_time, self.out_of_memory = array("d"), array("d")

    def add(self, usage: Usage) -> None:
        self.attempts += 1
        cpus = usage.asked_cpus or 1
        held = usage.held_seconds or 0.0
        load = usage.cpu_seconds / held if usage.cpu_seconds is not None and held >= _TELLING_SECONDS else None
        self.minutes.add(usage.asked_minutes, None if usage.held_seconds is None else held / 60)
        self.cpus.add(usage.asked_cpus, load, weight=held)
        self.mib.add(usage.asked_mib, usage.max_rss_mib)
        self.asked += cpus * 60 * (usage.asked_minutes or 0.0)
        self.held += cpus * held
        self.used += usage.cpu_seconds or 0.0
        numbers = [(self.out_of_time, usage.least_seconds), (self.out_of_memory, usage.least_mib)]
        if usage.state is TrialState.FINISHED:
            numbers += [(self.seconds, usage.seconds), (self.sizes, usage.max_rss_mib), (self.loads, load)]
            numbers += [(self.alone, usage.seconds)] if usage.has_job_alone else []
        elif usage.cause != STOPPED_EARLY:
            self.lost += cpus * held
        for column, number in numbers:
            if number is not None:
                column.append(number)


def measure(trials: Iterable[Sequence[Usage]], point: Point, bounds: Bounds | None) -> Efficiency:
    """Return what all trials asked for and used, in one pass; usages adopted from other sweeps are passed over.

    Args:
        trials: the usages of each.
        point: returns the parameters of a trial by its number; called for a few of them.
        bounds: of what may be asked for; None where nothing is to be advised.
    """
    sums, number = _Sums(), 0
    first: list[Sequence[Usage]] = []
    for here in ([usage for usage in usages if usage.origin is None] for usages in trials):
        number += bool(here)
        if here and number <= _MOST_SAMPLES:
            first.append(here)
        for usage in here:
            sums.add(usage)
    advice: list[Advice] = []
    if bounds:
        advice += _time_advice(sums, bounds)
        advice += _auto_advice(sums, time_samples(first, point), bounds)
        advice += [*_memory_advice(sums, bounds), *_cpu_advice(sums), *_job_advice(sums)]
    limits = sums.minutes.asked
    longest = max(limits, default=0.0)
    return Efficiency(
        trials=number,
        attempts=sums.attempts,
        time=sums.minutes.resource(60),
        cpu=sums.cpus.resource(3600),
        memory=sums.mib.resource(),
        asked_core_hours=sums.asked / 3600,
        held_core_hours=sums.held / 3600,
        used_core_hours=sums.used / 3600,
        lost_core_hours=sums.lost / 3600,
        saved_hours=sum((longest - minutes) * count for minutes, count in limits.items()) / 60,
        advice=tuple(advice),
    )


def efficiency_document(manifest: Manifest, view: SweepView, ledger: Ledger, bounds: Bounds | None) -> dict[str, Any]:
    """Return the document of ``efficiency --json``, without accounting's answer and single attempts."""

    def point(number: int) -> dict[str, Any]:
        return search.parameters(manifest.config, number, manifest.sweep_id, view.kept(number))

    found = measure(ledger.all(), point, bounds)
    resources = {"time": found.time, "cpu": found.cpu, "memory": found.memory}
    return {
        "id": manifest.sweep_id,
        **found._asdict(),
        **{name: {**resource._asdict(), "share": resource.share} for name, resource in resources.items()},
        "advice": [advice._asdict() for advice in found.advice],
    }


def _median(values: Iterable[float]) -> float:
    """Return the median of one value or more. Python's ``statistics`` would load as much as all of this module."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return (ordered[middle] + ordered[~middle]) / 2


def _time_advice(sums: _Sums, bounds: Bounds) -> Iterator[Advice]:
    asked = sums.minutes.asked
    if sums.out_of_time:
        longest = max(sums.out_of_time)
        why = f"{counted(len(sums.out_of_time), 'attempt')} ran out of time, one after {duration(longest)}"
        yield Advice(f"--time {minutes_for(CUT_OFF_FACTOR * longest, bounds)}", why)
    elif sums.seconds:
        longest = max(sums.seconds)
        enough = minutes_for(longest * margin(len(sums.seconds)), bounds)
        if enough * asked.total() < (1 - _WORTH_SAYING) * sum(minutes * n for minutes, n in asked.items()):
            why = (
                f"the longest of {counted(len(sums.seconds), 'trial')} took {duration(longest)}, of "
                f"{duration(max(asked) * 60)}"
            )
            yield Advice(f"--time {enough}", why)


def _auto_advice(sums: _Sums, samples: Sequence[Sample], bounds: Bounds) -> Iterator[Advice]:
    """Where parameters explain the time, a limit for each trial asks for less than any limit for all."""
    if not samples or len(sums.minutes.asked) != 1:
        return
    estimate = fit_estimate(samples)
    limits = [minutes_for(estimate.of(sample.params), bounds) for sample in samples]
    less = 1 - sum(limits) / (max(limits) * len(limits))
    if estimate.terms and less > _WORTH_SAYING:
        names = " and ".join(term.name for term in estimate.terms)
        yield Advice("--time auto", f"time depends on {names}: a limit for each trial asks {less * 100:.0f} % less")


def _memory_advice(sums: _Sums, bounds: Bounds) -> Iterator[Advice]:
    asked = max(sums.mib.asked, default=None)
    if sums.out_of_memory:
        largest = max(sums.out_of_memory)
        why = f"{counted(len(sums.out_of_memory), 'attempt')} ran out of memory, one at {largest:.0f} MiB"
        yield Advice(f"--mem {mib_for(CUT_OFF_FACTOR * largest, bounds)}M", why)
    elif sums.sizes and asked is not None:
        largest = max(sums.sizes)
        enough = mib_for(largest * margin(len(sums.sizes)), bounds)
        if enough < (1 - _WORTH_SAYING) * asked:
            why = f"the largest of {counted(len(sums.sizes), 'trial')} used {largest:.0f} of {asked:g} MiB"
            yield Advice(f"--mem {enough}M", why)


def _cpu_advice(sums: _Sums) -> Iterator[Advice]:
    asked = max(sums.cpus.asked, default=None)
    if not sums.loads or asked is None:
        return
    most, usual = max(sums.loads), _median(sums.loads)
    enough = max(1, math.ceil(most - _SPARE_LOAD))
    if enough < asked:
        yield Advice(f"--cpus-per-task {enough}", f"trials used {usual:.2g} of {asked:g} CPUs, the busiest {most:.2g}")


def _job_advice(sums: _Sums) -> Iterator[Advice]:
    """Where trials need one CPU and little time, a job for each costs Slurm and the sweep more than the trials do."""
    usual = _median(sums.alone) if len(sums.alone) >= _MANY else math.inf
    if usual < _WORTH_A_JOB_SECONDS and max(sums.cpus.asked, default=1) <= 1:
        half = f"half of {len(sums.alone)} trials took less than {duration(usual)}"
        yield Advice("--template packed", f"{half}: several in a job, if they need no GPU each")
