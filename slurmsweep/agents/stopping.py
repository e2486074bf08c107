"""Signal the processes of a trial: in their turn where they are ordered to stop, or all at once.

Loaded only where a trial is signalled, or leaves processes behind.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from slurmsweep.agents import processes

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Seconds in which ``tee`` and its like end by themselves after the program whose output they pass on.
_RELAY_SECONDS = 0.5

#: Seconds between two looks at the processes of a command that was asked to stop: from, to, and as a part of the time.
_SHORTEST_LOOK, _LONGEST_LOOK, _LOOK_PART = 0.02, 0.5, 0.1


class Order:
    """An order to stop: which processes have heard it, each once, and which come later.

    Args:
        number: of the signal.
        held: keys of launchers that an earlier order holds.
        is_known: every process that there is has heard it from Slurm.

    Attributes:
        number: of the signal.
        held: keys of launchers that were stopped until their programs have ended.
        later: ids of the processes that did not hear it at once.
    """

    def __init__(self, number: signal.Signals, held: Iterable[tuple[int, int]], *, is_known: bool) -> None:
        self.number = number
        self._given = time.monotonic()
        self._told = {process.key for process in _tree().values()} if is_known else set()
        self.held = set(held)
        self._relays: dict[tuple[int, int], float] = {}
        there = set(_tree())
        self.remind()
        self.later = there - {pid for pid, _ in self._told}

    def seconds_to_look(self) -> float:
        """Return how long one may sleep until :meth:`remind` is due."""
        return min(_LONGEST_LOOK, max(_SHORTEST_LOOK, _LOOK_PART * (time.monotonic() - self._given)))

    def remind(self) -> None:
        """Tell those processes whose turn it is now: the programs, then what stood in front of them."""
        now = time.monotonic()
        ending = {key for key, until in self._relays.items() if now < until}
        # a launcher that is held sleeps elsewhere
        tree = {pid: p._replace(waits=p.waits or p.key in self.held) for pid, p in _tree().items()}
        hearers = processes.hearers(tree, os.getpid(), self.number, self._told, ending | self.held)
        self._relays |= {relay.key: now + _RELAY_SECONDS for relay in hearers.relays}
        self.held.update(launcher.key for launcher in hearers.held)
        _signal(hearers.held, signal.SIGSTOP)
        due = [program for program in hearers.programs if program.key not in self._told and program.key not in ending]
        self._told.update(program.key for program in due)
        _signal(due, self.number)
        _signal((program for program in due if program.key in self.held), signal.SIGCONT)


def pass_on(number: signal.Signals, command: int) -> None:
    """Send a signal that is no order to stop to the programs that handle it; where none does, to the command alone."""
    tree = _tree()
    programs = processes.hearers(tree, os.getpid(), number).programs
    handlers = [program for program in programs if program.catches(number)]
    _signal(handlers or [process for process in tree.values() if process.pid == command], number)


def tell_all(number: signal.Signals) -> None:
    """Send a signal to every descendant of this process."""
    _signal(_tree().values(), number)


def are_left() -> bool:
    """Return whether this process has living descendants."""
    return bool(_tree())


def _tree() -> dict[int, processes.Process]:
    return processes.descendants(os.getpid())


def _signal(told: Iterable[processes.Process], number: signal.Signals) -> None:
    for process in told:
        with suppress(ProcessLookupError, PermissionError):  # gone, or of another user
            os.kill(process.pid, number)
