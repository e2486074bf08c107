"""Wait for jobs that go on by themselves: their ends stand in the journal, and their scheduler is asked in between."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slurmsweep.backends.base import Answer
    from slurmsweep.state.replay import SweepView

#: Seconds between two looks at the journal.
JOURNAL_PERIOD = 1.0


def follow(  # noqa: PLR0913, PLR0917 - what Backend.wait is given, and how to ask
    jobs: Sequence[str],
    target: int,
    refresh: Callable[[], SweepView],
    seen: Callable[[Answer], None],
    poll: Callable[[Sequence[str]], Answer],
    period: float,
) -> None:
    """Return when so many trials have ended, or when none of the jobs is left.

    Ctrl-C ends the waiting, not the jobs. ``poll`` asks the scheduler, after ``period`` seconds without an end in the
    journal; other arguments and errors as :meth:`.Backend.wait`.
    """
    ended, next_question = _ended(refresh()), time.monotonic() + period
    while ended < target:
        time.sleep(JOURNAL_PERIOD)
        before, ended = ended, _ended(refresh())
        if ended != before:
            next_question = time.monotonic() + period
        elif time.monotonic() >= next_question:
            next_question = time.monotonic() + period
            answer = poll(jobs)
            seen(answer)
            if not any(status.alive for status in answer.tasks.values()):
                break
    refresh()


def _ended(view: SweepView) -> int:
    return sum(n for state, n in view.counts().items() if state.has_ended())
