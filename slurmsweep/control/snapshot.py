"""What has become of attempts whose end nobody recorded: gather every witness, decide, change nothing.

Witnesses, in this order: the outcome in the attempt's folder (the agent's own word), the process on this machine,
Slurm. Silence is not a witness: where nobody can tell, the attempt counts as running.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.agents.identity import lives_here
from slurmsweep.backends.base import Answer, JobRef
from slurmsweep.backends.slurm import queue
from slurmsweep.backends.slurm.cluster import is_elsewhere, site_name
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from slurmsweep.backends.base import JobStatus
    from slurmsweep.state.owner import Owner
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.store import SweepStore
    from slurmsweep.state.trial import Attempt


_NOT_ASKED = Answer({}, "not needed")


class Observation(NamedTuple):
    """What witnesses say of one attempt without a recorded end.

    Attributes:
        outcome: how it ended; None while it runs, or while nobody can tell.
        final: the witness will not say anything else later. What is not final must be seen twice before it is recorded.
        note: for people: who said so, or who could.
        witnessed: False where nobody who can tell could be asked.
    """

    outcome: Outcome | None
    final: bool
    note: str
    witnessed: bool = True


class Snapshot(NamedTuple):
    """A sweep as it is now: the journal, and what witnesses add to it.

    Attributes:
        view: the journal's state.
        seen: an observation for each attempt that the journal shows as running.
        jobs: the sweep's live jobs in Slurm, by Slurm's word in lower case: ``{"pending": 3, "running": 2}``.
        queued: trials that live jobs will take which have not claimed any yet.
        unclaimed: those jobs.
        waiting: live jobs that have not started, or were put back to start again.
        answer: what Slurm said.
    """

    view: SweepView
    seen: dict[AttemptId, Observation]
    jobs: dict[str, int]
    queued: int
    unclaimed: frozenset[JobRef] = frozenset()
    waiting: frozenset[JobRef] = frozenset()
    answer: Answer = _NOT_ASKED

    @property
    def alive(self) -> dict[JobRef, JobStatus]:
        """The live jobs."""
        return {ref: report for ref, report in self.answer.tasks.items() if report.alive}

    def renewed(self, view: SweepView) -> Snapshot:
        """The same answer of Slurm's, with what the journal says by now of the jobs in it."""
        return _snapshot(view, self.seen, self.answer)

    @property
    def ended(self) -> dict[AttemptId, Outcome]:
        """Ends that witnesses know and the journal does not."""
        return {attempt_id: seen.outcome for attempt_id, seen in self.seen.items() if seen.outcome}


def look(store: SweepStore, view: SweepView | None = None, also: Collection[JobRef] = ()) -> Snapshot:
    """Look at a sweep: one pass over the journal, at most one squeue and one sacct call. Writes nothing.

    Args:
        store: of the sweep.
        view: its journal's state where somebody has read it already.
        also: jobs that are over, whose end is to be in the answer, too.

    Raises:
        SchedulerUnavailableError: there are jobs that only Slurm can tell of, and it could not be asked.
    """
    view = store.replay() if view is None else view
    running = running_attempts(view)
    owners = [a.owner for a in running.values() if a.owner and a.owner.job]
    recorded = {owner.cluster for owner in owners} | {s.cluster for s in view.submissions.values() if s.job}
    here = site_name() if any(recorded) else ""
    wanted = {JobRef(owner.job or "", owner.task) for owner in owners if not is_elsewhere(owner.cluster, here)}
    jobs = _submitted(store, view, here)
    answer = queue.ask(jobs, {*wanted, *also}) if jobs or wanted or also else _NOT_ASKED
    answer = answer._replace(cluster=here)
    # After Slurm, because an agent writes its outcome before its job ends: the other way round a trial that ends in
    # between would look lost.
    said = {attempt_id: store.read_outcome(attempt_id) for attempt_id in running}
    seen = {
        attempt_id: _from_agent(word) if (word := said[attempt_id]) else judge(a, answer)
        for attempt_id, a in running.items()
    }
    return _snapshot(view, seen, answer)


def _snapshot(view: SweepView, seen: dict[AttemptId, Observation], answer: Answer) -> Snapshot:
    alive = {ref: report for ref, report in answer.tasks.items() if report.alive}
    words = dict(Counter(report.word.lower() for report in alive.values()))
    agents = {submission.job: submission.agents for submission in view.submissions.values()}
    unclaimed = frozenset(alive.keys() - _claiming(view, {ref.job for ref in alive}))
    queued = sum(agents.get(ref.job, 1) for ref in unclaimed)
    waiting = frozenset(ref for ref, report in alive.items() if report.waits)
    return Snapshot(view, seen, words, queued, unclaimed, waiting, answer)


def look_without_slurm(store: SweepStore, view: SweepView) -> Snapshot:
    """What the journal and the folders alone say."""
    said = {attempt_id: store.read_outcome(attempt_id) for attempt_id in running_attempts(view)}
    return Snapshot(view, {attempt_id: _from_agent(outcome) for attempt_id, outcome in said.items() if outcome}, {}, 0)


