"""Progress while a command waits: a bar on a terminal, a line now and then elsewhere. On stderr, never on stdout."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slurmsweep.state.lifecycle import TrialState
    from slurmsweep.state.replay import SweepView

#: Seconds between two lines where there is no terminal.
_LINE_PERIOD = 10.0


@contextmanager
def progress(total: int, start: SweepView) -> Iterator[Callable[[SweepView], None]]:
    """Show how many of ``total`` trials have ended since ``start``; yields the function that takes the newest state."""
    before = _ended(start.counts())
    if sys.stderr.isatty():
        with _bar(total, before) as show:
            yield show
    else:
        yield _lines(total, before)


@contextmanager
def steps(total: int, noun: str) -> Iterator[Callable[[int, str], None]]:
    """Show how many of ``total`` things are done; yields the function that takes that number, and words beside it."""
    if sys.stderr.isatty():
        with _any_bar(total) as show:
            yield show
    else:
        yield _any_lines(total, noun)


@contextmanager
def _bar(total: int, before: int) -> Iterator[Callable[[SweepView], None]]:
    with _any_bar(total) as update:

        def show(view: SweepView) -> None:
            counts = view.counts()
            update(_ended(counts) - before, _words(counts))

        yield show


@contextmanager
def _any_bar(total: int) -> Iterator[Callable[[int, str], None]]:
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
        yield lambda done, words: bar.update(task, completed=done, description=words)


def _lines(total: int, before: int) -> Callable[[SweepView], None]:
    update = _any_lines(total, "trials")

    def show(view: SweepView) -> None:
        counts = view.counts()
        update(_ended(counts) - before, _words(counts))

    return show


def _any_lines(total: int, noun: str) -> Callable[[int, str], None]:
    said = 0
    last = time.monotonic()

    def update(done: int, words: str) -> None:
        nonlocal said, last
        due = done == total or time.monotonic() - last >= _LINE_PERIOD
        if done != said and due:
            said, last = done, time.monotonic()
            print(f"{done}/{total} {noun}: {words}", file=sys.stderr, flush=True)

    return update


def _words(counts: dict[TrialState, int]) -> str:
    return ", ".join(f"{n} {state}" for state, n in sorted(counts.items())) or "waiting"


def _ended(counts: dict[TrialState, int]) -> int:
    return sum(n for state, n in counts.items() if state.has_ended())
