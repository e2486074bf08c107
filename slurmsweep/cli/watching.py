"""Show a sweep until it ends: on a screen that follows keys, or in lines where there is no terminal."""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import Event, Thread
from typing import TYPE_CHECKING, TextIO

from slurmsweep.cli import screen
from slurmsweep.cli.output import print_sentences, print_text
from slurmsweep.control.session import Session
from slurmsweep.control.views.live_queue import LONGEST_QUEUE_PERIOD
from slurmsweep.control.views.live_view import LiveView
from slurmsweep.report.live import LiveState, compose, one_line, plain
from slurmsweep.report.live_choice import LiveChoice, react
from slurmsweep.state.lifecycle import Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

#: Seconds between two looks at the journal, and how many times as long as the look before at least.
PERIOD, _SPARING = 2.0, 10.0

#: Seconds between two lines where there is no terminal.
LINE_PERIOD = 10.0

#: Seconds after which the end of a look is not waited for any more.
_PATIENCE = 1.0


def once(view: LiveView) -> None:
    """Print one screen, as large as the terminal is, without colours."""
    size = shutil.get_terminal_size((80, 24))
    state = view.gather(LiveChoice(), size.columns, size.lines)
    lines = compose(state, LiveChoice(), size.columns, size.lines, screen.glyphs(sys.stdout))
    print_text(plain(lines[:-1]).rstrip())  # without the keys


def in_lines(view: LiveView, sleep: Callable[[float], None] = time.sleep) -> LiveState:
    """Print a line when something has changed, at most every 10 s, until the sweep has ended or waits for a person."""
    shown, at = "", -LINE_PERIOD
    while True:
        began = time.monotonic()
        state = view.gather(LiveChoice(), 80, 0)
        line = one_line(state)
        if line != shown and (state.is_over or began - at >= LINE_PERIOD):
            print_sentences(line)
            sys.stdout.flush()
            shown, at = line, began
        if state.is_over:
            return state
        if view.is_at_rest(state):
            print_sentences(line if line != shown else "nothing runs and nothing waits")
            print_sentences(f"next: {state.follows}")
            return state
        sleep(max(PERIOD, _SPARING * (time.monotonic() - began)))


class Viewer(Thread):
    """A live view on a screen: gathers, draws and follows keys in a thread, so that signals are heard meanwhile.

    Args:
        view: gathers.
        on: the screen, which its owner enters and leaves.
        stays: go on when the sweep has ended: its owner ends the view.

    Attributes:
        state: what was shown last; None before the first look.
        error: what ended the view; None where it was left or the sweep ended.
    """

    def __init__(self, view: LiveView, on: screen.Screen, *, stays: bool = False) -> None:
        super().__init__(daemon=True)
        self._view, self._screen, self._stays = view, on, stays
        self._is_over = Event()
        self.state: LiveState | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        """Show the sweep until it has ended, a person leaves, or :meth:`end` is called."""
        try:
            self._follow()
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits for this one
            self.error = error
        finally:
            self._is_over.set()

    def end(self) -> None:
        """End the view; do not wait for a file server or scheduler that does not answer."""
        self._is_over.set()
        with suppress(OSError):
            self._screen.wake()
        self.join(_PATIENCE)

    def _follow(self) -> None:
        choice, shapes = LiveChoice(), screen.glyphs(self._screen.stream)
        self._screen.draw([((f"reading the journal of sweep {self._view.sweep} ...", ""),)])
        while not self._is_over.is_set():
            began, (width, height) = time.monotonic(), self._screen.size
            state = self.state = self._view.gather(choice, width, height)
            if state.is_over and not self._stays:
                return
            if self._stays and state.standing in (Standing.PENDING, Standing.IDLE):
                state = replace(state, follows="")  # the command that owns this view is about to do it
            self._screen.draw(compose(state, choice, width, height, shapes))
            due = time.monotonic() + max(PERIOD, _SPARING * (time.monotonic() - began))
            while not self._is_over.is_set() and time.monotonic() < due:
                keys = self._screen.keys(min(0.5, due - time.monotonic()), is_typing=choice.asks is not None)
                before = choice
                for key in keys:
                    changed = react(choice, key, state.order)
                    if changed is None:
                        return
                    choice = changed
                if choice.page is not before.page or choice.needs_more_than(before) or "resize" in keys:
                    break  # what is shown now was not gathered
                if choice != before:
                    self._screen.draw(compose(state, choice, width, height, shapes))


def on_screen(view: LiveView, stream: TextIO) -> LiveState | None:
    """Show the live view on a terminal until the sweep has ended or a person leaves; return what was shown last.

    Raises as :meth:`LiveView.gather`.
    """
    with _shown(view, stream, stays=False) as viewer:
        while viewer.is_alive():
            viewer.join(_PATIENCE)
    if viewer.error:
        raise viewer.error
    return viewer.state


def beside(folder: str, name: str, stream: TextIO) -> AbstractContextManager[Viewer]:
    """Return a context in which a terminal shows the live view of a sweep, while the command that runs it waits.

    Args:
        folder: of the sweep.
        name: of the sweep in commands.
        stream: the terminal.
    """
    view = LiveView(Session.open(folder), name, in_background=True, shortest=LONGEST_QUEUE_PERIOD)
    return _shown(view, stream, stays=True)


@contextmanager
def _shown(view: LiveView, stream: TextIO, *, stays: bool) -> Iterator[Viewer]:
    with screen.Screen(stream) as on:
        viewer = Viewer(view, on, stays=stays)
        viewer.start()
        try:
            yield viewer
        finally:
            viewer.end()
