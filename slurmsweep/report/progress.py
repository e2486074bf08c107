"""Show progress while a command waits: a bar on a terminal, else a line now and then. On stderr, never on stdout."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from slurmsweep.state.lifecycle import TrialState

    Counts = Mapping[TrialState, int]

#: Seconds between two lines where there is no terminal.
_LINE_PERIOD = 10.0


@contextmanager
def progress(total: int, start: Counts) -> Iterator[Callable[[Counts], None]]:
    """Show how many of ``total`` trials have ended since the counts ``start``; yield what takes the newest counts."""
    before = _ended(start)
    with steps(total, "trials") as show:
        yield lambda counts: show(
            _ended(counts) - before, ", ".join(f"{n} {state}" for state, n in sorted(counts.items())) or "waiting"
        )


@contextmanager
def steps(total: int, noun: str) -> Iterator[Callable[[int, str], None]]:
    """Show how many of ``total`` things are done; yield what takes that number, and words to show beside it."""
    if not sys.stderr.isatty():
        yield _lines(total, noun)
        return
    from rich.console import Console  # most commands show no bar
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
        yield lambda done, words: bar.update(task, completed=done, description=words)


def _lines(total: int, noun: str) -> Callable[[int, str], None]:
    shown = 0
    last = time.monotonic()

    def show(done: int, words: str) -> None:
        nonlocal shown, last
        if done != shown and (done == total or time.monotonic() - last >= _LINE_PERIOD):
            shown, last = done, time.monotonic()
            print(f"{done}/{total} {noun}: {words}", file=sys.stderr, flush=True)

    return show


def _ended(counts: Counts) -> int:
    return sum(n for state, n in counts.items() if state.has_ended())
