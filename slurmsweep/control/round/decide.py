"""Decide what to do with a sweep: situation and policy to plan. Pure: it asks nothing and writes nothing.

``run``, ``submit``, ``resubmit`` and a supervisor's round are policies over this one decision; what they have found is
gathered in :mod:`.observe`, and what they decide is done by :mod:`.apply`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from slurmsweep.backends.base import Ability, SubmitOptions
from slurmsweep.control.round import retry_policy
from slurmsweep.control.round.batch import JobBatch, PlanBasis, may_be_given_back, with_resources
from slurmsweep.control.round.retry_policy import Node, ResourceOverride, RetryPlan, RetryPolicy
from slurmsweep.errors import UsageError
from slurmsweep.report.figures import counted
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.tail import AttemptId, in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from slurmsweep.control.round.retry_policy import EndedTrial
    from slurmsweep.control.snapshot import Snapshot
    from slurmsweep.learning.rungs import Promotion
    from slurmsweep.sizing.usage import Ledger, LedgerOfRung
    from slurmsweep.sizing.walltime import AutoSizing, Bounds, SizingInput, Wave
    from slurmsweep.state.replay import SweepView
    from slurmsweep.sweepfile.sections import Metric

#: Trials that ended and are looked at to size others: evenly from all that ended in the same way.
MOST_HISTORY = 500

#: Arrays one after the other whose jobs end before they claim a trial: others would end like them (a missing module).
_FRUITLESS = 2


@dataclass(frozen=True)
class Policy:
    """The aim of a command: which trials start, and with what.

    Attributes:
        wish: what new jobs ask for.
        count: trials to start, retries included; None for all retries, and with ``all_open`` every open trial.
        all_open: without a ``count`` start the trials, too, that no agent has claimed and no job waits for.
        retry: which trials that ended run again; None for none.
        sizing: learn the time and memory of jobs in the place of asking for those of ``wish``; None for no learning.
        reopen: a sweep that a person paused or ended runs again; one that reached its target does not.
        goal: number of trials in all where the search has no end; None for no such bound.
        give_up_on_fruitless: submit nothing after arrays whose jobs all ended without claiming a trial.
    """

    wish: SubmitOptions = field(default_factory=SubmitOptions)
    count: int | None = None
    all_open: bool = True
    retry: RetryPolicy | None = None
    sizing: AutoSizing | None = None
    reopen: bool = False
    goal: int | None = None
    give_up_on_fruitless: bool = False

    @property
    def judges_ends(self) -> bool:
        """Return whether it matters how the trials ended that run again."""
        return self.retry is not None and not self.retry.plain

    @property
    def sizes_retries(self) -> bool:
        """Return whether what is learnt is for the trials that run again, and for no other."""
        return self.judges_ends and not self.all_open


@dataclass(frozen=True)
class RungSituation:
    """Where the trials of a sweep with rungs stand.

    Attributes:
        promotions: trials that may go on, the best first.
        minutes: time limits of the jobs of each rung; None where nothing says one.
        rung_of: the index of the rung that the next attempt of a trial runs to.
    """

    promotions: tuple[Promotion, ...]
    minutes: tuple[int | None, ...]
    rung_of: Callable[[int], int]


@dataclass(frozen=True)
class Situation:
    """All that a decision rests on.

    Attributes:
        snapshot: of the sweep: its view, and what witnesses say.
        method: of the search.
        trials: of the search in all; None where it has no end.
        open: trials that no agent has claimed, new ones and retries; None where the search has no end.
        abilities: of the backend that runs the next jobs.
        ended: trials that ended and did not finish.
        bounds: what jobs ask for and get at most; None where the policy does not need it.
        nodes: how many nodes the cluster has; 0 where that is not known.
        ledger: what trials used.
        reserved: attempts that waiting jobs were made for.
        unreserved: trials that waiting jobs take, whichever is next.
        point: parameters of a trial by its number.
        held: jobs that wait for ever because a node failed to start them.
        asked_for: of ``time`` and ``mem``, what the wish says for this time: that stands.
        rungs: where each trial stands; None for a sweep without rungs.
        metric: of the sweep.
        finished: number of trials that finished here, as far as it matters for those that fail alike.
    """

    snapshot: Snapshot
    method: str
    trials: int | None
    open: int | None
    abilities: frozenset[Ability]
    ended: tuple[EndedTrial, ...] = ()
    bounds: Bounds | None = None
    nodes: int = 0
    ledger: Ledger | LedgerOfRung | None = None
    reserved: frozenset[AttemptId] = frozenset()
    unreserved: int = 0
    point: Callable[[int], Mapping[str, Any]] = lambda _: {}
    held: tuple[str, ...] = ()
    asked_for: frozenset[str] = frozenset()
    rungs: RungSituation | None = None
    metric: Metric | None = None
    finished: int = 0

    @property
    def view(self) -> SweepView:
        """The journal's state."""
        return self.snapshot.view


