"""Find why a scheduler ended what an agent only saw ending: a SIGTERM may be a time limit, a preemption, or a scancel.

Agents record what they see, at once; the scheduler's accounting knows the reason, seconds later. The agent's word on
what the trial did (exit code, metric, seconds) stays; the scheduler's reason replaces the cause. A script of which a
worker was killed for its memory ends with an exit code of its own: it has failed, and the cause is the memory.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from slurmsweep.backends.base import CUT_SHORT
from slurmsweep.backends.keys import JobRef, is_machine
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.owner import service_of
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


def explained_ends(view: SweepView, answer: Answer) -> dict[AttemptId, Outcome]:
    """Return better outcomes for recorded ends, where the scheduler's answer about :func:`doubtful_jobs` has some."""
    better = {}
    for attempt_id, attempt in _doubtful(view).items():
        if attempt.outcome is None or attempt.owner is None:
            continue
        status = answer.tasks.get(JobRef.of(attempt.owner, answer.cluster))
        by = "service" if service_of(attempt.owner.cluster) else "slurm"
        if attempt.outcome.state is TrialState.FAILED:
            if status and not status.alive and status.cause == "oom":
                better[attempt_id] = attempt.outcome._replace(cause="oom", by=by)
        elif status and status.state and not status.alive and status.cause in _TELLING:
            better[attempt_id] = attempt.outcome._replace(state=status.state, cause=status.cause, by=by)
    return better


def _doubtful(view: SweepView) -> dict[AttemptId, Attempt]:
    """Return the newest attempts that ended inside a job in a way that agents cannot explain.

    Those that failed are among them where no other trial ran in their jobs: Slurm says of a job that it ran out of
    memory, and not which of its trials did.
    """
    found = {}
    trials_in: defaultdict[tuple[str | None, str | None, int | None], set[int]] = defaultdict(set)
    for span in view.trials.spans() if view.counts().get(TrialState.FAILED) else ():
        trials_in[span.cluster, span.job, span.task].add(span.attempt_id.trial)
    for state in (TrialState.KILLED, TrialState.CRASHED, TrialState.FAILED):
        for number in view.trials.in_state(state):
            current = view.trials[number].current
            owner, outcome = (current.owner, current.outcome) if current else (None, None)
            if not (current and owner and owner.job and outcome and outcome.by == "agent"):
                continue
            if is_machine(owner.cluster):  # it runs on after its trials: how it ends says nothing of them
                continue
            in_its_job = trials_in[owner.cluster, owner.job, owner.task]
            failed_alone = state is TrialState.FAILED and len(in_its_job) < 2
            if failed_alone or outcome.cause in _DOUBTFUL:
                found[AttemptId(number, current.number)] = current
    return found
