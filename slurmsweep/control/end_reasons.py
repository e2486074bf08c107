"""Why Slurm ended what an agent only saw being ended: a SIGTERM may be a time limit, a preemption, or a scancel.

Agents record what they see, at once; Slurm's accounting knows the reason, seconds later. The agent's word on what the
trial did (exit code, metric, seconds) stays; Slurm's on why it had to stop is put in the place of the cause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.backends.base import JobRef
from slurmsweep.backends.slurm import queue
from slurmsweep.backends.slurm.cluster import is_elsewhere
from slurmsweep.backends.slurm.jobstates import CUT_SHORT
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from slurmsweep.backends.base import Answer, JobStatus
    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.trial import Attempt

#: What an agent calls ends that may be Slurm's doing. SIGKILL is how the kernel ends what needs too much memory.
_DOUBTFUL = ("terminated", "hangup", "signal 9", "signal 15")

#: Slurm's reasons that say more than these.
_TELLING = ("timeout", "oom", "node_fail", "preempted", "cancelled", CUT_SHORT)


def doubtful_jobs(view: SweepView) -> set[JobRef]:
    """Whose ends their agents could not explain."""
    return set(_refs(_doubtful(view)).values())


def _refs(doubtful: dict[AttemptId, Attempt]) -> dict[AttemptId, JobRef]:
    return {
        attempt_id: JobRef(a.owner.job, a.owner.task) for attempt_id, a in doubtful.items() if a.owner and a.owner.job
    }


def reasons(view: SweepView, answer: Answer | None = None) -> dict[AttemptId, Outcome]:
    """Better words for recorded ends, where Slurm has some.

    Args:
        view: the journal's state.
        answer: of Slurm about :func:`doubtful_jobs`; where it is not given one squeue and at most one sacct call are
            made, and none without doubt.

    Raises:
        SchedulerUnavailableError: Slurm could not be asked.
    """
    doubtful = _doubtful(view)
    if not doubtful:
        return {}
    refs = _refs(doubtful)
    answer = queue.ask((), set(refs.values())) if answer is None else answer
    here = {s: r for s, r in refs.items() if not is_elsewhere(_cluster(doubtful[s]), answer.cluster)}
    better = {
        attempt_id: _refined(doubtful[attempt_id].outcome, answer.tasks.get(ref)) for attempt_id, ref in here.items()
    }
    return {attempt_id: outcome for attempt_id, outcome in better.items() if outcome}


def _doubtful(view: SweepView) -> dict[AttemptId, Attempt]:
    """Newest attempts that ended inside Slurm in a way that agents cannot explain."""
    found = {}
    for state in (TrialState.KILLED, TrialState.CRASHED):
        for number in view.trials.in_state(state):
            current = view.trials[number].current
            if current and _is_doubtful(current):
                found[AttemptId(number, current.number)] = current
    return found


def _cluster(attempt: Attempt) -> str | None:
    return attempt.owner.cluster if attempt.owner else None


def _is_doubtful(attempt: Attempt) -> bool:
    outcome, owner = attempt.outcome, attempt.owner
    return bool(owner and owner.job and outcome and outcome.by == "agent" and outcome.cause in _DOUBTFUL)


def _refined(said: Outcome | None, report: JobStatus | None) -> Outcome | None:
    """The outcome with Slurm's reason; None where Slurm has no other, or the job is not over."""
    if said is None or report is None or report.alive or report.state is None or report.cause not in _TELLING:
        return None
    return said._replace(state=report.state, cause=report.cause, by="slurm")
