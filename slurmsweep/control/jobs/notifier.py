"""Notice, in a command that waits, what a user wants to be told of: the first failure at once, and the end."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING

from slurmsweep.agents import notices
from slurmsweep.agents.notices import SweepEvent
from slurmsweep.control.jobs.wait import ended_trials
from slurmsweep.control.round.events import Noticed, Planned, Progress, TrialsKeptBack
from slurmsweep.errors import StateError
from slurmsweep.report.figures import figure
from slurmsweep.report.summary import SweepSummary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slurmsweep.control.round.decide import Plan
    from slurmsweep.control.round.events import Event, Tell
    from slurmsweep.control.session import Session
    from slurmsweep.state.lifecycle import TrialState
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.store import SweepStore


class Notifier:
    """Passes the events of one command on, and tells the user what ``--notify`` is for. For one thread.

    Args:
        session: of the sweep.
        pass_on: takes each event.
        command: of the user.
        waits: the command line waits for what it starts, and notices itself; else agents do.
        is_supervised: neither does, but a supervisor.
    """

    def __init__(self, session: Session, pass_on: Tell, command: str, *, waits: bool, is_supervised: bool) -> None:
        self._session, self._pass_on, self._command = session, pass_on, command
        self._waits, self._is_supervised = waits, is_supervised
        self._number, self._arrays = 0, frozenset[str]()
        self._failures: int | None = None
        self._ends = 0
        self._is_for_agents = not (waits or is_supervised)
        self._at_work: Thread | None = None
        self._said: list[str] = []

    def __call__(self, event: Event) -> None:
        """Pass an event on. The user's command runs beside what else is to be done; what came of it is said here."""
        if isinstance(event, Planned) and self._failures is None and event.plan.batches and not event.is_rehearsal:
            self._ask(event.plan)
        if isinstance(event, TrialsKeptBack) and self._is_for_agents:
            self._ends -= event.trials
            self.leave_to_agents()
        self._pass_on(event)
        while self._said:
            self._pass_on(Noticed(self._said.pop(0)))
        if isinstance(event, Progress) and self._failures is not None and not self._is_supervised:
            self._ends = ended_trials(self._session.view) + event.total - event.ended
            if not self._at_work and notices.failures_in(event.counts) > self._failures:
                known = SweepEvent.FAILED, dict(event.counts), _failure(self._session.view)
                self._at_work = Thread(target=_tell, args=(self._session.store, *known, self._said.append), daemon=True)
                self._at_work.start()

    def _ask(self, plan: Plan) -> None:
        """Keep what the user wants to be told from now on; trials that run again have not failed yet."""
        view, again = self._session.view, plan.retry.attempt_ids
        self._failures = notices.failures_in(view.counts())
        self._failures -= sum(view.trials[a.trial].state in notices.FAILURES for a in again)
        self._ends = ended_trials(view) - sum(view.trials[a.trial].state.has_ended() for a in again) + plan.trials
        ends = self._ends if self._is_for_agents else None
        self._arrays = frozenset(view.job_ids())
        self._number = notices.ask(self._session.store, self._command, self._failures, ends)

    def refused(self) -> None:
        """Ask for nothing where the scheduler refused all that was to be submitted. Raises StateError."""
        if self._number and self._arrays.issuperset(self._session.refresh().job_ids()):
            notices.withdraw(self._session.store, self._number)

    def leave_to_agents(self) -> None:
        """Let agents notice from now on: this command waits no longer, and the jobs go on. Raises StateError."""
        if self._failures is not None and not self._is_supervised:
            notices.leave_to_agents(self._session.store, self._ends)

    def over(self, stopped_by: str = "") -> None:
        """Tell that all has ended which was waited for; or why nothing further was started."""
        if self._failures is None or self._is_supervised or not self._waits:
            return
        if self._at_work:
            self._at_work.join()
        event, view = SweepEvent.STOPPED if stopped_by else SweepEvent.ENDED, self._session.view
        _tell(self._session.store, event, view.counts(), stopped_by or _best(self._session), self._said.append)
        for line in self._said:
            self._pass_on(Noticed(line))


def _tell(
    store: SweepStore, event: SweepEvent, counts: Mapping[TrialState, int], detail: str, say: Callable[[str], None]
) -> None:
    try:
        notices.tell(store, event, counts, say, detail)
    except StateError as error:
        say(f"nothing is told by --notify: {error}")


def notify_of_round(session: Session, say: Callable[[str], None], *, is_over: bool, stopped_by: str) -> None:
    """Tell what a supervisor's round found: where it leaves trials for good, why. Raises StateError."""
    asked, counts = notices.newest(session.store), session.view.counts()
    if asked and notices.failures_in(counts) > asked.failures:
        notices.tell(session.store, SweepEvent.FAILED, counts, say, _failure(session.view))
    if asked and is_over:
        event = SweepEvent.STOPPED if stopped_by else SweepEvent.ENDED
        notices.tell(session.store, event, counts, say, stopped_by or _best(session))


def _failure(view: SweepView) -> str:
    failed = [number for state in notices.FAILURES for number in view.trials.in_state(state)]
    if not failed:
        return ""
    trial = view.trials[min(failed)]
    return f"trial {trial.number}: {trial.state} ({trial.cause})"


def _best(session: Session) -> str:
    store = session.store
    metric = store.manifest.config.metric
    best = SweepSummary(store.layout, store.manifest, session.view, {}, {}).best() if metric else None
    return f"best {metric.name} = {figure(best.metric)} in {best.name}" if best and metric else ""