@dataclass(frozen=True)
class Plan:
    """A decision, in the order in which :mod:`.apply` carries it out.

    Attributes:
        release: jobs to release, because a node failed to start them.
        reopen: a paused or ended sweep runs again: with the first jobs, or by itself where there are none.
        batches: jobs to submit, in the order in which they take what room there is.
        retry: which trials run again and which do not, with reasons.
        wave: what was decided about learning time and memory; None without learning.
        nothing: why no job is started; empty where some are.
        remarks: lines for people.
        others_open: trials that wait for a first attempt, which this policy does not start.
        basis: what was known of other submissions; None where any number of jobs has trials to run.
    """

    release: tuple[str, ...] = ()
    reopen: bool = False
    batches: tuple[JobBatch, ...] = ()
    retry: RetryPlan = field(default_factory=RetryPlan)
    wave: Wave | None = None
    nothing: str = ""
    remarks: tuple[str, ...] = ()
    others_open: int = 0
    basis: PlanBasis | None = None

    @property
    def trials(self) -> int:
        """Number of trials that the batches run."""
        return sum(batch.trials for batch in self.batches)

    @property
    def is_stuck(self) -> bool:
        """Whether time or memory is to be learnt, and no trial that ended finished."""
        return self.wave is not None and self.wave.is_stuck

    @property
    def is_learning(self) -> bool:
        """Whether a later wave is sized by what the trials of this one show."""
        return self.wave is not None and self.wave.is_learning

    def to_json(self) -> dict[str, Any]:
        """Return the plan as a document: the one of ``--dry-run --json``."""
        batches = [
            {
                "trials": batch.trials,
                "attempts": [list(a) for a in batch.attempt_ids],
                "retried": [a.trial for a in batch.again],
                "options": dict(batch.wish.options or {}),
                "width": batch.wish.width,
                "template": batch.wish.template,
            }
            for batch in self.batches
        ]
        waves = {"step": self.wave.step.name.lower(), "left": self.wave.left} if self.wave else {}
        rest = {"reopens": self.reopen, "release": list(self.release), "nothing": self.nothing}
        return {"batches": batches, **self.retry.to_json(), **waves, **rest}


def decide(situation: Situation, policy: Policy) -> Plan:
    """Decide what to do now.

    Raises:
        UsageError: the search has no end and nothing says how many trials; or nothing could be learnt yet.
    """
    word, reached = situation.view.word, situation.view.reached
    if word is not None and (reached or not policy.reopen):
        hint = "; `slurmsweep resume` lifts that" if reached else ""
        return Plan(nothing=f"the sweep is {in_words(word, reached, situation.metric)}{hint}")
    rungs = situation.rungs
    retry = _retries_by_rung(situation, policy, rungs) if rungs else _retries(situation, policy)
    own, shared = _batches(situation, policy, retry)
    if rungs:
        own += _promoted(situation, policy, rungs)
        situation = _at_rung(situation, rungs, 0)
        policy = replace(policy, wish=with_resources(policy.wish, rungs.minutes[0], None))
    total = _trials_wanted(situation, policy, len(shared))
    shared = shared[:total]
    basis = _basis(situation, policy, len(shared), total)
    plan = Plan(release=situation.held, retry=retry, reopen=word is not None, batches=tuple(own), basis=basis)
    is_round = policy.give_up_on_fruitless
    if is_round and total and _came_to_nothing(situation.snapshot):
        said = "; ".join(group.words for group in situation.snapshot.ended_in_vain)
        remark = (
            f"no more jobs for {total} trials: the last {_FRUITLESS} arrays ended without claiming one; "
            f"{said or 'their output in the folder jobs/ of the sweep says why'}"
        )
        return replace(plan, remarks=(remark,))
    if policy.sizing and not policy.sizes_retries and Ability.LIMIT in situation.abilities and (total or not is_round):
        return _in_waves(situation, policy, policy.sizing, plan, shared, total)
    batches = (*own, JobBatch(policy.wish, total, again=tuple(shared))) if total else plan.batches
    queued = situation.snapshot.queued
    why = f"{counted(queued, 'job waits', 'jobs wait')} in the queue" if queued else "every trial has been claimed"
    others = situation.open or 0 if policy.sizing and policy.sizes_retries and not retry.assigned else 0
    return replace(plan, batches=batches, nothing="" if batches else why, others_open=others)


