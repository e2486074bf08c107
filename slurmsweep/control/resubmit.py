"""Run again what deserves it: gather how trials ended, decide by :mod:`.rerun`, carry it out."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from slurmsweep.backends.slurm import accounting, partitions
from slurmsweep.backends.slurm.queue import JobRef
from slurmsweep.backends.slurm.resources import asked, normal_name
from slurmsweep.control.failure_signature import complaint, last_words
from slurmsweep.control.reconcile import give_back, may_run_again
from slurmsweep.control.retry_policy import (
    EndedTrial,
    Node,
    ResourceOverride,
    RetryPlan,
    RetryPolicy,
    avoid,
    decide,
    with_learnt,
)
from slurmsweep.control.snapshot import Snapshot, look
from slurmsweep.control.submit import JobBatch
from slurmsweep.control.waves import bounds_of, gather
from slurmsweep.errors import UsageError
from slurmsweep.sizing.usage import Ledger
from slurmsweep.sizing.walltime import Bounds, wave_of_all
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from slurmsweep.backends.base import SubmitOptions
    from slurmsweep.sizing.usage import Usage
    from slurmsweep.sizing.walltime import AutoSizing
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.store import SweepStore
    from slurmsweep.state.trial import Trial

#: Logs of failed trials that are read to see whether they fail alike.
_MOST_LOGS = 200

_NO_BOUNDS = Bounds(None, None, None, None, 0.0)


def plan_resubmission(
    store: SweepStore,
    rules: RetryPolicy,
    wishes: SubmitOptions | None,
    wish: AutoSizing | None = None,
    snapshot: Snapshot | None = None,
) -> RetryPlan:
    """What would be run again, and why. Writes nothing; :func:`slurmsweep.control.reconcile.reconcile` comes before.

    Costs one squeue call, one sinfo call, and a sacct call where a job that was cut off was submitted by hand.

    Args:
        store: of the sweep.
        rules: what deserves it.
        wishes: for the jobs; None on the local backend, which asks for nothing.
        wish: what is learnt from trials that finished, in the place of factors; None for nothing.
        snapshot: a look at the sweep made a moment ago, so that Slurm is not asked again.

    Raises:
        UsageError: an option is wrong, or nothing could be learnt yet.
        SchedulerUnavailableError: Slurm could not be asked.
    """
    view = store.replay()
    trials = may_run_again(view)
    snapshot = snapshot or (look(store, view) if trials else Snapshot(view, {}, {}, 0))
    ended = list(_gather(store, view, trials, snapshot.waiting))
    if wishes is None:
        return decide(ended, rules, _NO_BOUNDS)
    asks = frozenset(normal_name(name) for name in wishes.options or {}) & {"time", "mem"}
    survey = partitions.survey() if ended else partitions.Survey()
    plan = decide(ended, rules, bounds_of(store, wishes, survey) if ended else _NO_BOUNDS, asks=asks)
    if wish and plan.groups:
        plan = _learnt(store, snapshot, plan, wishes, wish)
    avoided, remark = avoid(_nodes(view, plan), survey.nodes) if plan.groups else ((), "")
    return replace(plan, avoided=avoided, remarks=(*plan.remarks, *([remark] if remark else [])))


def errands_of(plan: RetryPlan, wishes: SubmitOptions) -> tuple[list[JobBatch], tuple[AttemptId, ...]]:
    """The plan as jobs: those that need more than the others, or were chosen, get their own; and all others' attempts.

    These others run with what is asked anyway, so they go with whatever else the caller submits.
    """
    own: list[JobBatch] = []
    others: list[AttemptId] = []
    for given, attempt_ids in plan.groups.items():
        if given == ResourceOverride() and not plan.assigned and not plan.avoided:
            others += attempt_ids
        else:
            own.append(JobBatch(_with(wishes, given, plan.avoided), len(attempt_ids), attempt_ids, attempt_ids))
    return own, tuple(others)


def give_back_only(store: SweepStore, attempt_ids: Collection[AttemptId]) -> list[AttemptId]:
    """Let these attempts be claimed, as far as their trials are still as the plan saw them."""
    wanted = set(attempt_ids)
    return give_back(store, lambda trial: AttemptId(trial.number, trial.newest + 1) in wanted, why="resubmit")


def _learnt(
    store: SweepStore, snapshot: Snapshot, plan: RetryPlan, wishes: SubmitOptions, wish: AutoSizing
) -> RetryPlan:
    """The plan with what trials that finished have shown. Raises UsageError where that is nothing."""
    attempt_ids = plan.attempt_ids
    wave = wave_of_all(gather(store, snapshot, wishes, wish, len(attempt_ids), attempt_ids), wish)
    if not wave.groups:
        raise UsageError(
            f"--time auto: {'; '.join(wave.reasons)}. Say --time, or leave it out: what ran out of time gets "
            "--time-factor times as much"
        )
    learnt = {
        attempt_id.trial: ResourceOverride(group.minutes, group.mib)
        for group in wave.groups
        for attempt_id in group.attempt_ids
    }
    return with_learnt(plan, learnt, wave.reasons)


def _with(wishes: SubmitOptions, given: ResourceOverride, avoided: Collection[str]) -> SubmitOptions:
    options = dict(wishes.options or {})
    if given.minutes:
        options["time"] = str(given.minutes)
    if given.mib:
        options |= {"mem": f"{given.mib}M", "mem-per-cpu": False, "mem-per-gpu": False}  # sbatch takes one of the three
    if avoided:
        named = options.get("exclude")
        options["exclude"] = ",".join([*([named] if isinstance(named, str) else []), *avoided])
    return replace(wishes, options=options)


def _gather(
    store: SweepStore, view: SweepView, trials: list[Trial], waiting: Collection[JobRef]
) -> Iterable[EndedTrial]:
    ledger = Ledger(view, {}, {}, asked, among=[trial.number for trial in trials])
    by_hand = {job for trial in trials for usage in ledger.of(trial.number) if (job := _unknown_job(usage))}
    if by_hand:
        ledger = Ledger(view, {}, accounting.accounts(by_hand)[0], asked, among=[trial.number for trial in trials])
    failed = [trial for trial in trials if trial.state is TrialState.FAILED][-_MOST_LOGS:]
    complaints = {trial.number: _complaint(store, trial) for trial in failed}
    for trial in trials:
        owner = trial.current.owner if trial.current else None
        yield EndedTrial(
            trial.number,
            trial.state,
            trial.cause,
            trial.newest + 1,
            ledger.of(trial.number),
            complaints.get(trial.number, ""),
            goes_on=bool(owner and owner.job and JobRef(owner.job, owner.task) in waiting),
        )


def _unknown_job(usage: Usage) -> str | None:
    """The array of an attempt that was cut off, where the journal does not say what it had: submitted by hand."""
    cut_off = (usage.is_timeout and usage.asked_minutes is None) or (usage.is_out_of_memory and not usage.asked_mib)
    return usage.job.partition("_")[0] if usage.job and cut_off else None


def _complaint(store: SweepStore, trial: Trial) -> str:
    """What a failed trial's log ends with; empty where the program was changed after that end: it may be mended."""
    current = trial.current
    if current is None or current.outcome is None:
        return ""
    path = store.manifest.script
    if path and os.path.isfile(path) and os.stat(path).st_mtime > (current.outcome.ended or 0.0):
        return ""
    return complaint(last_words(store.layout.log(AttemptId(trial.number, current.number))))


def _nodes(view: SweepView, plan: RetryPlan) -> dict[str, Node]:
    """What trials met on each node on which one of those ended that are run again."""
    again = [view.trials[attempt_id.trial] for attempt_id in plan.attempt_ids]
    failures: Counter[str] = Counter()
    bad: defaultdict[str, set[int]] = defaultdict(set)
    for trial in again:
        for attempt in trial.attempts.values():
            node = attempt.owner.node if attempt.owner else None
            if node and attempt.outcome and attempt.outcome.state is not TrialState.FINISHED:
                failures[node] += attempt.outcome.cause == "node_fail"
                bad[node].add(trial.number)
    good = view.trials.nodes_of_finished() if bad else Counter()
    return {node: Node(failures[node], len(numbers), good[node]) for node, numbers in bad.items()}
