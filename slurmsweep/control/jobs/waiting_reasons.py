"""Why the jobs of a sweep wait, by what the scheduler said anyway; only after a submission it is asked for it."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from slurmsweep.backends.base import Wait
from slurmsweep.backends.keys import by_id
from slurmsweep.control.round import granted
from slurmsweep.control.snapshot import of_answer
from slurmsweep.errors import SchedulerUnavailableError, StateError
from slurmsweep.report.waiting import WaitingReason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slurmsweep.backends.base import Answer, JobStatus
    from slurmsweep.backends.keys import JobRef
    from slurmsweep.control.round.events import Tell
    from slurmsweep.control.session import Session
    from slurmsweep.control.snapshot import Snapshot

#: Seconds after which a scheduler has looked at jobs that were just submitted (Slurm: batch_sched_delay is 3).
_SECOND_LOOK = 5.0


def waiting_reasons(snapshot: Snapshot) -> tuple[WaitingReason, ...]:
    """Return why the sweep's jobs wait: those that never start as they are first, then in the order of their jobs.

    A start that was expected and has passed is not told.
    """
    now = time.strftime("%Y-%m-%dT%H:%M:%S")
    found: dict[tuple[Wait, str], list[tuple[JobRef, JobStatus]]] = {}
    waiting = [(ref, status) for ref, status in snapshot.named.items() if status.waits and status.reason]
    for ref, status in sorted(waiting, key=lambda pair: (by_id(pair[0].job), pair[0].task or 0)):
        found.setdefault((status.wait or Wait(""), status.reason), []).append((ref, status))
    reasons = (
        WaitingReason(
            reason,
            wait.why,
            wait.help,
            wait.is_stuck,
            len(jobs),
            str(jobs[0][0]),
            starts if (starts := jobs[0][1].starts) > now else "",
        )
        for (wait, reason), jobs in found.items()
    )
    return tuple(sorted(reasons, key=lambda reason: not reason.is_stuck))


def stuck_jobs_teller(session: Session, tell: Tell) -> Callable[[Answer], None]:
    """Return a function that tells of jobs that never start as they are, once for each reason."""
    from slurmsweep.control.round.events import Noticed  # commands that only look tell no events

    told: set[str] = set()

    def seen(answer: Answer) -> None:
        for reason in waiting_reasons(of_answer(session, answer)):
            if reason.is_stuck and reason.reason not in told:
                told.add(reason.reason)
                tell(Noticed(reason.words(session.store.manifest.sweep_id)))

    return seen


def look_after_submission(
    session: Session, jobs: Sequence[str], tell: Tell, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Ask once about jobs that were just submitted: tell what never starts, and what is otherwise than was asked for.

    Where that was only the scheduler's first word, it is asked once more some seconds later. Where it does not answer,
    or the journal cannot be written, the next command says it.
    """
    from slurmsweep.control.round.events import Noticed  # as above

    with suppress(SchedulerUnavailableError, StateError):
        answer = session.scheduler.poll(jobs)
        if any(status.wait and status.wait.is_first_word for status in answer.tasks.values()):
            sleep(_SECOND_LOOK)
            answer = session.scheduler.poll(jobs)
        stuck_jobs_teller(session, tell)(answer)
        for line in granted.record(session, of_answer(session, answer)):
            tell(Noticed(line))
