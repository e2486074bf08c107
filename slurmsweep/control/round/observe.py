"""Observe a sweep: record what is certain, then gather all that a decision rests on.

A command observes once: one reading of the journal, one question to the queue, at most one to accounting and one to the
scheduler for its limits, each only where the policy needs the answer.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from math import ceil
from typing import TYPE_CHECKING

from slurmsweep import search
from slurmsweep.backends.base import Ability, Capacity, JobSource, SubmitOptions
from slurmsweep.backends.keys import JobRef, key_on, parts_of
from slurmsweep.control.round.decide import Policy, RungSituation, Situation, worth_looking_at
from slurmsweep.control.round.events import Reconciled
from slurmsweep.control.round.reconcile import may_run_again, reconcile, recover_submissions
from slurmsweep.control.round.retry_policy import ALIKE, EndedTrial
from slurmsweep.errors import SchedulerUnavailableError
from slurmsweep.state import files, refusals
from slurmsweep.state.assignment import attempts_in, slots_of
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from slurmsweep.control.failures.log_end import Failure
    from slurmsweep.control.round.events import Tell
    from slurmsweep.control.session import Session
    from slurmsweep.control.snapshot import Snapshot
    from slurmsweep.sizing.usage import Ledger
    from slurmsweep.sizing.walltime import Bounds
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.trial import Trial

#: Logs of failed trials that are read to see whether they fail alike; trials that finished that count beside these.
_MOST_LOGS = 1000


def observe(session: Session, policy: Policy, tell: Tell) -> Situation:
    """Record what became of the sweep, and gather what ``policy`` needs to decide.

    Args:
        session: of the sweep; of a rehearsal nothing is written.
        policy: of the command.
        tell: takes what was recorded.

    Raises:
        UsageError: an option of the policy is wrong.
        SchedulerUnavailableError: the scheduler did not answer.
        StateError: the journal could not be locked, read or written.
    """
    recover_submissions(session)
    result = reconcile(session)
    tell(Reconciled(result))
    return situation_of(session, policy, result.snapshot)


def situation_of(session: Session, policy: Policy, snapshot: Snapshot) -> Situation:
    """Gather what ``policy`` needs beside a snapshot that was just made. Raises as :func:`observe`."""
    config, sweep_id = session.store.manifest.config, session.store.manifest.sweep_id
    backend = session.backend
    again = may_run_again(session) if policy.retry else []
    judged = again if policy.judges_ends else []
    limits = Ability.LIMIT in backend.abilities
    learns = policy.sizing is not None and limits
    ledger = _ledger(session, policy, snapshot, again if learns else judged) if judged or learns else None
    capacity, bounds = _bounds(session, policy.wish) if (judged or learns) and limits else (Capacity(), None)
    reserved, unreserved = _reserved(session, snapshot) if learns else (frozenset(), 0)
    named = {backend.long_name(name) for name in policy.wish.options or {}}
    return Situation(
        snapshot=snapshot,
        method=config.method,
        trials=session.store.manifest.trials,
        open=session.open_trials(),
        abilities=backend.abilities,
        ended=tuple(_ended(session, policy, snapshot, again, ledger)),
        bounds=bounds,
        nodes=capacity.nodes,
        ledger=ledger,
        reserved=reserved,
        unreserved=unreserved,
        # the points of open trials are not known where the search learns, so nothing is sized by them
        point=lambda n: (
            {} if config.method == "bayes" else search.parameters(config, n, sweep_id, snapshot.view.kept(n))
        ),
        held=tuple(str(ref) for ref in session.scheduler.failed_launches(snapshot.answer) if ref in snapshot.named),
        metric=config.metric,
        asked_for=frozenset(named & {"time", "mem"} | ({"mem"} if backend.memory_option in named else set())),
        rungs=_rungs(session, policy.wish) if config.extensions.rungs else None,
        finished=finished_here(snapshot.view) if judged else 0,
    )


def _rungs(session: Session, wish: SubmitOptions) -> RungSituation | None:
    """Return where the trials of a sweep with rungs stand."""
    from slurmsweep.learning.rungs import promotions, rung_of  # few sweeps have rungs
    from slurmsweep.search.rungs import minutes_of

    config, backend, view = session.store.manifest.config, session.backend, session.view
    rungs = config.extensions.rungs
    if rungs is None:
        return None
    whole = backend.asked(backend.options(wish, JobSource.of(session.store))).time
    each = (minutes_of(rungs, rung, whole) for rung in range(len(rungs.steps)))
    minutes = tuple(None if one is None or Ability.LIMIT not in backend.abilities else ceil(one) for one in each)
    return RungSituation(tuple(promotions(config, view)), minutes, lambda number: rung_of(rungs, view, number))


def bounds_here(session: Session) -> Bounds:
    """Return the limits of the partition that the sweep file names, else of the default; none where Slurm is not asked.

    For advice only: to submit, the wish of the command counts as well.
    """
    from slurmsweep.sizing.walltime import NO_BOUNDS

    with suppress(SchedulerUnavailableError):
        if Ability.LIMIT in session.backend.abilities:
            return _bounds(session, SubmitOptions())[1]
    return NO_BOUNDS


def _bounds(session: Session, wish: SubmitOptions) -> tuple[Capacity, Bounds]:
    """Return what the cluster gives, and with it what jobs ask for without learning. Raises as :func:`observe`."""
    from slurmsweep.sizing.walltime import Bounds  # most commands ask for what they want

    backend = session.backend
    options = backend.options(wish, JobSource.of(session.store))
    capacity, each = backend.capacity(options), backend.asked(options)
    return capacity, Bounds(
        each.time, each.mem, capacity.minutes, capacity.mib, capacity.warning, backend.memory_option
    )


def _ledger(session: Session, policy: Policy, snapshot: Snapshot, again: list[Trial]) -> Ledger:
    """Return what trials used: those that may run again, and those that others are sized by.

    Accounting is asked where memory is learnt; else only about jobs that were submitted by hand and cut off.
    """
    from slurmsweep.sizing.usage import Ledger

    view, scheduler = snapshot.view, session.scheduler
    numbers = {trial.number for trial in again}
    if policy.sizing:
        numbers |= {*worth_looking_at(snapshot), *(a.trial for a in view.waiting())}
    make = partial(
        Ledger,
        view,
        snapshot.ended,
        asked=scheduler.asked,
        among=sorted(numbers),
        documents=session.submissions,
        here=session.here,
    )
    if policy.sizing and policy.sizing.mem:
        return make(accounts=scheduler.accounts(session.job_keys())[0])
    ledger = make(accounts={})
    # the arrays of attempts that were cut off, where neither journal nor document says what they had
    unknown = {
        parts_of(used.job)
        for trial in again
        for used in ledger.of(trial.number)
        if used.job
        and ((used.is_timeout and used.asked_minutes is None) or (used.is_out_of_memory and not used.asked_mib))
    }
    arrays = {key_on(number.partition("_")[0], cluster) for number, cluster in unknown}  # of ``123_4@other``
    return make(accounts=scheduler.accounts(arrays)[0]) if arrays else ledger


def _ended(
    session: Session, policy: Policy, snapshot: Snapshot, trials: list[Trial], ledger: Ledger | None
) -> list[EndedTrial]:
    """Return the trials that may run again, with what a retry policy looks at."""
    failures = _failures(session, trials) if policy.judges_ends else {}
    mended = _mended(session, policy, trials, failures)
    refused = refusals.read(session.store.layout) if policy.judges_ends else frozenset()
    judged = ledger if policy.judges_ends else None
    return [
        replace(
            ended_trial(trial, snapshot.waiting, failures.get(trial.number), snapshot.answer.cluster),
            usages=judged.of(trial.number) if judged else (),
            mended=mended.get(trial.number, ""),
            was_refused=trial.next_attempt in refused,
        )
        for trial in trials
    ]


def ended_trial(trial: Trial, waiting: Collection[JobRef], failure: Failure | None, here: str = "") -> EndedTrial:
    """Return how a trial ended, by its records and what its log ends with.

    Args:
        trial: that ended.
        waiting: jobs that wait, as they are named on cluster ``here``.
        failure: what its log says.
        here: this cluster.
    """
    outcomes = {n: a.outcome for n, a in trial.attempts.items() if a.outcome and n > trial.deleted}
    before = max((n for n, outcome in outcomes.items() if outcome.ended_at_rung), default=0)
    passes = of_machine = False
    if failure:
        from slurmsweep.control.failures.passing import blames_machine, may_pass  # most commands meet no failure

        passes, of_machine = may_pass(failure), blames_machine(failure)
    owner = trial.current.owner if trial.current else None
    return EndedTrial(
        trial.number,
        trial.state,
        trial.cause,
        trial.next_attempt.attempt,
        signature=failure.signature if failure else "",
        goes_on=bool(owner and owner.job and JobRef.of(owner, here) in waiting),
        before=before,
        failed=sum(n > before and outcome.state is TrialState.FAILED for n, outcome in outcomes.items()),
        may_pass=passes,
        blames_machine=of_machine,
        error=failure.words if failure else "",
    )


def _failures(session: Session, trials: list[Trial]) -> dict[int, Failure]:
    """Return what the logs of failed trials end with.

    Of very many the newest are read. Where these all failed alike, others with the same exit code count as such, too.
    """
    from slurmsweep.control.failures.log_end import last_words, read_failure  # most commands meet no failure

    # what lacked memory does not fail for its program's sake
    failed = [t for t in trials if t.state is TrialState.FAILED and t.current and t.cause != "oom"]
    read, others = failed[-_MOST_LOGS:], failed[:-_MOST_LOGS]
    found: dict[int, Failure] = {}
    by_cause: dict[str, Failure | None] = {}
    for trial in read:
        log = session.store.layout.log(AttemptId(trial.number, trial.current.number if trial.current else 0))
        failure = found[trial.number] = read_failure(last_words(log))
        known = by_cause.setdefault(trial.cause, failure)
        by_cause[trial.cause] = known if known and known.signature == failure.signature else None
    return found | {trial.number: known for trial in others if (known := by_cause.get(trial.cause))}


def _mended(session: Session, policy: Policy, trials: list[Trial], failures: Mapping[int, Failure]) -> dict[int, str]:
    """Return what has changed since the failure of trials that fail alike; files are looked at for these only."""
    often = {text for text, n in Counter(failure.signature for failure in failures.values()).items() if n >= ALIKE}
    alike = [t for t in trials if t.number in failures and failures[t.number].signature in often - {""}]
    if not alike:
        return {}
    from slurmsweep.control.failures.mended import Changes

    by_person = policy.retry is not None and policy.retry.by_person
    changes = Changes(session.store, session.view, alike, by_person=by_person)
    return {trial.number: changes.since(trial, failures[trial.number]) for trial in alike}


def finished_here(view: SweepView) -> int:
    """Return how many trials finished and were not known from another sweep: as many as matter at most."""
    ends = (a.outcome for n in view.trials.in_state(TrialState.FINISHED) if (a := view.trials[n].current))
    return sum(1 for _ in islice((end for end in ends if end and not end.origin), _MOST_LOGS + 1))


def _reserved(session: Session, snapshot: Snapshot) -> tuple[frozenset[AttemptId], int]:
    """Return the attempts that waiting jobs are for, and the number of trials that they take beside these.

    The submission's document says it. Of sweeps from before there were documents the batch script says it; where that
    is gone, a job counts as for no certain attempt.
    """
    named: dict[str, list[AttemptId]] = {}
    reserved: set[AttemptId] = set()
    unreserved = 0
    for ref in snapshot.unclaimed:
        if ref.job not in named:
            named[ref.job] = _attempts_of(session, ref.job)
        submission = snapshot.submission_of(ref)
        agents, trials = (submission.agents, submission.trials_of(ref.task)) if submission else (1, 1)
        own = [] if ref.task is None else named[ref.job][ref.task * agents :][:trials]
        reserved.update(own)
        unreserved += 0 if own else trials
    return frozenset(reserved), unreserved


def _attempts_of(session: Session, job: str) -> list[AttemptId]:
    """Return the attempts of a job's submission, in the order of its elements."""
    name = next((s.name for s in session.view.submissions.values() if s.job == job), "")
    document = session.submissions.read(name) if name else None
    if document is not None:
        return list(attempts_in(document.attempts)) if document.attempts else []
    script = files.read_plain_file(os.path.join(session.store.layout.jobs, f"{job}_submission.sh"))
    return slots_of((script or b"").decode("utf-8", "replace"))
