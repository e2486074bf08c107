"""Trials on machines that no job started: what became of those whose machine was lost, and putting them back.

On a cluster a scheduler knows each job. A machine of EC2 takes one trial after the other, by messages of a queue. When
it is lost its message comes to another machine, which records here what was lost before it claims a trial.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.agents.identity import lives_here
from slurmsweep.backends.base import Answer
from slurmsweep.backends.keys import JobRef, is_machine
from slurmsweep.control.round.reconcile import (
    bands_left,
    certain_ends,
    close_holes,
    look_twice,
    record_ends,
    with_last_metric,
)
from slurmsweep.control.snapshot import Question, Snapshot, answered, running_attempts
from slurmsweep.errors import SchedulerError
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Callable

    from slurmsweep.control.session import Session
    from slurmsweep.state.owner import Owner
    from slurmsweep.state.transaction import Transaction
    from slurmsweep.state.trial import Attempt

_NOT_ASKED = Answer({}, "not needed")

#: Why trials may be claimed again, in the journal.
LOST, INTERRUPTED = "machine lost", "machine interrupted"

#: Ends that no agent saw, of which the machine is the reason and not the trial.
_MACHINES_FAULT = ("lost", "node_fail", "preempted")

#: Attempts of a trial that machines may lose before a person decides: it may be the trial that ends its machine.
_MOST_LOST = 3


class Recovered(NamedTuple):
    """What was recorded of lost machines.

    Attributes:
        ended: attempts whose end was recorded.
        again: trials that may be claimed again, by their next attempts.
        given_up: trials that were lost too often: they wait for a person.
        silent: why nothing could be told of other machines; empty where all was told.
    """

    ended: tuple[AttemptId, ...] = ()
    again: tuple[AttemptId, ...] = ()
    given_up: tuple[int, ...] = ()
    silent: str = ""


def recover(session: Session, sleep: Callable[[float], None] = time.sleep) -> Recovered:
    """Record the ends of trials whose machine is certainly over, or whose process here is gone; put them back.

    Only trials of machines: those in jobs of schedulers are the business of `reconcile`, and no scheduler is asked.
    What was not put back when it was recorded is put back, too. Of a sweep that was stopped or canceled, or that
    reached its target, ends are recorded and nothing is put back.

    Raises:
        StateError: the journal could not be locked, read or written.
    """
    session.refresh()
    close_holes(session)
    silent = ""
    try:
        first, snapshot = look_twice(session, lambda: _look(session), sleep)
    except SchedulerError as error:  # what this machine knows by itself is recorded all the same
        silent, first = str(error), Snapshot(session.view)
        over = {
            attempt_id: attempt
            for attempt_id, attempt in _on_machines(session).items()
            if (attempt.owner and lives_here(attempt.owner) is False) or session.store.read_outcome(attempt_id)
        }
        snapshot = answered(session, Question(set(), set(), over), _NOT_ASKED)
    return _record(session, certain_ends(session, first, snapshot))._replace(silent=silent)


def put_back(session: Session, agent: Owner) -> AttemptId | None:
    """Put the trial back that an agent of this machine ran when it was told to stop; return the attempt that was cut.

    What its agent recorded as killed, or did not live to record, was preempted: the next agent goes on with it. None
    where the agent had no trial, or its trial ended by itself.

    Args:
        session: of the sweep.
        agent: process, start and host of an agent that has ended.

    Raises:
        StateError: the journal could not be locked, read or written.
    """
    session.refresh()
    found = attempt_of(session, agent)
    if found is None:
        return None
    attempt_id, attempt = found
    said = attempt.outcome or session.store.read_outcome(attempt_id)
    if said and not (said.by == "agent" and said.cause == "terminated"):
        return None
    if said is None:
        left = Outcome(TrialState.PREEMPTED, "preempted", ended=round(time.time(), 3), by="reconcile")
        end = with_last_metric(session, attempt_id, left)
    else:
        end = said._replace(state=TrialState.PREEMPTED, cause="preempted", by="service")
    bands = [] if attempt.outcome else bands_left(session, attempt_id)
    with session.transaction() as transaction:
        trial = session.view.trials[attempt_id.trial]
        if trial.newest != attempt_id.attempt or trial.open_to > trial.newest:
            return None  # another process has put it back meanwhile
        transaction.band(attempt_id, bands)
        transaction.end(attempt_id, attempt.token, end)
        _give_back(session, transaction, [trial.number], INTERRUPTED)
    return attempt_id


def record_killed(session: Session, agent: Owner, number: int) -> AttemptId | None:
    """Record the end of a trial whose agent on this machine was killed by a signal; return its attempt, None for none.

    The machine lives, so the trial is not put back: that is a person's business, as after a lack of memory.

    Raises:
        StateError: the journal could not be locked, read or written.
    """
    session.refresh()
    found = attempt_of(session, agent)
    if found is None or found[1].outcome or session.store.read_outcome(found[0]):
        return None
    attempt_id, attempt = found
    left = Outcome(TrialState.CRASHED, f"signal {number}", ended=round(time.time(), 3), by="reconcile")
    end, bands = with_last_metric(session, attempt_id, left), bands_left(session, attempt_id)
    with session.transaction() as transaction:
        if attempt_id not in running_attempts(session.view):
            return None  # another process has recorded it meanwhile
        transaction.band(attempt_id, bands)
        transaction.end(attempt_id, attempt.token, end)
    return attempt_id


def attempt_of(session: Session, agent: Owner) -> tuple[AttemptId, Attempt] | None:
    """Return the newest attempt that a process claimed, of those that the view has; None where it claimed none."""
    for trial in session.view.trials.of_jobs({agent.job or ""}):
        for number, attempt in sorted(trial.attempts.items(), reverse=True):
            if attempt.owner and _process(attempt.owner) == _process(agent):
                return AttemptId(trial.number, number), attempt
    return None


def _process(owner: Owner) -> tuple[str, str, int, int]:
    return owner.host, owner.boot, owner.pid, owner.start


def _look(session: Session) -> Snapshot:
    """Return what folders, processes here and EC2 say of running attempts on machines."""
    running = _on_machines(session)
    asked = {JobRef.of(a.owner, "") for a in running.values() if a.owner}
    answer = session.scheduler.poll((), asked) if asked else _NOT_ASKED
    return answered(session, Question(set(), asked, running), answer)


def _on_machines(session: Session) -> dict[AttemptId, Attempt]:
    """Return the attempts that run on machines, but for those of which the process lives here."""
    return {
        attempt_id: attempt
        for attempt_id, attempt in running_attempts(session.view).items()
        if attempt.owner and is_machine(attempt.owner.cluster) and not lives_here(attempt.owner)
    }


def _record(session: Session, certain: dict[AttemptId, Outcome]) -> Recovered:
    """Record ends, and put back what machines lost, in one transaction: no process finds one without the other."""
    lost = _lost(session)
    if not certain and not lost:
        return Recovered()
    bands = {attempt_id: bands_left(session, attempt_id) for attempt_id in certain}
    with session.transaction() as transaction:
        ended = record_ends(session, transaction, certain, bands)
        fresh = [a.trial for a in ended if certain[a].by == "reconcile"]
        numbers = dict.fromkeys([*_lost(session), *fresh])
        spent = [
            n
            for n in numbers
            if (n in fresh) + sum(map(_was_lost, session.view.trials[n].attempts.values())) >= _MOST_LOST
        ]
        again = _give_back(session, transaction, [n for n in numbers if n not in spent], LOST)
    return Recovered(tuple(ended), again, tuple(n for n in spent if n in fresh))


def _give_back(session: Session, transaction: Transaction, numbers: list[int], why: str) -> tuple[AttemptId, ...]:
    """Let trials be claimed again, unless a person or the target has ended the sweep."""
    if session.view.word not in (None, SweepState.PAUSED):
        return ()
    again = tuple(session.view.trials[number].next_attempt for number in numbers)
    transaction.retry(again, why)
    return again


def _lost(session: Session) -> list[int]:
    """Return the trials whose newest attempt a machine lost, and which may not be claimed again yet."""
    found = []
    for state in (TrialState.CRASHED, TrialState.PREEMPTED):
        for number in session.view.trials.in_state(state):
            current = session.view.trials[number].current
            if current and current.owner and is_machine(current.owner.cluster) and _was_lost(current):
                found.append(number)
    return found


def _was_lost(attempt: Attempt) -> bool:
    end = attempt.outcome
    return bool(end and end.by == "reconcile" and end.cause in _MACHINES_FAULT)
