"""Progress while a command waits: a bar on a terminal, a line now and then elsewhere. On stderr, never on stdout."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slurmsweep.state.fold import Fold
    from slurmsweep.state.lifecycle import TrialState

#: Seconds between two lines where there is no terminal.
_LINE_PERIOD = 10.0


@contextmanager
def progress(total: int, start: Fold) -> Iterator[Callable[[Fold], None]]:
    """Show how many of ``total`` trials have ended since ``start``; yields the function that takes the newest state."""
    before = _ended(start.counts())
    if sys.stderr.isatty():
        with _bar(total, before) as show:
            yield show
    else:
        yield _lines(total, before)


@contextmanager
def _bar(total: int, before: int) -> Iterator[Callable[[Fold], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("starting", total=total)

        def show(fold: Fold) -> None:
            counts = fold.counts()
            bar.update(task, completed=_ended(counts) - before, description=_words(counts))

        yield show


def _lines(total: int, before: int) -> Callable[[Fold], None]:
    said = 0
    last = time.monotonic()

    def show(fold: Fold) -> None:
        nonlocal said, last
        counts = fold.counts()
        done = _ended(counts) - before
        due = done == total or time.monotonic() - last >= _LINE_PERIOD
        if done != said and due:
            said, last = done, time.monotonic()
            print(f"{done}/{total} trials: {_words(counts)}", file=sys.stderr, flush=True)

    return show


def _words(counts: dict[TrialState, int]) -> str:
    return ", ".join(f"{n} {state}" for state, n in sorted(counts.items())) or "waiting"


def _ended(counts: dict[TrialState, int]) -> int:
    return sum(n for state, n in counts.items() if state.has_ended())