def _retries(situation: Situation, policy: Policy) -> RetryPlan:
    """Decide which trials run again, and with what."""
    if policy.retry is None:
        return RetryPlan()
    plan = retry_policy.decide_retries(
        situation.ended, policy.retry, situation.bounds, asks=situation.asked_for, finished=situation.finished
    )
    if Ability.LIMIT not in situation.abilities or not plan.groups or policy.retry.plain:
        return plan
    if policy.sizing and policy.sizes_retries:
        plan = _sized(situation, plan, policy.sizing)
    if Ability.AVOID not in situation.abilities:
        return plan
    blamed = {trial.attempt_id for trial in situation.ended if trial.blames_machine}
    avoided, remark = retry_policy.nodes_to_avoid(_nodes(situation.view, plan, blamed), situation.nodes)
    return replace(plan, avoided=avoided, remarks=(*plan.remarks, *([remark] if remark else [])))


def _retries_by_rung(situation: Situation, policy: Policy, rungs: RungSituation) -> RetryPlan:
    """Decide which trials run again, and with what: each asks for what its rung needs, and for more where it lacked it.

    Every attempt gets a job of its own where a backend can do that, because the rungs of trials differ.
    """
    plans = []
    for rung, minutes in enumerate(rungs.minutes):
        there = tuple(trial for trial in situation.ended if rungs.rung_of(trial.number) == rung)
        plan = _retries(replace(_at_rung(situation, rungs, rung), ended=there), policy)
        groups: dict[ResourceOverride, tuple[AttemptId, ...]] = {}
        for given, attempt_ids in plan.groups.items():
            own = ResourceOverride(given.minutes or minutes, given.mib)
            groups[own] = groups.get(own, ()) + attempt_ids
        plans.append(replace(plan, groups=groups))
    return retry_policy.merged(plans)


def _promoted(situation: Situation, policy: Policy, rungs: RungSituation) -> list[JobBatch]:
    """Return jobs for the trials that go on, those of the highest rung first; none where agents choose them.

    Jobs of one rung ask for what others needed there, where that is learnt and known.
    """
    if Ability.ASSIGN not in situation.abilities:
        return []
    from slurmsweep.sizing.walltime import Group, wave_of_all  # few sweeps have rungs

    found = []
    for rung in sorted({promotion.rung for promotion in rungs.promotions}, reverse=True):
        attempt_ids = tuple(promotion.attempt_id for promotion in rungs.promotions if promotion.rung == rung)
        groups: Sequence[Group] = ()
        if policy.sizing and Ability.LIMIT in situation.abilities:
            sizing_input = _sizing_input(_at_rung(situation, rungs, rung), (), 0)
            groups = wave_of_all(replace(sizing_input, open=attempt_ids), policy.sizing).groups
        for group in groups or [Group(attempt_ids)]:
            wish = with_resources(policy.wish, group.minutes or rungs.minutes[rung], group.mib)
            ids = group.attempt_ids
            found.append(JobBatch(wish, len(ids), ids, ids, group.minutes, group.mib))
    return found


def _at_rung(situation: Situation, rungs: RungSituation, rung: int) -> Situation:
    """Return the situation as for jobs of one rung: what those ask for, and what attempts that ran to it used."""
    bounds, ledger = situation.bounds, situation.ledger
    if bounds:
        bounds = replace(bounds, minutes=rungs.minutes[rung] or bounds.minutes)
    return replace(situation, bounds=bounds, ledger=ledger and ledger.of_rung(rung))


