"""The local backend: the same single-count agents as on Slurm, as processes of this machine."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from slurmsweep.errors import StateError
from slurmsweep.state.view_cache import Follower

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.store import SweepStore

#: Seconds between two looks at the agents, and between two at the journal: counting many trials takes its time.
_PERIOD = 0.05
_PROGRESS_PERIOD = 0.5

#: What ends this command: a closed terminal and a plain kill are as good as Ctrl-C.
_ENDING = (signal.SIGTERM, signal.SIGHUP)


_Crew = dict[int, "subprocess.Popen[str]"]
"""Agents at work, by pid."""


def run_local(store: SweepStore, count: int, jobs: int, progress: Callable[[SweepView], None]) -> None:
    """Run ``count`` single-count agents, ``jobs`` at a time, until they have ended.

    Ctrl-C (or SIGTERM, SIGHUP) is passed to the trials, which get their grace; a second one terminates, a third kills.
    The sweep can go on later from where it was.

    Raises:
        StateError: an agent could not work at all; the others were allowed to end.
        KeyboardInterrupt: after the trials have ended.
    """
    follower = Follower(store)
    crew: _Crew = {}
    shown = time.monotonic()
    waiting = deque(range(count))
    with _ending_as_interrupt():
        try:
            while waiting or crew:
                _fill(crew, waiting, jobs, store.layout.folder)
                time.sleep(_PERIOD)
                if time.monotonic() - shown >= _PROGRESS_PERIOD:
                    shown = time.monotonic()
                    progress(follower.refresh())
                _collect(crew, follower)
        except StateError:
            _wait(crew)
            raise
        except BaseException:
            _stop(crew)
            raise
        finally:
            progress(follower.refresh())


def _fill(crew: _Crew, waiting: deque[int], jobs: int, folder: str) -> None:
    while waiting and len(crew) < jobs:
        waiting.popleft()
        agent = subprocess.Popen(
            [sys.executable, "-m", "slurmsweep", "agent", "--count", "1", folder],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on once
        )
        crew[agent.pid] = agent


def _collect(crew: _Crew, follower: Follower) -> None:
    """Take note of agents that have ended. Raises StateError for one that ended badly without recording a trial.

    One that was killed while it ran a trial has lost that trial, and nothing else: the others go on.
    """
    for agent in [a for a in crew.values() if a.poll() is not None]:
        del crew[agent.pid]
        said = _last_words(agent)
        if agent.returncode and not _has_a_trial(follower.refresh(), agent.pid, was_killed=agent.returncode < 0):
            raise StateError(said or f"an agent ended with {agent.returncode} and said nothing")


def _last_words(agent: subprocess.Popen[str]) -> str:
    with agent:
        text = agent.stderr.read() if agent.stderr else ""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("slurmsweep: ") if lines else ""


def _has_a_trial(view: SweepView, pid: int, *, was_killed: bool) -> bool:
    """Whether an agent recorded a trial's end; one that was killed need only have claimed it."""
    attempts = (a for trial in view.trials.values() for a in trial.attempts.values())
    return any(a.owner and a.owner.pid == pid and (a.outcome or was_killed) for a in attempts)


def _stop(crew: _Crew) -> None:
    """Ask every agent to stop and wait; each further Ctrl-C asks again, which makes the agents less patient."""
    while crew:
        for agent in crew.values():
            agent.send_signal(signal.SIGINT)
        with suppress(KeyboardInterrupt):
            _wait(crew)


def _wait(crew: _Crew) -> None:
    for agent in list(crew.values()):
        agent.communicate()
        del crew[agent.pid]


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
