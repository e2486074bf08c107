"""Decide which trials run again, and with what, from how they ended. Pure; :mod:`.observe` gathers."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from slurmsweep.report.figures import counted
from slurmsweep.state.outcome import NOT_NEEDED, STOPPED_EARLY
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from slurmsweep.sizing.usage import Usage
    from slurmsweep.sizing.walltime import Bounds
    from slurmsweep.state.lifecycle import TrialState
    from slurmsweep.state.supervisor_files import SupervisorSettings

#: Trials that must fail in the same way before that is taken for a mistake of the script.
ALIKE = 3

#: Times that trials run again which fail alike and may go well: for an error that may pass, or beside others that
#: finished.
_CHANCES = 2

#: Attempts of a trial at most, unless the settings of a supervisor say otherwise.
_MOST_ATTEMPTS = 3

#: Causes of ends that a person, or the search, wanted.
_ON_PURPOSE = frozenset({"cancelled", "interrupted", STOPPED_EARLY, NOT_NEEDED})

#: Trials that must have ended badly on a node, and none well, before it is avoided.
_BAD_ON_NODE = 3

#: Of a partition's nodes at most this share is avoided: beyond it the nodes are not what is wrong.
_MOST_AVOIDED = 0.25


@dataclass(frozen=True)
class RetryPolicy:
    """The rules by which trials deserve another attempt.

    Attributes:
        states: of the trials; empty for all that ended and did not finish.
        causes: likewise.
        trials: numbers; None for all.
        max_attempts: a trial with so many has had its chance; None for no bound.
        time_factor: times the time it had, for a trial that ran out of it.
        mem_factor: times the memory, likewise.
        spared: causes of ends that were wanted: such trials are left out, without a word, unless they are named by
            number or by cause.
        force: also those that fail alike, and those that had all the partition gives.
        plain: with what is asked anyway, however they ended, and among the other trials that are started.
        only: certain next attempts; None for all.
        by_person: a person gives the command: attempts that an earlier command refused run if it is given once more.
    """

    states: frozenset[TrialState] = frozenset()
    causes: frozenset[str] = frozenset()
    trials: Collection[int] | None = None
    max_attempts: int | None = None
    time_factor: float = 2.0
    mem_factor: float = 2.0
    spared: frozenset[str] = frozenset({STOPPED_EARLY, NOT_NEEDED})
    force: bool = False
    plain: bool = False
    only: frozenset[AttemptId] | None = None
    by_person: bool = True

    @property
    def is_selective(self) -> bool:
        """Return whether some of the trials were chosen."""
        return bool(self.states or self.causes or self.trials is not None)

    def chooses(self, ended: EndedTrial) -> bool:
        """Return whether a trial is among those that were asked for."""
        return (
            (not self.states or ended.state in self.states)
            and (not self.causes or ended.cause in self.causes)
            and (self.trials is None or ended.number in self.trials)
            and (self.trials is not None or ended.cause in self.causes or ended.cause not in self.spared)
            and (self.only is None or ended.attempt_id in self.only)
        )


def retry_policy_of(settings: SupervisorSettings) -> RetryPolicy:
    """Return what deserves another attempt where a supervisor decides; what a person ended stays ended."""
    return RetryPolicy(**{"max_attempts": _MOST_ATTEMPTS, **settings.rules}, spared=_ON_PURPOSE, by_person=False)


@dataclass(frozen=True)
class EndedTrial:
    """A trial that ended and did not finish.

    Attributes:
        number, state, cause: as they are now.
        next: the number of its next attempt.
        usages: of its attempts, oldest first.
        signature: of its failure (``failures/log_end.py``); empty where it is not known.
        goes_on: its job waits to start again, and will take it up by itself.
        before: attempts up to the last one that ended at a rung: they did not go wrong.
        failed: attempts after these that failed.
        mended: what has changed since its failure, in words (``failures/mended.py``); empty for nothing known.
        may_pass: its error is of a kind that passes: of connections, file servers, time.
        blames_machine: on another machine it may go well.
        was_refused: a person has been told that this attempt is not run.
        error: the last words of its failure, as they are shown.
    """

    number: int
    state: TrialState
    cause: str
    next: int
    usages: Sequence[Usage] = ()
    signature: str = ""
    goes_on: bool = False
    before: int = 0
    failed: int = 1
    mended: str = ""
    may_pass: bool = False
    blames_machine: bool = False
    was_refused: bool = False
    error: str = ""

    @property
    def attempt_id(self) -> AttemptId:
        """Its next attempt."""
        return AttemptId(self.number, self.next)


@dataclass(frozen=True)
class ResourceOverride:
    """The resources of one group of jobs that differ from what is asked anyway.

    Attributes:
        minutes, mib: None for what is asked anyway.
    """

    minutes: int | None = None
    mib: int | None = None

    def __str__(self) -> str:
        """``with 120 min and 4096 MiB``; empty where nothing differs."""
        parts = [f"{self.minutes} min" if self.minutes else "", f"{self.mib} MiB" if self.mib else ""]
        named = " and ".join(part for part in parts if part)
        return f"with {named}" if named else ""


@dataclass(frozen=True)
class Node:
    """The ends of trials on one machine of the cluster.

    Attributes:
        failures: times it failed under a trial, or a trial blamed it.
        bad: trials that ended badly there and run again.
        good: trials that finished there.
    """

    failures: int = 0
    bad: int = 0
    good: int = 0

    def is_suspect(self) -> bool:
        """Return whether trials had better go elsewhere."""
        return self.failures > 0 or (self.bad >= _BAD_ON_NODE and not self.good)


@dataclass(frozen=True)
class RetryPlan:
    """The trials that run again and those that do not.

    Attributes:
        groups: attempts by what their jobs are given.
        whys: why each of them is run again, by trial.
        left: why others are not, by trial.
        refused: those of them that would run if a person insisted.
        avoided: nodes to stay away from.
        remarks: lines for people.
        assigned: every attempt gets a job of its own, because only some were asked for.
    """

    groups: dict[ResourceOverride, tuple[AttemptId, ...]] = field(default_factory=dict)
    whys: dict[int, str] = field(default_factory=dict)
    left: dict[int, str] = field(default_factory=dict)
    refused: tuple[AttemptId, ...] = ()
    avoided: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    assigned: bool = False

    @property
    def attempt_ids(self) -> list[AttemptId]:
        """All attempts, by trial."""
        return sorted((a for attempt_ids in self.groups.values() for a in attempt_ids), key=lambda a: a.trial)

    def reason(self, given: ResourceOverride, attempt_id: AttemptId) -> str:
        """Return why an attempt is run, without the resources that it is given."""
        return self.whys[attempt_id.trial].removesuffix(str(given)).strip()

    def left_words(self) -> list[str]:
        """Return why some trials are not run again, a line for each reason."""
        by_reason = defaultdict(list)
        for number, why in self.left.items():
            by_reason[why].append(str(number))
        return [f"not run again: trials {', '.join(numbers)} ({why})" for why, numbers in by_reason.items()]

    def to_json(self) -> dict[str, Any]:
        """Return the document of ``resubmit --dry-run --json``."""
        groups = [
            {
                "trials": [a.trial for a in attempt_ids],
                "minutes": given.minutes,
                "mib": given.mib,
                "why": {str(a.trial): self.whys[a.trial] for a in attempt_ids},
            }
            for given, attempt_ids in self.groups.items()
        ]
        return {
            "groups": groups,
            "left": {str(number): why for number, why in self.left.items()},
            "exclude": list(self.avoided),
            "remarks": list(self.remarks),
        }


def decide_retries(
    ended: Iterable[EndedTrial],
    policy: RetryPolicy,
    bounds: Bounds | None,
    *,
    asks: frozenset[str] = frozenset(),
    finished: int = 0,
) -> RetryPlan:
    """Decide which trials run again, and with what.

    Args:
        ended: trials that ended and did not finish.
        policy: which of them deserve it.
        bounds: what is asked anyway, and what the partition gives at most; None where jobs are given no limits.
        asks: of ``time`` and ``mem``, what a person said for this time: that stands.
        finished: number of trials that finished with the same program.
    """
    chosen = [trial for trial in ended if policy.chooses(trial)]
    judges = not (policy.force or policy.plain)
    alike = _alike(chosen) if judges else {}
    groups: defaultdict[ResourceOverride, list[AttemptId]] = defaultdict(list)
    whys, left, refused = {}, {}, []
    for trial in chosen:
        why, reason = _not_possible(trial, policy), ""
        if not why and judges:
            group = alike.get(trial.number)
            why, reason = _not_wise(trial, group, finished) if group else ("", trial.mended)
            why = why or (_beyond(trial, bounds, asks) if bounds else "")
            if why and policy.by_person and trial.was_refused:
                why, reason = "", "asked for once more"
            refused += [trial.attempt_id] if why else []
        if why:
            left[trial.number] = why
            continue
        given = _given(trial, policy, bounds, asks) if bounds and not policy.plain else ResourceOverride()
        groups[given].append(trial.attempt_id)
        ended_so = trial.cause or str(trial.state)
        whys[trial.number] = f"{ended_so}; {reason} {given}".strip() if reason else f"{ended_so} {given}".strip()
    assigned = policy.is_selective and not policy.plain
    return RetryPlan(_ordered(groups), whys, left, tuple(refused), assigned=assigned)


def _alike(trials: Iterable[EndedTrial]) -> dict[int, list[EndedTrial]]:
    """Return the trials that fail as at least two others do, and since which nothing was mended: each with all such."""
    sharing = defaultdict(list)
    for trial in trials:
        if trial.signature and not trial.mended:
            sharing[trial.signature].append(trial)
    return {trial.number: group for group in sharing.values() if len(group) >= ALIKE for trial in group}


def _not_wise(trial: EndedTrial, alike: Sequence[EndedTrial], finished: int) -> tuple[str, str]:
    """Return why a trial that fails as others do is not run again; or nothing, and why it is all the same."""
    is_rare = finished > len(alike)
    if trial.failed <= _CHANCES and trial.may_pass:
        return "", "such an error may pass"
    if trial.failed <= _CHANCES and is_rare:
        return "", "most trials finish"
    times = f" {trial.failed} times" if trial.may_pass or is_rare else ""
    hint = "mend it, then `slurmsweep resubmit`; the same command once more runs them as they are"
    return f"fail alike{times}: {alike[0].error or trial.signature}; {hint}", ""


def _ordered(groups: Mapping[ResourceOverride, Iterable[AttemptId]]) -> dict[ResourceOverride, tuple[AttemptId, ...]]:
    """Return the same groups, those that need least first."""
    ordered = sorted(groups.items(), key=lambda pair: (pair[0].minutes or 0, pair[0].mib or 0))
    return {given: tuple(attempt_ids) for given, attempt_ids in ordered}


def with_learnt(plan: RetryPlan, learnt: Mapping[int, ResourceOverride], reasons: Sequence[str]) -> RetryPlan:
    """Return the same plan, with what was learnt for a trial in the place of what the factors give it."""
    groups: defaultdict[ResourceOverride, list[AttemptId]] = defaultdict(list)
    whys = {}
    for given, attempt_ids in plan.groups.items():
        for attempt_id in attempt_ids:
            own = learnt.get(attempt_id.trial, ResourceOverride())
            now = ResourceOverride(own.minutes or given.minutes, own.mib or given.mib)
            groups[now].append(attempt_id)
            whys[attempt_id.trial] = f"{plan.reason(given, attempt_id)} {now}".strip()
    return replace(plan, groups=_ordered(groups), whys=whys, remarks=(*plan.remarks, *reasons))


def merged(plans: Iterable[RetryPlan]) -> RetryPlan:
    """Return one plan of several for different trials."""
    whole = RetryPlan()
    for plan in plans:
        groups = dict(whole.groups)
        for given, attempt_ids in plan.groups.items():
            groups[given] = groups.get(given, ()) + attempt_ids
        whole = RetryPlan(
            _ordered(groups),
            {**whole.whys, **plan.whys},
            {**whole.left, **plan.left},
            (*whole.refused, *plan.refused),
            tuple(dict.fromkeys((*whole.avoided, *plan.avoided))),
            tuple(dict.fromkeys((*whole.remarks, *plan.remarks))),
            assigned=whole.assigned or plan.assigned,
        )
    return whole


def nodes_to_avoid(nodes: dict[str, Node], total: int) -> tuple[tuple[str, ...], str]:
    """Return nodes to stay away from, and a remark; no node where they are too many for that to be the reason.

    ``total``: nodes of the cluster; 0 where it is not known, and then those count on which trials ended.
    """
    total = total or len(nodes)
    suspects = sorted(name for name, node in nodes.items() if node.is_suspect())
    if suspects and len(suspects) > _MOST_AVOIDED * total:
        return (), f"trials went wrong on {len(suspects)} of {total} nodes: none is avoided, it may not be the nodes"
    return tuple(suspects), f"staying away from {', '.join(suspects)}" if suspects else ""


def _not_possible(trial: EndedTrial, policy: RetryPolicy) -> str:
    """Return why a trial is not run again, whatever a person insists on; empty where it may be."""
    if trial.goes_on:
        return "its job waits in the queue, and goes on with it"
    tries = trial.next - trial.before
    if policy.max_attempts is not None and tries > policy.max_attempts:
        return f"given up after {counted(tries - 1, 'attempt')}"
    return ""


def _beyond(trial: EndedTrial, bounds: Bounds, asks: frozenset[str]) -> str:
    """Return why no job here can give a trial what its newest attempt lacked; empty where one can."""
    if not trial.usages:
        return ""
    newest = trial.usages[-1]
    minutes = int(newest.asked_minutes or 0) if newest.is_timeout and "time" not in asks else 0
    if minutes and bounds.most_minutes and minutes >= int(bounds.most_minutes):
        return f"had {minutes} min, all that the partition gives: choose another, or template requeue"
    lacked_memory = newest.is_out_of_memory and "mem" not in asks
    if lacked_memory and bounds.memory_by != "mem":
        return (
            f"a job has the memory that its {bounds.memory_by} gives: choose one with more by --aws {bounds.memory_by}="
        )
    mib = int(newest.asked_mib or 0) if lacked_memory else 0
    if mib and bounds.most_mib and mib >= int(bounds.most_mib):
        return f"had {mib} MiB, all that the partition's nodes have: choose another --partition"
    return ""


def _given(trial: EndedTrial, policy: RetryPolicy, bounds: Bounds, asks: frozenset[str]) -> ResourceOverride:
    """Return at least the time and memory that a trial had before, and more of what was too little.

    The memory that it used counts where no source says what it had.
    """
    minutes = mib = None
    newest = trial.usages[-1] if trial.usages else None
    if bounds.minutes is not None and "time" not in asks:
        wanted = [usage.asked_minutes for usage in trial.usages if usage.asked_minutes]
        if newest and newest.is_timeout:
            wanted.append(policy.time_factor * (newest.asked_minutes or bounds.minutes))
        minutes = _above(bounds.minutes, wanted, bounds.most_minutes)
    if bounds.memory_by == "mem" and "mem" not in asks:
        wanted = [usage.asked_mib for usage in trial.usages if usage.asked_mib]
        if newest and newest.is_out_of_memory:
            wanted.append(policy.mem_factor * (newest.asked_mib or bounds.mib or newest.max_rss_mib or 0.0))
        mib = _above(bounds.mib or 0.0, wanted, bounds.most_mib)
    return ResourceOverride(minutes, mib)


def _above(asked: float, wanted: Sequence[float], most: float | None) -> int | None:
    """Return the most that is wanted, up to ``most``; None where that is asked anyway."""
    need = max([*wanted, asked])
    need = min(need, most or need)
    return math.ceil(need) if need > asked else None
