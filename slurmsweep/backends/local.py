"""The local backend: the same single-count agents as on Slurm, as processes of this machine."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from itertools import chain, islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from slurmsweep.agents import gpus
from slurmsweep.agents.identity import process_start
from slurmsweep.backends import gpu_list
from slurmsweep.backends.base import (
    DEFAULT_TEMPLATE,
    Ability,
    Answer,
    Backend,
    JobRequest,
    JobStatus,
    StartEstimate,
    SubmitOptions,
    SubmitResult,
)
from slurmsweep.backends.keys import JobRef
from slurmsweep.backends.slurm import commands, resources
from slurmsweep.errors import SlurmsweepError, UsageError, kind_of
from slurmsweep.state.assignment import AGENTS, LOCAL, SEAT, TRIALS, VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
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
_LIMITS = ("t", "time", "mem", "c", "cpus", "gpus", "gres")

#: The option that names the GPUs of this machine; on Slurm it says how many a job gets.
_GPUS = "gpus"

#: In the environment of all processes of one agent: what finds them after the agent was killed.
_MARK = "SLURMSWEEP_LOCAL_AGENT"

#: Of a job in which this command runs: they are for the job's own agents.
_OF_A_JOB = (VARIABLE, SEAT, AGENTS, TRIALS)


#: What a person can do on this machine in the place of what this backend cannot do.
_INSTEAD = {
    Ability.WAKE: "`slurmsweep resubmit SWEEP` runs again what did not finish",
    Ability.OUTLIVE: "without it the command stays until the trials have ended",
    Ability.AFTER: "write the second command behind the first one, with && between them",
}


class LocalBackend(Backend):
    """Agents that this command starts, waits for, and takes with it when it ends.

    Nothing runs before :meth:`wait` is called: :meth:`send` only remembers the request.
    """

    name: ClassVar[str] = "local"
    abilities: ClassVar[frozenset[Ability]] = frozenset()

    def __init__(self) -> None:
        self._requests: dict[str, JobRequest] = {}

    def require(self, ability: Ability, option: str) -> None:
        """Refuse as every backend, and say what can be done on this machine instead."""
        if ability in _INSTEAD:
            raise UsageError(f"{option}: the local backend cannot {ability.value}; {_INSTEAD[ability]}")
        super().require(ability, option)

    def check(self, wish: SubmitOptions, source: JobSource | None = None) -> tuple[str, ...]:
        """Return a notice about each kind of option that means nothing here, and about which trial has which GPUs."""
        del source  # its options are for Slurm, and say so
        width, named = _width(wish), _gpus(wish)
        dealt = (gpu_list.in_words(gpu_list.deal(named, width)),) if named else ()
        options = [f"--{name.lstrip('-').replace('_', '-')}" for name in wish.options or {} if not _names_gpus(name)]
        limits = [name for name in options if name[2:].partition("-")[0] in _LIMITS]
        others = [name for name in options if name not in limits]
        others += ["--template"] if wish.template not in ("", DEFAULT_TEMPLATE) else []
        kinds = (("does not limit trials", limits), ("submits nothing to Slurm", others))
        return dealt + tuple(
            f"the local backend {what}: {', '.join(names)} {'is' if len(names) == 1 else 'are'} ignored"
            for what, names in kinds
            if names
        )

    def normalized(self, options: Options) -> Options:
        """Return options by Slurm's long names: a misspelt one is wrong here too. Raises UsageError."""
        return resources.merge((resources.COMMAND_LINE, options), listed=commands.options_of_sbatch)

    def options(self, wish: SubmitOptions, source: JobSource) -> Options:
        """Return which GPUs of this machine are dealt out, where that is said: no other option means anything here."""
        del source
        named = _gpus(wish)
        return {_GPUS: named} if named else {}

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
            options=self.options(wish, source),
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
        kills. The sweep can go on later from where it was. Where an agent ends with an error, and has run no trial,
        that error is raised here; before it the other agents are allowed to end.
        """
        del target, seen  # every agent ends by itself, and no scheduler is asked
        for request in [self._requests.pop(job) for job in jobs if job in self._requests]:
            width, named = request.width or 1, str(request.options.get(_GPUS, ""))
            dealt = map(gpus.variables, gpu_list.deal(named, width)) if named else repeat({}, width)
            _run(
                _command(request.source.argument), request.tasks, list(islice(dealt, request.tasks)), refresh, may_start
            )

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


def _names_gpus(option: str) -> bool:
    return option.lstrip("-") in (_GPUS, "G")


def _gpus(wish: SubmitOptions) -> str:
    """Return the GPUs that a wish names; empty where it names none."""
    named = [value for name, value in (wish.options or {}).items() if _names_gpus(name) and value is not False]
    return str(named[-1]) if named else ""


def _command(folder: str) -> list[str]:
    return [sys.executable, "-m", "slurmsweep", "agent", "--count", "1", folder]


def _run(
    command: Sequence[str],
    count: int,
    places: Sequence[dict[str, str]],
    refresh: Callable[[], SweepView],
    may_start: Callable[[], bool],
) -> None:
    """Run ``count`` agents, as many at a time as there are places, each with the variables of its place.

    A place is free again when no process of its trial is left, also where the agent was killed: what the agent would
    have ended is ended here. Processes that emptied their environment are not found.

    Other args and errors as :meth:`LocalBackend.wait`.
    """
    crew: dict[int, subprocess.Popen[str]] = {}  # agents at work, by place
    closing: dict[int, dict[int, int]] = {}  # places whose agent left processes behind, and these
    marks = [""] * len(places)  # of the processes of each place's agent
    inherited = {name: value for name, value in os.environ.items() if name not in _OF_A_JOB}
    ours = f"{os.getpid()}.{time.monotonic_ns()}"
    shown = time.monotonic()
    with _ending_as_interrupt():
        try:
            while count or crew:
                closing = {p: left for p, known in closing.items() if (left := _end_marked(marks[p], known))}
                free = [place for place in range(len(places)) if place not in crew and place not in closing]
                for place in free[:count]:
                    count -= 1
                    marks[place] = f"{ours}.{count}"
                    agent = subprocess.Popen(
                        command,
                        env=inherited | places[place] | {LOCAL: str(place), _MARK: marks[place]},
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.PIPE,
                        encoding="utf-8",
                        errors="backslashreplace",
                        start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on once
                    )
                    crew[place] = agent
                time.sleep(_PERIOD)
                is_due = time.monotonic() - shown >= _PROGRESS_PERIOD
                for place, agent in [(p, a) for p, a in crew.items() if a.poll() is not None]:
                    del crew[place]
                    if agent.returncode:
                        closing[place] = _end_marked(marks[place], {})
                    is_due |= _check(agent, refresh) or agent.returncode != 0
                if is_due:
                    shown = time.monotonic()
                    if refresh().word is not None or not may_start():  # further agents would only start to say so
                        count = 0
        except SlurmsweepError:
            _wait(crew)
            raise
        except BaseException:
            _stop(crew)
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


def _stop(crew: dict[int, subprocess.Popen[str]]) -> None:
    """Ask every agent to stop and wait; each further Ctrl-C asks again, which makes the agents less patient."""
    while crew:
        for agent in crew.values():
            agent.send_signal(signal.SIGINT)
        with suppress(KeyboardInterrupt):
            _wait(crew)


def _wait(crew: dict[int, subprocess.Popen[str]]) -> None:
    for place, agent in list(crew.items()):
        agent.communicate()
        del crew[place]


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
