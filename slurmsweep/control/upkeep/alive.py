"""Whether anything of a sweep is alive: a job, a trial, its supervisor. What removes files asks here first."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.backends.base import Answer
from slurmsweep.control.jobs.supervisor_status import supervisor_status
from slurmsweep.control.snapshot import answered, look, look_at_jobs, question
from slurmsweep.errors import SchedulerUnavailableError, UsageError

if TYPE_CHECKING:
    from slurmsweep.control.session import Session


class Life(NamedTuple):
    """What is known of the life of a sweep.

    Attributes:
        living: what lives, in words; empty where nothing is known to.
        unknown: what may live and cannot be told from here, each in words.
        is_asked: the scheduler answered, or need not be asked.
    """

    living: str = ""
    unknown: tuple[str, ...] = ()
    is_asked: bool = True


def life(session: Session) -> Life:
    """Return what of a sweep lives, by the scheduler, the processes of this machine and the folders. Writes nothing."""
    session.refresh()
    unknown, is_asked = [], True
    try:
        jobs = look_at_jobs(session)
        if jobs.alive:
            return Life(f"it has {len(jobs.alive)} live jobs")
        unknown += [f"whether it has jobs on cluster {cluster}: ask there" for cluster in jobs.elsewhere]
        snapshot = look(session)
    except SchedulerUnavailableError as error:
        unknown.append(f"whether it has jobs: {error}")
        is_asked = False
        snapshot = answered(session, question(session), Answer({}, str(error)))
    running = {attempt_id.trial: seen for attempt_id, seen in snapshot.seen.items() if seen.outcome is None}
    for number, seen in running.items():
        if seen.witnessed:
            return Life(f"trial {number} runs ({seen.note})")
    if running:
        number, seen = next(iter(running.items()))
        more = f", and of {len(running) - 1} other trials" if len(running) > 1 else ""
        unknown.append(f"whether trial {number} runs{more}" + (f": {seen.note}" if is_asked else ""))
    supervisor = supervisor_status(session) if is_asked else None
    if supervisor and supervisor.supervisors:
        return Life(f"its supervisor waits in Slurm (job {', '.join(supervisor.supervisors)})")
    if supervisor and supervisor.supervisors is None:
        unknown.append("whether its supervisor waits: Slurm could not be asked")
        is_asked = False
    return Life("", tuple(unknown), is_asked)


def refuse_living(session: Session, *, force: bool = False) -> tuple[str, ...]:
    """Refuse a sweep of which something lives; return what ``force`` passed over, in words.

    Args:
        session: of the sweep.
        force: do not refuse it for what cannot be told from here. What is known to live is refused all the same.

    Raises:
        UsageError: a job, a trial or the supervisor lives, or may live.
        SchedulerUnavailableError: one may live, and the scheduler could not be asked.
    """
    sweep, found = session.store.manifest.sweep_id, life(session)
    if found.living:
        raise UsageError(f"sweep {sweep} is alive: {found.living}; `slurmsweep cancel {sweep}` ends it")
    if found.unknown and not force:
        kind = UsageError if found.is_asked else SchedulerUnavailableError
        raise kind(
            f"sweep {sweep} may be alive. It cannot be told {'; nor '.join(found.unknown)}. Where you know that "
            "nothing of it runs, --force goes on"
        )
    return found.unknown
