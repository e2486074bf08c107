"""Find why a scheduler ended what an agent only saw ending: a SIGTERM may be a time limit, a preemption, or a scancel.

Agents record what they see, at once; the scheduler's accounting knows the reason, seconds later. The agent's word on
what the trial did (exit code, metric, seconds) stays; the scheduler's reason replaces the cause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.backends.base import CUT_SHORT, JobRef
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Callable

    from slurmsweep.backends.base import Answer
    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.trial import Attempt

#: What an agent calls ends that the scheduler may have caused. SIGKILL is how the kernel ends what needs too much
#: memory.
_DOUBTFUL = ("terminated", "hangup", "signal 9", "signal 15")

#: The scheduler's reasons that say more than these.
_TELLING = ("timeout", "oom", "node_fail", "preempted", "cancelled", CUT_SHORT)


def doubtful_jobs(view: SweepView, here: Callable[[], str] = str) -> set[JobRef]:
    """Return the jobs whose ends their agents could not explain; ``here`` tells this cluster's name, if need be."""
    return {JobRef.of(attempt.owner, here()) for attempt in _doubtful(view).values() if attempt.owner}


def reasons(view: SweepView, answer: Answer) -> dict[AttemptId, Outcome]:
    """Return better outcomes for recorded ends, where the scheduler's answer about :func:`doubtful_jobs` has some."""
    better = {}
    for attempt_id, attempt in _doubtful(view).items():
        if attempt.outcome is None or attempt.owner is None:
            continue
        status = answer.tasks.get(JobRef.of(attempt.owner, answer.cluster))
        if status and status.state and not status.alive and status.cause in _TELLING:
            better[attempt_id] = attempt.outcome._replace(state=status.state, cause=status.cause, by="slurm")
    return better


def _doubtful(view: SweepView) -> dict[AttemptId, Attempt]:
    """Return the newest attempts that ended inside a job in a way that agents cannot explain."""
    found = {}
    for state in (TrialState.KILLED, TrialState.CRASHED):
        for number in view.trials.in_state(state):
            current = view.trials[number].current
            owner, outcome = (current.owner, current.outcome) if current else (None, None)
            if current and owner and owner.job and outcome and outcome.by == "agent" and outcome.cause in _DOUBTFUL:
                found[AttemptId(number, current.number)] = current
    return found
