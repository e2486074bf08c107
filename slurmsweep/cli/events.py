"""Print what a use case tells: notes on stderr as things happen, progress while a command waits."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import singledispatchmethod
from typing import TYPE_CHECKING

from slurmsweep.cli.output import note, steps
from slurmsweep.cli.sweeps import note_unknown
from slurmsweep.control.round.events import (
    ArraySubmitted,
    JobsReleased,
    Noticed,
    Planned,
    Progress,
    Reconciled,
    TrialsKeptBack,
)
from slurmsweep.report.figures import counted, trials_text
from slurmsweep.state.lifecycle import counts_in_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from slurmsweep.backends.base import Submitted
    from slurmsweep.cli.watching import Viewer
    from slurmsweep.control.round.events import Event
    from slurmsweep.state.store import SweepStore

#: Number of trials named in one line.
_NAMED = 20


class EventPrinter:
    """Takes the events of one command and prints them. Close it at the command's end.

    Attributes:
        submitted: arrays that the scheduler took, each with the minutes and MiB that were learnt for its trials.
        reasons: why waves of trials were made as they were.
        live: folder of the sweep, to show its live view on a terminal while the command waits; empty for a bar.
    """

    def __init__(self, sweep: str = "") -> None:
        self.sweep, self.live = sweep, ""
        self.submitted: list[ArraySubmitted] = []
        self.reasons: list[str] = []
        self._viewer: Viewer | None = None
        self._stack = ExitStack()
        self._show: Callable[[int, str], None] | None = None
        self._total = -1
        self._held: list[Event] | None = []

    def follow(self, store: SweepStore, *, plain: bool) -> None:
        """Name this sweep in commands, and show its live view on a terminal unless the user wants it ``plain``."""
        self.sweep = store.manifest.sweep_id
        self.live = "" if plain else store.layout.folder

    def close(self) -> None:
        """Print what was held back, and end the progress bar, if one is shown."""
        held, self._held = self._held or [], None
        for event in held:
            self._print(event)
        self._end_bar()

    def _end_bar(self) -> None:
        self._stack.close()
        self._show = self._viewer = None

    def __call__(self, event: Event) -> None:
        """Print one event; what comes before the first decision is held back until it is known what to say first."""
        if not isinstance(event, Progress):
            self._end_bar()
        if self._held is not None and not isinstance(event, Planned):
            self._held.append(event)
            return
        if isinstance(event, Planned):
            if event.headline:
                note(event.headline)
            self.close()
        self._print(event)

    @singledispatchmethod
    def _print(self, event: Event) -> None:
        """Print nothing for an event that has no words."""

    @_print.register
    def _(self, event: Noticed) -> None:
        note(event.text)

    @_print.register
    def _(self, event: Reconciled) -> None:
        note_unknown(event.result.unknown)
        for line in event.result.words_of_jobs():
            note(line)

    @_print.register
    def _(self, event: Planned) -> None:
        plan, retry = event.plan, event.plan.retry
        verb = "would be run again" if event.is_rehearsal else "to be run again"
        for given, attempt_ids in retry.groups.items():
            by_reason: dict[str, list[int]] = {}
            for attempt_id in attempt_ids:
                by_reason.setdefault(retry.reason(given, attempt_id), []).append(attempt_id.trial)
            beside = f", {given}" if str(given) else ""
            for reason, numbers in by_reason.items():
                note(f"{verb}: {trials_text(numbers, _NAMED)} ({reason}){beside}")
        for line in (*retry.left_words(), *retry.remarks, *plan.remarks):
            note(line)
        if plan.wave and (plan.batches or plan.wave.left):
            self.reasons += plan.wave.reasons
            for line in plan.wave.reasons:
                note(line)
        if plan.others_open:
            note(
                f"{counted(plan.others_open, 'trial waits', 'trials wait')} for a first attempt, which `slurmsweep "
                f"submit {self.sweep}` starts"
            )

    @_print.register
    def _(self, event: ArraySubmitted) -> None:
        self.submitted.append(event)
        given = [f"{event.minutes} min" if event.minutes else "", f"{event.mib} MiB" if event.mib else ""]
        named = " and ".join(part for part in given if part)
        note(f"submitted job {event.array.job}: {array_words(event.array)}" + (f", {named} each" if named else ""))

    @_print.register
    def _(self, event: JobsReleased) -> None:
        note(f"released after a failed launch: jobs {', '.join(event.jobs)}")

    @_print.register
    def _(self, event: TrialsKeptBack) -> None:
        later = f"`slurmsweep {event.command} {self.sweep}`" if event.command else "the supervisor"
        lacking = f"{counted(event.trials, 'trial waits', 'trials wait')} without a job: {event.why}"
        note(f"{lacking}. Nothing is lost: {later} submits them when there is room")

    @_print.register
    def _(self, event: Progress) -> None:
        if self._is_live():
            return
        if self._show is None or self._total != event.total:
            self._end_bar()
            self._show, self._total = self._stack.enter_context(steps(event.total, "trials")), event.total
        counts = counts_in_words(event.counts, event.stopped_early, event.not_needed)
        words = ", ".join(f"{n} {word}" for word, n in sorted(counts.items())) or "waiting"
        # the bar counts what this command started; trials that ended before are the sweep's alone
        is_whole = sum(n for state, n in event.counts.items() if state.has_ended()) == event.ended
        self._show(event.ended, words if is_whole else f"in the whole sweep {words}")

    def _is_live(self) -> bool:
        """Return whether the live view is shown, which tells the progress itself."""
        from slurmsweep.cli import screen  # of commands that wait

        if self._viewer and not self._viewer.is_alive():  # the person left it, or it met an error
            self._end_bar()
            self.live = ""
        if not self.live or (self._viewer is None and not screen.is_possible(sys.stderr)):
            return False
        if self._viewer is None:
            from slurmsweep.cli import watching

            self._viewer = self._stack.enter_context(watching.beside(self.live, self.sweep, sys.stderr))
        return True


def array_words(array: Submitted) -> str:
    """Return ``12 trials``, or ``3 jobs with up to 4 trials each``."""
    return (
        f"{counted(array.tasks, 'job')} with up to {array.agents} trials each"
        if array.agents > 1
        else counted(array.tasks, "trial")
    )
