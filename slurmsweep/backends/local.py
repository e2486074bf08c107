"""Processes of this machine behind the interface of all backends: the same single-count agents as on Slurm."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, ClassVar

from slurmsweep.backends.base import (
    Ability,
    Account,
    Answer,
    Asked,
    Backend,
    Capacity,
    JobRequest,
    JobRestarts,
    StartEstimate,
    SubmitResult,
    Submitted,
)
from slurmsweep.errors import StateError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from types import FrameType

    from slurmsweep.backends.base import JobRef, JobSource, Options, SubmitOptions
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.tail import AttemptId

#: Seconds between two looks at the agents, and between two at the journal: counting many trials takes its time.
_PERIOD = 0.05
_PROGRESS_PERIOD = 0.5

#: What ends this command: a closed terminal and a plain kill are as good as Ctrl-C.
_ENDING = (signal.SIGTERM, signal.SIGHUP)

_Crew = dict[int, "subprocess.Popen[str]"]
"""Agents at work, by pid."""


class LocalBackend(Backend):
    """Agents as children of the process that waits for them: they end with it, and nothing limits them."""

    name: ClassVar[str] = "local"
    abilities: ClassVar[frozenset[Ability]] = frozenset()

    def __init__(self) -> None:
        self._requests: dict[str, JobRequest] = {}

    def check(self, wish: SubmitOptions, source: JobSource | None = None) -> tuple[str, ...]:
        """Say which wishes are ignored: nothing is asked for here."""
        del source
        ignored = [f"--{name}" for name in wish.options or {}] + (["--template"] if wish.template != "array" else [])
        if not ignored:
            return ()
        return (f"the local backend runs trials as processes without limits: {', '.join(ignored)} is ignored",)

    def options(self, wish: SubmitOptions, source: JobSource) -> Options:
        """Return none: a process is given what the machine has."""
        del wish, source
        return {}

    def request(
        self, source: JobSource, trials: int, wish: SubmitOptions, attempt_ids: tuple[AttemptId, ...] = ()
    ) -> JobRequest:
        """Return a request for so many agents, ``wish.width`` at a time."""
        name = f"{source.name}-{secrets.token_hex(4)}"
        width = wish.width or _default_width()
        return JobRequest(name, trials, trials, None, width, {}, "", "", source, attempt_ids)

    def preview(self, request: JobRequest) -> str:
        """Return the command that is run for each trial."""
        words = ["slurmsweep", "agent", "--count", "1", request.source.argument]
        return f"{request.tasks} times, {request.width} at a time: {' '.join(words)}\n"

    def estimate(self, request: JobRequest) -> StartEstimate:
        """Return that all agents are of one piece."""
        return StartEstimate((request.tasks,))

    def submit(
        self, request: JobRequest, part: Callable[[int, int], Submitted | None], *, was_refused: bool = False
    ) -> SubmitResult:
        """Submit all at once: there is no limit."""
        del was_refused
        array = part(0, request.trials)
        return SubmitResult((array,) if array else ())

    def send(self, request: JobRequest) -> str:
        """Remember the request: :meth:`wait` runs its agents."""
        job = f"local-{os.getpid()}-{len(self._requests)}"
        self._requests[job] = request
        return job

    def find(self, name: str) -> str:
        """Return nothing: a request that is not answered does not exist here."""
        del name
        return ""

    def cluster(self) -> str:
        """Return nothing: processes have no cluster."""
        return ""

    def poll(self, jobs: Iterable[str], wanted: Collection[JobRef] = ()) -> Answer:
        """Return nothing: a process is looked for by its owner (:func:`slurmsweep.agents.identity.lives_here`)."""
        del jobs, wanted
        return Answer({}, "not needed")

    def capacity(self, options: Options) -> Capacity:
        """Return that nothing is limited."""
        del options
        return Capacity()

    def asked(self, options: Options) -> Asked:
        """Return that nothing is asked for."""
        del options
        return Asked()

    def accounts(self, jobs: Collection[str]) -> tuple[Mapping[JobRef, Account], str]:
        """Return that there is no accounting."""
        del jobs
        return {}, "off"

    def restarts(self, jobs: Collection[str]) -> JobRestarts:
        """Return that there is no accounting."""
        del jobs
        return JobRestarts()

    def cancel(self, targets: Sequence[str], *, only_waiting: bool = False) -> None:
        """Do nothing: agents that run are told by their process ids, and none waits."""
        del targets, only_waiting

    def wait(self, jobs: Sequence[str], target: int, refresh: Callable[[], SweepView]) -> None:
        """Run the agents of the requests, so many at a time, until they have ended.

        Ctrl-C (or SIGTERM, SIGHUP) is passed to the trials, which get their grace; a second one terminates, a third
        kills. The sweep can go on later from where it was.
        """
        del target
        for job in jobs:
            request = self._requests.pop(job)
            _run_agents(request.source.argument, request.tasks, request.width or 1, refresh)


def _default_width() -> int:
    """Return how many trials run at a time where no option says it: one, which may want the whole machine.

    Raises:
        UsageError: ``SLURMSWEEP_JOBS`` is not a number.
    """
    text = os.environ.get("SLURMSWEEP_JOBS") or "1"
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"SLURMSWEEP_JOBS={text}: write how many trials run at a time, 1 or more")
    return int(text)


def _run_agents(folder: str, count: int, jobs: int, refresh: Callable[[], SweepView]) -> None:
    """Run ``count`` single-count agents, ``jobs`` at a time. Raises as :meth:`LocalBackend.wait`."""
    crew: _Crew = {}
    shown = time.monotonic()
    waiting = deque(range(count))
    with _ending_as_interrupt():
        try:
            while waiting or crew:
                _fill(crew, waiting, jobs, folder)
                time.sleep(_PERIOD)
                if time.monotonic() - shown >= _PROGRESS_PERIOD:
                    shown = time.monotonic()
                    refresh()
                _collect(crew, refresh)
        except StateError:
            _wait(crew)
            raise
        except BaseException:
            _stop(crew)
            raise
        finally:
            refresh()


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


def _collect(crew: _Crew, refresh: Callable[[], SweepView]) -> None:
    """Take note of agents that have ended. Raises StateError for one that ended badly without recording a trial.

    One that was killed while it ran a trial has lost that trial, and nothing else: the others go on.
    """
    for agent in [a for a in crew.values() if a.poll() is not None]:
        del crew[agent.pid]
        said = _last_words(agent)
        if agent.returncode and not _has_a_trial(refresh(), agent.pid, was_killed=agent.returncode < 0):
            raise StateError(said or f"an agent ended with {agent.returncode} and said nothing")


def _last_words(agent: subprocess.Popen[str]) -> str:
    with agent:
        text = agent.stderr.read() if agent.stderr else ""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("slurmsweep: ") if lines else ""


def _has_a_trial(view: SweepView, pid: int, *, was_killed: bool) -> bool:
    """Return whether an agent recorded a trial's end; one that was killed need only have claimed it."""
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
