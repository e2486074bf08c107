"""Start no further trials where those that ended all failed alike: the others would only end like them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.control.jobs.wait import ended_trials
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from slurmsweep.control.session import Session

#: Trials that fail alike before the rest is left, where the user names no number.
_MOST = 5

#: Causes of a command that cannot be started, or not be found, as shells and agents say it: one of them is enough.
_CANNOT_START = frozenset({"exit 126", "exit 127"})


class FailedAlike:
    """Watches the trials that end from now on, until one of them does anything else than fail like the others.

    Args:
        session: of the sweep; its view is looked at as it then is.
        most: how many may fail alike; 0 for any number; None for :data:`_MOST`, for one where the command cannot start,
            and for any number where the sweep has finished trials.

    Attributes:
        reason: why no further trial is to start; empty while that is not so.
    """

    def __init__(self, session: Session, most: int | None = None) -> None:
        self.reason = ""
        self._session = session
        self._most = most
        self._failed_before = self._failed()
        self._ended_before = ended_trials(session.view)
        self._finished_before = session.view.counts().get(TrialState.FINISHED, 0)

    def may_start(self) -> bool:
        """Return whether further trials may start."""
        if not self.reason and self._most != 0:
            failed = sorted(self._failed() - self._failed_before)
            if failed and ended_trials(self._session.view) - self._ended_before == len(failed):
                self.reason = self._judge(failed)
        return not self.reason

    def _judge(self, failed: list[AttemptId]) -> str:
        """Return why there should be no further trials, where all that ended have failed; empty to go on."""
        from slurmsweep.control.failures.log_end import last_words, read_failure  # most commands meet no failure

        view, layout = self._session.view, self._session.store.layout
        cause, most = view.trials[failed[0].trial].cause, self._most
        if most is None:
            most = 1 if cause in _CANNOT_START else _MOST
            if self._finished_before and cause not in _CANNOT_START:
                return ""
        ends = {one: read_failure(last_words(layout.log(one))) for one in failed[: most + 1]}
        alike = {(view.trials[one.trial].cause, failure.signature) for one, failure in ends.items()}
        if len(failed) < most or len(alike) > 1:
            return ""
        words = ends[failed[0]].words
        counted = "the first trial failed" if len(failed) == 1 else f"the first {len(failed)} trials all failed alike"
        return f"{counted} ({cause}{': ' if words else ''}{words})"

    def _failed(self) -> set[AttemptId]:
        trials = self._session.view.trials
        current = {number: trials[number].current for number in trials.in_state(TrialState.FAILED)}
        return {AttemptId(number, attempt.number) for number, attempt in current.items() if attempt}