def _sized(situation: Situation, plan: RetryPlan, sizing: AutoSizing) -> RetryPlan:
    """Return the plan with the time and memory that finished trials have shown. Raises UsageError for none."""
    from slurmsweep.sizing.walltime import wave_of_all  # most commands learn nothing

    again = plan.attempt_ids
    wave = wave_of_all(_sizing_input(situation, again, len(again)), sizing)
    if not wave.groups:
        raise UsageError(
            f"--time auto: {'; '.join(wave.reasons)}. Say --time, or leave it out: what ran out of time gets "
            "--time-factor times as much"
        )
    learnt = {a.trial: ResourceOverride(group.minutes, group.mib) for group in wave.groups for a in group.attempt_ids}
    return retry_policy.with_learnt(plan, learnt, wave.reasons)


def _batches(situation: Situation, policy: Policy, plan: RetryPlan) -> tuple[list[JobBatch], list[AttemptId]]:
    """Return jobs for retries that need their own, and the attempts that go with whatever else is submitted."""
    if Ability.ASSIGN not in situation.abilities:
        return [], plan.attempt_ids
    own: list[JobBatch] = []
    shared: list[AttemptId] = []
    for given, attempt_ids in plan.groups.items():
        if given == ResourceOverride() and not plan.assigned and not plan.avoided:
            shared += attempt_ids
        else:
            wish = with_resources(policy.wish, given.minutes, given.mib, plan.avoided)
            own.append(JobBatch(wish, len(attempt_ids), attempt_ids, attempt_ids))
    return own, shared


def _trials_wanted(situation: Situation, policy: Policy, shared: int) -> int:
    """Return how many trials the jobs run that get no resources of their own.

    Raises:
        UsageError: the search has no end, and neither a count nor a goal says how many.
    """
    queued = situation.snapshot.queued
    promoted = 0  # by agents: elsewhere each gets a job of its own
    if situation.rungs and Ability.ASSIGN not in situation.abilities:
        promoted = len(situation.rungs.promotions)
    if policy.count is not None:
        wanted = policy.count
    elif not policy.all_open:
        wanted = shared
    elif situation.open is not None:
        wanted = max(0, situation.open - queued) + shared
    elif policy.goal is not None:
        left = max(0, policy.goal - len(situation.view.trials)) + len(situation.view.waiting())
        wanted = max(0, left - queued) + shared
    else:
        raise UsageError(
            f"a {situation.method} search has no end: say how many trials by --count, or run_cap in the sweep file"
        )
    if situation.open is None:
        return wanted + promoted
    # an agent beyond these would only start to say that nothing is left
    return min(wanted, situation.open + shared) + promoted


def _basis(situation: Situation, policy: Policy, shared: int, total: int) -> PlanBasis | None:
    """Return what bounds the jobs where other commands submit some meanwhile; None where nothing does.

    A count leaves open trials for others. Without one the jobs are for all of them, or for those that a goal leaves, or
    each is for one certain trial, of which others have got the same first ones.
    """
    if situation.open is None and policy.goal is None:
        return None
    is_for_any = situation.open is not None and policy.count is not None and policy.sizing is None
    spare = max(0, (situation.open or 0) + shared - total) if is_for_any else 0
    return PlanBasis(situation.snapshot.counted, spare)


def _in_waves(  # noqa: PLR0913, PLR0917 - what was decided so far
    situation: Situation, policy: Policy, sizing: AutoSizing, plan: Plan, shared: Sequence[AttemptId], total: int
) -> Plan:
    """Let a few trials go first, or the rest with what these showed; they come after the batches of ``plan``."""
    from slurmsweep.sizing.walltime import next_wave

    wave = next_wave(_sizing_input(situation, shared, total if situation.trials is None else policy.count), sizing)
    again, trials, batches = set(shared), sum(len(group.attempt_ids) for group in wave.groups), list(plan.batches)
    for group in wave.groups:
        size = len(group.attempt_ids)
        wish = with_resources(policy.wish, group.minutes, group.mib, share=size / trials)
        retried = tuple(a for a in group.attempt_ids if a in again)
        batches.append(JobBatch(wish, size, group.attempt_ids, retried, group.minutes, group.mib))
    stuck = wave.is_stuck and policy.give_up_on_fruitless
    remarks = (
        (f"{counted(wave.left, 'trial was', 'trials were')} not submitted: {'; '.join(wave.reasons)}",) if stuck else ()
    )
    return replace(plan, batches=tuple(batches), wave=wave, remarks=remarks)


