"""Take trials back so that their points are run again, as deleting runs in W&B does for a grid that is resumed.

W&B's recipe to run points of a grid again is to delete their runs and to resume the sweep (its documentation, "rerun a
grid search"). Here nothing is removed: what the earlier attempts left stays where it is, and the trial gets a next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slurmsweep.errors import NotFoundError, UsageError
from slurmsweep.report.choice import chosen, fields
from slurmsweep.report.next_step import starter
from slurmsweep.report.summary import SweepSummary
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.records import DELETED

if TYPE_CHECKING:
    from collections.abc import Collection

    from slurmsweep.control.session import Session
    from slurmsweep.report.choice import Demand
    from slurmsweep.state.tail import AttemptId


@dataclass(frozen=True)
class Choice:
    """The trials that are meant; at least one of the three is given.

    Attributes:
        trials: by number, ascending; a range may be of any length, because the first number that the sweep does not
            have ends the look.
        states: by state.
        where: only those of them that meet these; alone, of all that ended.
    """

    trials: Collection[int] = ()
    states: frozenset[TrialState] = frozenset()
    where: tuple[Demand, ...] = ()


def chosen_attempts(session: Session, choice: Choice) -> list[AttemptId]:
    """Return the next attempts of the trials that are meant, by number; trials that wait already are left out.

    Raises:
        UsageError: nothing was chosen, or a trial that runs.
        NotFoundError: there is no such trial, or it was never run.
    """
    if not choice.trials and not choice.states and not choice.where:
        raise UsageError("say which trials: --trials LIST, --state STATE, or --where NAME=VALUE")
    running = choice.states & {TrialState.RUNNING, TrialState.PENDING}
    if running:
        raise UsageError(f"--state {next(iter(running))}: only trials that ended can be run again")
    sweep, trials = session.store.manifest.sweep_id, session.view.trials
    for number in choice.trials:
        session.store.manifest.require_trials([number])
        trial = trials.get(number)
        if trial is None:
            starts = starter(session.store.manifest, sweep)
            raise NotFoundError(f"trial {number} of sweep {sweep} was never run: {starts} starts it")
        if trial.state is TrialState.RUNNING:
            raise UsageError(f"trial {number} runs: wait for its end, or `slurmsweep cancel {sweep}`")
    by_state = {number for state in choice.states for number in trials.in_state(state)}
    numbers = sorted(n for n in {*choice.trials, *by_state} if trials[n].state is not TrialState.PENDING)
    if choice.where:
        store = session.store
        summary = SweepSummary(store.layout, store.manifest, session.view, {})
        ended = [state for state in TrialState if state.has_ended()]
        rows = map(summary.trial, numbers) if choice.trials or choice.states else summary.trials(None, ended)
        numbers = [row.number for row in chosen(rows, fields(store.manifest.config), choice.where)]
    return [trials[number].next_attempt for number in numbers]


def rerun(session: Session, choice: Choice) -> list[AttemptId]:
    """Let the points of these trials be run again, also of finished ones; return the attempts that may be claimed now.

    The sweep's own state stays: one that was stopped has to be resumed, as in W&B. Raises as :func:`chosen_attempts`.
    """
    with session.transaction() as transaction:
        attempt_ids = chosen_attempts(session, choice)
        transaction.retry(attempt_ids, DELETED)
    return attempt_ids
