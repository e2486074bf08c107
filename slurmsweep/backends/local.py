"""The local backend: the same single-count agents as on Slurm, as processes of this machine."""

from __future__ import annotations

import os
import shlex
import sys
from itertools import islice, repeat
from typing import TYPE_CHECKING, ClassVar

from slurmsweep.agents import gpus
from slurmsweep.backends import gpu_list, local_agents
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
from slurmsweep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from slurmsweep.backends.base import JobSource, Options, SubmitPart
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.tail import AttemptId

#: In the environment: how many trials run at a time where the command line does not say.
_WIDTH = "SLURMSWEEP_JOBS"

#: Digits of that number: Python refuses to read thousands.
_MOST_DIGITS = 9

#: Begin the names of options that limit a trial or give it parts of a machine.
_LIMITS = ("t", "time", "mem", "c", "cpus", "gpus", "gres")

#: The option that names the GPUs of this machine; on Slurm it says how many a job gets.
_GPUS = "gpus"

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

    def find(self, name: str, cluster: str) -> str:
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
        may_start: Callable[[], bool],
        seen: Callable[[Answer], None],
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
            places = list(islice(dealt, request.tasks))
            local_agents.run(_command(request.source.argument), request.tasks, places, refresh, may_start)

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
