"""Run agents as processes of this machine, so many at a time, and leave nothing of them running."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from slurmsweep.agents.identity import process_start
from slurmsweep.errors import SlurmsweepError, kind_of
from slurmsweep.state.assignment import AGENTS, LOCAL, SEAT, TRIALS, VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType

    from slurmsweep.state.replay import SweepView

#: Seconds between two looks at the agents, and between two at the journal: counting many trials takes its time.
_PERIOD = 0.05
_PROGRESS_PERIOD = 0.5

#: What ends this command: a closed terminal and a plain kill are as good as Ctrl-C.
_ENDING = (signal.SIGTERM, signal.SIGHUP)

#: In the environment of all processes of one agent: what finds them after the agent was killed.
_MARK = "SLURMSWEEP_LOCAL_AGENT"

#: Of a job in which this command runs: they are for the job's own agents.
_OF_A_JOB = (VARIABLE, SEAT, AGENTS, TRIALS)


@dataclass
class _Place:
    """Where one agent at a time runs, and with what.

    Attributes:
        variables: of its agents beside those of this process: its number, and its GPUs.
        mark: of the processes of its newest agent.
        agent: at work here; None for none.
        left: what may be left of an agent that ended badly: processes, each with its start. None for nothing.
    """

    variables: dict[str, str]
    mark: str = ""
    agent: subprocess.Popen[str] | None = None
    left: dict[int, int] | None = None

    def is_free(self) -> bool:
        """Return whether an agent may start here; end what an earlier one left behind."""
        if self.left is not None:
            self.left = _end_marked(self.mark, self.left) or None
        return self.agent is None and self.left is None

    def start(self, command: Sequence[str], inherited: Mapping[str, str], mark: str) -> None:
        """Start an agent; ``inherited``: the variables of this process that agents get."""
        self.mark = mark
        self.agent = subprocess.Popen(
            command,
            env={**inherited, **self.variables, _MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="backslashreplace",
            start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on once
        )

    def take_ended(self) -> subprocess.Popen[str] | None:
        """Return the agent if it has ended, which leaves the place; after a bad end its processes are killed."""
        if self.agent is None or self.agent.poll() is None:
            return None
        ended, self.agent = self.agent, None
        if ended.returncode:
            self.left = _end_marked(self.mark, {})
        return ended


def run(
    command: Sequence[str],
    count: int,
    variables: Sequence[dict[str, str]],
    refresh: Callable[[], SweepView],
    may_start: Callable[[], bool],
) -> None:
    """Run ``count`` agents, as many at a time as there are places, each place with ``variables`` of its own.

    A place is free again when no process of its trial is left, also where the agent was killed: what the agent would
    have ended is ended here. Processes that emptied their environment are not found.

    Other args and errors as :meth:`.Backend.wait`.
    """
    places = [_Place(own | {LOCAL: str(number)}) for number, own in enumerate(variables)]
    inherited = {name: value for name, value in os.environ.items() if name not in _OF_A_JOB}
    ours = f"{os.getpid()}.{time.monotonic_ns()}"
    shown = time.monotonic()
    with _ending_as_interrupt():
        try:
            while count or any(place.agent for place in places):
                for place in [place for place in places if place.is_free()][:count]:
                    count -= 1
                    place.start(command, inherited, f"{ours}.{count}")
                time.sleep(_PERIOD)
                is_due = time.monotonic() - shown >= _PROGRESS_PERIOD
                for place in places:
                    if agent := place.take_ended():
                        is_due |= _check(agent, refresh) or agent.returncode != 0
                if is_due:
                    shown = time.monotonic()
                    if refresh().word is not None or not may_start():  # further agents would only start to say so
                        count = 0
        except SlurmsweepError:
            _wait(places)
            raise
        except BaseException:
            _stop(places)
            raise
        finally:
            refresh()


def _check(agent: subprocess.Popen[str], refresh: Callable[[], SweepView]) -> bool:
    """Return whether an agent found nothing to do; raise its error where it ended badly without recording a trial.

    One that was killed while it ran a trial has lost that trial, and nothing else: the others go on.
    """
    with agent:
        lines = [line for line in agent.stderr or () if line.strip()]
    if agent.returncode and not _has_a_trial(refresh(), agent.pid, was_killed=agent.returncode < 0):
        words = lines[-1].strip().removeprefix("slurmsweep: ") if lines else ""
        raise kind_of(agent.returncode)(words or f"an agent ended with {agent.returncode} and said nothing")
    return any("nothing left to do" in line for line in lines)


def _has_a_trial(view: SweepView, pid: int, *, was_killed: bool) -> bool:
    """Return whether that agent recorded a trial's end; one that was killed need only have claimed a trial.

    Unsettled trials, those of several attempts, and then the newest are looked at first, because going over a large
    sweep makes an object of each.
    """
    end = view.head.next_trial
    numbers = chain(range(end - 1, -1, -1), (number for number in view.trials if number >= end))
    others = (view.trials[number] for number in numbers if number in view.trials)
    trials = chain(view.trials.unsettled(), view.trials.stories(), others)
    attempts = chain.from_iterable(trial.attempts.values() for trial in trials)
    return any(a.owner and a.owner.pid == pid and (a.outcome or was_killed) for a in attempts)


def _stop(places: Sequence[_Place]) -> None:
    """Ask every agent to stop and wait; each further Ctrl-C asks again, which makes the agents less patient."""
    while crew := [place.agent for place in places if place.agent]:
        for agent in crew:
            agent.send_signal(signal.SIGINT)
        with suppress(KeyboardInterrupt):
            _wait(places)


def _wait(places: Sequence[_Place]) -> None:
    """Wait until every agent has ended."""
    for place in places:
        if place.agent:
            place.agent.communicate()
            place.agent = None


def _end_marked(mark: str, known: Mapping[int, int]) -> dict[int, int]:
    """Kill all processes of this user with that mark; return those of them, and of ``known``, that are not gone yet.

    Each with its start. A process that is ending has no environment any more, and may hold its GPU still.
    """
    left = dict(known)
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone, or another user's
            if f"{_MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                pid = int(folder.name)
                left[pid] = process_start(pid) or 0
                os.kill(pid, signal.SIGKILL)
    return {pid: start for pid, start in left.items() if start and process_start(pid) == start}


@contextmanager
def _ending_as_interrupt() -> Iterator[None]:
    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    heard = [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]  # nohup means it
    before = {number: signal.signal(number, interrupt) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
