"""The local backend: the same single-count agents as on Slurm, as processes of this machine."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

from slurmsweep.backends.base import (
    DEFAULT_TEMPLATE,
    Ability,
    Answer,
    Backend,
    JobRef,
    JobRequest,
    JobStatus,
    StartEstimate,
    SubmitOptions,
    SubmitResult,
)
from slurmsweep.errors import StateError, UsageError
from slurmsweep.state.assignment import LOCAL

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from types import FrameType

    from slurmsweep.backends.base import JobSource, Options, SubmitPart
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.tail import AttemptId

#: Seconds between two looks at the agents, and between two at the journal: counting many trials takes its time.
_PERIOD = 0.05
_PROGRESS_PERIOD = 0.5

#: What ends this command: a closed terminal and a plain kill are as good as Ctrl-C.
_ENDING = (signal.SIGTERM, signal.SIGHUP)

#: In the environment: how many trials run at a time where the command line does not say.
_WIDTH = "SLURMSWEEP_JOBS"

#: Digits of that number: Python refuses to read thousands.
_MOST_DIGITS = 9

#: Begin the names of options that limit a trial or give it parts of a machine.
_LIMITS = ("t", "time", "mem", "c", "cpus", "gpus", "gres", "G")


class LocalBackend(Backend):
    """Agents that this command starts, waits for, and takes with it when it ends.

    Nothing runs before :meth:`wait` is called: :meth:`send` only remembers the request.
    """

    name: ClassVar[str] = "local"
    abilities: ClassVar[frozenset[Ability]] = frozenset()

    def __init__(self) -> None:
        self._requests: dict[str, JobRequest] = {}

    def check(self, wish: SubmitOptions, source: JobSource | None = None) -> tuple[str, ...]:
        """Return a notice about each kind of option that means nothing here."""
        del source  # its options are for Slurm, and say so
        _width(wish)
        options = [f"--{name.lstrip('-').replace('_', '-')}" for name in wish.options or {}]
        limits = [name for name in options if name[2:].partition("-")[0] in _LIMITS]
        others = [name for name in options if name not in limits]
        others += ["--template"] if wish.template not in ("", DEFAULT_TEMPLATE) else []
        kinds = (("does not limit trials", limits), ("submits nothing to Slurm", others))
        return tuple(
            f"the local backend {what}: {', '.join(names)} {'is' if len(names) == 1 else 'are'} ignored"
            for what, names in kinds
            if names
        )

    def options(self, wish: SubmitOptions, source: JobSource) -> Options:
        """Return no options: no option changes how an agent runs here."""
        del wish, source
        return {}

    def request(
        self, source: JobSource, trials: int, wish: SubmitOptions, attempt_ids: tuple[AttemptId, ...] = ()
    ) -> JobRequest:
        """Return the request for that many agents. Raises UsageError where they are to run certain attempts."""
        if attempt_ids:
            self.require(Ability.ASSIGN, "different time or memory for each trial")
        return JobRequest(
            name=f"{source.name}-{os.urandom(4).hex()}",
            tasks=trials,
            trials=trials,
            agents=None,
            width=_width(wish),
            options={},
            template="",
            body=shlex.join(_command(source.argument)),
            source=source,
        )

    def preview(self, request: JobRequest) -> str:
        """Return the command of each agent."""
        return request.body

    def estimate(self, request: JobRequest) -> StartEstimate:
        """Return that no array is needed: all agents are one submission, which starts at once."""
        del request
        return StartEstimate(())

    def submit(self, request: JobRequest, part: SubmitPart, *, was_refused: bool = False) -> SubmitResult:
        """Submit everything at once: there is no limit."""
        del was_refused
        submitted = part(0, request.trials)
        return SubmitResult((submitted,) if submitted else ())

    def send(self, request: JobRequest) -> str:
        """Remember the request for :meth:`wait`; return an id that is unique on this machine."""
        job = f"local-{os.getpid()}-{os.urandom(2).hex()}"
        self._requests[job] = request
        return job

    def find(self, name: str, cluster: str = "") -> str:
        """Return the id of the remembered request with that name; empty where there is none."""
        del cluster
        return next((job for job, request in self._requests.items() if request.name == name), "")

    def poll(self, jobs: Iterable[str], wanted: Collection[JobRef] = ()) -> Answer:
        """Return the requests that wait for :meth:`wait`, each as one job."""
        asked = {*jobs, *(ref.job for ref in wanted)} & self._requests.keys()
        waits = JobStatus("PENDING", True, None, "", None, "", self.name, waits=True)
        return Answer({JobRef(job): waits for job in asked}, "not needed")

    def wait(
        self,
        jobs: Sequence[str],
        target: int,
        refresh: Callable[[], SweepView],
        may_start: Callable[[], bool] = lambda: True,
        seen: Callable[[Answer], None] = lambda _: None,
    ) -> None:
        """Run the agents of remembered requests until all have ended; forget the requests.

        Ctrl-C (or SIGTERM, SIGHUP) is passed to the trials, which get their grace; a second one terminates, a third
        kills. The sweep can go on later from where it was. Before a StateError the other agents are allowed to end.
        """
        del target, seen  # every agent ends by itself, and no scheduler is asked
        for request in [self._requests.pop(job) for job in jobs if job in self._requests]:
            _run(_command(request.source.argument), request.tasks, request.width or 1, refresh, may_start)

    def cancel(self, targets: Sequence[str], *, only_waiting: bool = False) -> None:
        """Forget requests that were not run."""
        del only_waiting
        for job in targets:
            self._requests.pop(job, None)


def _width(wish: SubmitOptions) -> int:
    """Return how many trials run at a time: one by default, because a script may want the whole machine."""
    text = os.environ.get(_WIDTH) or "1"
    if wish.width is not None:
        return wish.width
    if not text.isdecimal() or len(text) > _MOST_DIGITS or not int(text):
        raise UsageError(f"{_WIDTH}={text}: write how many trials run at a time, 1 or more")
    return int(text)


def _command(folder: str) -> list[str]:
    return [sys.executable, "-m", "slurmsweep", "agent", "--count", "1", folder]


def _run(
    command: Sequence[str],
    count: int,
    width: int,
    refresh: Callable[[], SweepView],
    may_start: Callable[[], bool],
) -> None:
    """Run ``count`` agents, ``width`` at a time. Args and errors as :meth:`LocalBackend.wait`."""
    crew: dict[int, subprocess.Popen[str]] = {}  # agents at work, by pid
    shown = time.monotonic()
    with _ending_as_interrupt():
        try:
            while count or crew:
                while count and len(crew) < width:
                    count -= 1
                    agent = subprocess.Popen(
                        command,
                        env=os.environ | {LOCAL: "1"},
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.PIPE,
                        encoding="utf-8",
                        errors="backslashreplace",
                        start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on once
                    )
                    crew[agent.pid] = agent
                time.sleep(_PERIOD)
                is_due = time.monotonic() - shown >= _PROGRESS_PERIOD
                for agent in [a for a in crew.values() if a.poll() is not None]:
                    del crew[agent.pid]
                    is_due |= _check(agent, refresh) or agent.returncode != 0
                if is_due:
                    shown = time.monotonic()
                    if refresh().word is not None or not may_start():  # further agents would only start to say so
                        count = 0
        except StateError:
            _wait(crew)
            raise
        except BaseException:
            _stop(crew)
            raise
        finally:
            refresh()


def _check(agent: subprocess.Popen[str], refresh: Callable[[], SweepView]) -> bool:
    """Return whether an agent found nothing to do; raise StateError where it ended badly without recording a trial.

    One that was killed while it ran a trial has lost that trial, and nothing else: the others go on.
    """
    with agent:
        lines = [line for line in agent.stderr or () if line.strip()]
    if agent.returncode and not _has_a_trial(refresh(), agent.pid, was_killed=agent.returncode < 0):
        words = lines[-1].strip().removeprefix("slurmsweep: ") if lines else ""
        raise StateError(words or f"an agent ended with {agent.returncode} and said nothing")
    return any("nothing left to do" in line for line in lines)


def _has_a_trial(view: SweepView, pid: int, *, was_killed: bool) -> bool:
    """Return whether that agent recorded a trial's end; one that was killed need only have claimed a trial.

    Unsettled trials and then the newest are looked at first, because going over a large sweep makes an object of each.
    """
    end = view.head.next_trial
    numbers = chain(range(end - 1, -1, -1), (number for number in view.trials if number >= end))
    trials = chain(view.trials.unsettled(), (view.trials[number] for number in numbers if number in view.trials))
    attempts = chain.from_iterable(trial.attempts.values() for trial in trials)
    return any(a.owner and a.owner.pid == pid and (a.outcome or was_killed) for a in attempts)


def _stop(crew: dict[int, subprocess.Popen[str]]) -> None:
    """Ask every agent to stop and wait; each further Ctrl-C asks again, which makes the agents less patient."""
    while crew:
        for agent in crew.values():
            agent.send_signal(signal.SIGINT)
        with suppress(KeyboardInterrupt):
            _wait(crew)


def _wait(crew: dict[int, subprocess.Popen[str]]) -> None:
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