def _sizing_input(situation: Situation, again: Sequence[AttemptId], count: int | None) -> SizingInput:
    """Return what sizing rests on: trials that are open, and what others used.

    Args:
        situation: of the sweep.
        again: next attempts of trials that ended, which are open as well.
        count: open trials to consider; None for all.
    """
    from slurmsweep.sizing.walltime import Bounds, SizingInput

    view, ledger = situation.view, situation.ledger
    given_back = [a for a in again if may_be_given_back(view, a)]
    wanted = count if count is not None else (situation.open or 0) + len(given_back)
    open_ids = list(islice(chain(given_back, open_attempts(situation, wanted)), wanted))
    usages = ledger.of if ledger else lambda _: []
    return SizingInput(
        point=situation.point,
        open=open_ids,
        live=sum(situation.snapshot.jobs.values()),
        history=[used for number in worth_looking_at(situation.snapshot) if (used := usages(number))],
        own={a.trial: usages(a.trial) for a in open_ids if a.attempt > 1},
        bounds=situation.bounds or Bounds(None, None, None, None, 0.0),
    )


def open_attempts(situation: Situation, wanted: int) -> Iterator[AttemptId]:
    """Yield attempts that no agent claimed and no waiting job is for: retries first, then new trials, by number.

    Args:
        situation: of the sweep.
        wanted: how many are needed, where the search has no end.
    """
    view, end = situation.view, situation.trials
    if end is None:  # as many are free below it
        end = view.head.next_trial + wanted + situation.unreserved + len(situation.reserved) + len(view.trials)
    first = (AttemptId(number, 1) for number in view.trials.unknown_below(end))
    free = (a for part in (view.waiting(), first) for a in part if a not in situation.reserved)
    # a job that was submitted for no certain trial takes the next one there is
    return islice(free, situation.unreserved, None)


def worth_looking_at(snapshot: Snapshot) -> list[int]:
    """Return trials that ended, evenly from those that finished, crashed and failed, and those with unrecorded ends."""
    states = (TrialState.FINISHED, TrialState.CRASHED, TrialState.FAILED, TrialState.PENDING)
    chosen = {attempt_id.trial for attempt_id in snapshot.ended}
    for state in states:
        numbers = list(snapshot.view.trials.in_state(state))
        step = max(1, -(-len(numbers) // MOST_HISTORY))
        chosen.update(numbers[::step])
    return sorted(number for number in chosen if number in snapshot.view.trials)


def _came_to_nothing(snapshot: Snapshot) -> bool:
    """Return whether the newest arrays all ended before any of their jobs claimed a trial.

    The journal says who claimed; of claims that name no submission, on a service, also what the service still knows.
    """
    newest = {s.job: s.name for s in snapshot.view.submissions.values() if s.job}
    newest = dict(list(newest.items())[-_FRUITLESS:])
    claimed = any(True for _ in snapshot.view.trials.of_jobs(set(newest))) or snapshot.claimed & set(newest.values())
    return len(newest) == _FRUITLESS and not snapshot.alive and not claimed


def _nodes(view: SweepView, plan: RetryPlan, blamed: Collection[AttemptId]) -> dict[str, Node]:
    """Return what trials met on each node on which a trial ended that runs again.

    ``blamed`` are next attempts of trials whose last one found the machine at fault.
    """
    failures: Counter[str] = Counter()
    bad: defaultdict[str, set[int]] = defaultdict(set)
    for attempt_id in plan.attempt_ids:
        trial = view.trials[attempt_id.trial]
        for attempt in trial.attempts.values():
            node = attempt.owner.node if attempt.owner else None
            if node and attempt.outcome and not attempt.outcome.is_done:
                is_blamed = attempt_id in blamed and attempt is trial.current
                failures[node] += int(is_blamed or attempt.outcome.cause == "node_fail")
                bad[node].add(attempt_id.trial)
    good = view.trials.nodes_of_finished() if bad else Counter()
    return {node: Node(failures[node], len(numbers), good[node]) for node, numbers in bad.items()}