def running_attempts(view: SweepView) -> dict[AttemptId, Attempt]:
    """The newest attempts without a recorded end."""
    found = {}
    for trial in view.trials.unsettled():
        current = trial.current
        if trial.state is TrialState.RUNNING and current:
            found[AttemptId(trial.number, current.number)] = current
    return found


def stray_output(store: SweepStore, view: SweepView) -> list[str]:
    """Output files of jobs that ended without ever claiming a trial: they say why, and nothing else does."""
    try:
        with os.scandir(store.layout.jobs) as entries:
            files = [entry for entry in entries if entry.name.endswith(".out") and entry.stat().st_size]
    except FileNotFoundError:
        return []  # the folder, or a file of a job that ended cleanly at this moment
    said = {file.name.removesuffix(".out"): file.path for file in files}
    claiming = {str(ref) for ref in _claiming(view, {name.partition("_")[0] for name in said})}
    return sorted(path for name, path in said.items() if name not in claiming)


def _submitted(store: SweepStore, view: SweepView, here: str) -> set[str]:
    """Arrays of this cluster that may still hold jobs of the sweep; none where every trial has ended well."""
    finished = view.counts().get(TrialState.FINISHED, 0)
    if finished == store.manifest.trials:
        return set()
    return {s.job for s in view.submissions.values() if s.job and not is_elsewhere(s.cluster, here)}


def _claiming(view: SweepView, jobs: set[str]) -> set[JobRef]:
    """Those of the jobs (array tasks) that have claimed a trial."""
    owners = (a.owner for trial in view.trials.of_jobs(jobs) for a in trial.attempts.values())
    return {JobRef(owner.job, owner.task) for owner in owners if owner and owner.job}


def judge(attempt: Attempt, answer: Answer) -> Observation:
    """Decide for one attempt whose folder has no outcome."""
    owner = attempt.owner
    if owner is None:
        return Observation(None, final=False, note="its claim is not in the journal", witnessed=False)
    lives = lives_here(owner)
    if lives:
        return Observation(None, final=False, note=f"process {owner.pid} on this machine")
    if owner.job is not None:
        return _from_slurm(owner, answer, process_is_gone=lives is False)
    if lives is False:
        return Observation(_vanished("lost"), final=True, note=f"process {owner.pid} is gone")
    return Observation(None, final=False, note=f"only {owner.host} can tell: ask there", witnessed=False)


def _from_agent(outcome: Outcome) -> Observation:
    return Observation(outcome, final=True, note="its folder says so")


def _from_slurm(owner: Owner, answer: Answer, *, process_is_gone: bool) -> Observation:
    silence = _says_nothing(owner, answer)
    if silence:
        return Observation(None, final=False, note=silence, witnessed=False)
    report = _report(owner, answer.tasks)
    if report is None:
        note = f"Slurm does not know job {owner.job_name} any more"
        return Observation(_vanished("lost"), final=process_is_gone, note=note)
    note = f"{report.source} says {report.word}"
    if report.alive:
        # A job between its processes' end and its own: the process is a witness, but Slurm's cause is still to come.
        # One that waits was put back, and goes on with its trial when it starts.
        ending = process_is_gone and not report.waits
        return Observation(_vanished("lost") if ending else None, final=False, note=note)
    if report.state is None or report.state is TrialState.FINISHED:
        return Observation(_vanished("lost"), final=True, note=f"{note}, but no outcome was written")
    if owner.seat is not None and report.state is TrialState.FAILED:  # the exit code may be another seat's
        return Observation(_vanished("lost"), final=True, note=f"{note}, which several agents share")
    outcome = Outcome(report.state, report.cause, report.exit_code or None, ended=_now(), by="reconcile")
    return Observation(outcome, final=True, note=note)


def _says_nothing(owner: Owner, answer: Answer) -> str:
    """Why nothing follows from an answer about a job; empty where something does."""
    if is_elsewhere(owner.cluster, answer.cluster):
        return f"job {owner.job_name} is of cluster {owner.cluster}, and this is {answer.cluster}: ask there"
    if answer.lags(JobRef(owner.job or "", owner.task)):
        return f"accounting knows array {owner.job}, and not yet its element {owner.task}"
    if answer.failed and _report(owner, answer.tasks) is None:
        unknown = f"squeue does not know job {owner.job_name} any more"
        return f"{unknown}, and accounting did not answer: {answer.accounting}"
    return ""


def _report(owner: Owner, tasks: Mapping[JobRef, JobStatus]) -> JobStatus | None:
    return tasks.get(JobRef(owner.job or "", owner.task))


def _vanished(cause: str) -> Outcome:
    return Outcome(TrialState.CRASHED, cause, ended=_now(), by="reconcile")


def _now() -> float:
    return round(time.time(), 3)
