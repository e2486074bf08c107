"""Slurm as a backend: each method asks the module that knows how. Submitit is imported by the methods that submit."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from slurmsweep.backends import gpu_list
from slurmsweep.backends.base import DEFAULT_TEMPLATE, Ability, Asked, Backend, Capacity, JobRequest, StartEstimate
from slurmsweep.backends.following import follow
from slurmsweep.backends.slurm import (
    accounting,
    changes,
    cluster,
    commands,
    inherited,
    limits,
    queue,
    resources,
    site,
    wakeup,
)
from slurmsweep.backends.slurm.template import agents_of, load_template, normal_template_name
from slurmsweep.errors import SchedulerUnavailableError, UsageError
from slurmsweep.state.assignment import MAX_SLOTS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from slurmsweep.backends.base import (
        Account,
        Answer,
        JobRestarts,
        JobSource,
        Options,
        SubmitOptions,
        SubmitPart,
        SubmitResult,
        Submitted,
        WakeupJob,
        When,
    )
    from slurmsweep.backends.keys import JobRef
    from slurmsweep.backends.slurm.template import Template
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.tail import AttemptId

#: Seconds without an end before squeue is called, while a command waits for jobs.
SQUEUE_PERIOD = 15.0


class SlurmBackend(Backend):
    """The Slurm cluster that this machine's ``sbatch`` submits to."""

    name: ClassVar[str] = "slurm"
    abilities: ClassVar[frozenset[Ability]] = frozenset(Ability)

    # Before anything is submitted

    def check(self, wish: SubmitOptions, source: JobSource | None = None) -> tuple[str, ...]:
        """Refuse wrong options, and folders that no script can name; name the variables that count as wishes.

        And say how the GPUs of a job are dealt out to its trials, where it runs several.
        """
        for folder in (source.workdir, source.jobs_dir) if source else ():
            if any(c in "\r\n" or "\ud800" <= c <= "\udfff" for c in folder):
                problem = f"{folder!a} has a line break in it, or is not UTF-8, and a batch script has to name it"
                raise UsageError(f"{problem}: rename the folder, or choose another one by WANDB_DIR")
        template = load_template(wish.template or DEFAULT_TEMPLATE)
        agents, options = agents_of(template) or 1, _merged(template, source, wish)
        return (*_dealing(resources.gpus(options), agents), *self.inherited(options))

    def inherited(self, options: Options) -> tuple[str, ...]:
        """Return a line for each SBATCH_ variable of an option, and for each option that slurmsweep does not know."""
        said = inherited.words(os.environ, options)
        for name in resources.strangers(options):
            here = commands.options_of_sbatch()
            besides = ", and lists no such option here" if here and name not in here else ""
            said.append(f"--{name} is no option that this slurmsweep knows: sbatch gets it as it is{besides}")
        return tuple(said)

    def options(self, wish: SubmitOptions, source: JobSource) -> Options:
        """Return sbatch options by long name: command line, sweep file, defaults, template, with the default time."""
        return _merged(load_template(wish.template or DEFAULT_TEMPLATE), source, wish)

    def long_name(self, option: str) -> str:
        """Return the long name of an sbatch option."""
        return resources.normal_name(option)

    def normalized(self, options: Options) -> Options:
        """Return sbatch options by their long names."""
        return resources.merge((resources.COMMAND_LINE, options), listed=commands.options_of_sbatch)

    def over(self, earlier: Options, later: Options) -> Options:
        """Return sbatch options by their long names, without earlier ones that later ones exclude."""
        return resources.over(earlier, later)

    def strangers(self, options: Options) -> list[str]:
        """Return the long names that slurmsweep does not know as options of sbatch."""
        return resources.strangers({resources.normal_name(name): value for name, value in options.items()})

    def request(
        self, source: JobSource, trials: int, wish: SubmitOptions, attempt_ids: tuple[AttemptId, ...] = ()
    ) -> JobRequest:
        """Return the request for an array; a packed template runs several trials in each job."""
        template = load_template(wish.template or DEFAULT_TEMPLATE)
        agents = agents_of(template)
        return JobRequest(
            name=f"{source.name}-{os.urandom(4).hex()}",
            tasks=-(-trials // (agents or 1)),
            trials=trials,
            agents=agents,
            width=wish.width,
            options=_merged(template, source, wish),
            template=normal_template_name(wish.template or DEFAULT_TEMPLATE),
            body="\n".join([*source.setup, template.body]),
            source=source,
            attempt_ids=attempt_ids,
        )

    def preview(self, request: JobRequest) -> str:
        """Return the batch script."""
        from slurmsweep.backends.slurm import executor

        return executor.render(request)

    def estimate(self, request: JobRequest) -> StartEstimate:
        """Ask ``sbatch --test-only`` about one job; without a Slurm here nothing is known but that it is one array."""
        if not commands.available():
            return StartEstimate((request.tasks,))
        from slurmsweep.backends.slurm import executor

        start, refusal = executor.earliest_start(request)
        if "dependency" in request.options:
            start = None  # sbatch names the start of a job that waits for no other one
        return StartEstimate(
            tuple(limits.split(request.tasks, limits.max_array_size(cluster.target(request.options)))), start, refusal
        )

    # Submitting

    def submit(self, request: JobRequest, part: SubmitPart, *, was_refused: bool = False) -> SubmitResult:
        """Split a request by MaxArraySize and by the limits on a user's jobs."""
        from slurmsweep.backends.slurm import executor  # noqa: F401 - slow: not between an announcement and its sbatch

        agents = request.agents or 1
        largest = limits.max_array_size(cluster.target(request.options))
        if request.attempt_ids:  # they stand in the batch script, as one variable
            largest = min(largest, MAX_SLOTS // agents)

        def jobs(start: int, tasks: int) -> Submitted | None:
            first = start * agents
            return part(first, min(tasks * agents, request.trials - first))

        result = limits.hand_over(request.tasks, largest, request.options, jobs, was_refused=was_refused)
        # counted in trials: the last of several packed jobs may not be full
        reached = (request.tasks - result.kept_back) * agents
        return replace(result, kept_back=max(0, request.trials - reached)) if result.kept_back else result

    def send(self, request: JobRequest) -> str:
        """Submit an array by one sbatch call; return its id."""
        from slurmsweep.backends.slurm import executor

        return executor.submit(request)

    def find(self, name: str, cluster: str) -> str:
        """Return the key of the array with that name; empty where neither squeue nor sacct knows one (yet)."""
        return next(iter(queue.find_by_name(name, _elsewhere(cluster))), "")

    # Looking

    def cluster(self, options: Options | None = None) -> str:
        """Return Slurm's name of itself (ClusterName), or of the cluster that the options choose."""
        return cluster.target(options or {}) or cluster.site_name()

    def poll(self, jobs: Iterable[str], wanted: Collection[JobRef] = ()) -> Answer:
        """Ask about arrays or plain jobs: one squeue call, and at most one sacct call."""
        return queue.ask(jobs, wanted)

    def capacity(self, options: Options) -> Capacity:
        """Return what the partitions that the options name give at most, by one sinfo call.

        Nothing is bounded where sinfo is kept from this user (PrivateData), is not there, or does not answer: Slurm
        refuses what is too much. Where there is no Slurm at all, that is an error.
        """
        try:
            partitions, nodes = site.survey(cluster.target(options))
        except SchedulerUnavailableError:
            if not commands.available():
                raise
            partitions, nodes = [], 0
        wanted = options.get("partition")
        most = site.choose(partitions, wanted if isinstance(wanted, str) else None)
        return Capacity(most.minutes, most.mebibytes or None, nodes, resources.warning_seconds(options))

    def asked(self, options: Options) -> Asked:
        """Return what sbatch options ask for, as far as they say it."""
        return resources.asked(options)

    def accounts(self, jobs: Collection[str]) -> tuple[Mapping[JobRef, Account], str]:
        """Return what sacct knows of jobs, and what became of the question."""
        return accounting.accounts(jobs)

    def restarts(self, jobs: Collection[str]) -> JobRestarts:
        """Return how starts of these jobs ended that did not complete, by one sacct call."""
        return accounting.count_restarts(jobs)

    def wait(
        self,
        jobs: Sequence[str],
        target: int,
        refresh: Callable[[], SweepView],
        may_start: Callable[[], bool],
        seen: Callable[[Answer], None],
    ) -> None:
        """Wait for ends in the journal; ask squeue where none came for 15 s. Ctrl-C ends the waiting, not the jobs."""
        del may_start  # Slurm starts the jobs
        follow(jobs, target, refresh, seen, self.poll, SQUEUE_PERIOD)

    # Ordering

    def cancel(self, targets: Sequence[str], *, only_waiting: bool = False) -> None:
        """Cancel jobs by one scancel call."""
        queue.cancel(targets, only_waiting=only_waiting)

    def hold(self, jobs: Sequence[str]) -> None:
        """Hold the elements of arrays that have not started, by one scontrol call."""
        queue.order("hold", jobs)

    def release(self, jobs: Sequence[str]) -> None:
        """Let held jobs start, by one scontrol call."""
        queue.order("release", jobs)

    def failed_launches(self, answer: Answer) -> list[JobRef]:
        """Return the jobs that Slurm holds for that."""
        return queue.failed_launches(answer.tasks)

    def assignments(self, options: Options, width: int | None) -> list[str]:
        """Return ``TimeLimit=45`` and so on, for ``scontrol update``; ``width`` 0 is no limit."""
        return changes.assignments(options, width)

    def change(self, job: str, tasks: Iterable[int], words: list[str]) -> list[str]:
        """Change elements of an array by one scontrol call; return what Slurm has against it."""
        return changes.change(job, tasks, words)

    # Waking a supervisor

    def submit_later(self, name: str, body: str, options: Options, when: When) -> str:
        """Submit a plain job with ``--begin`` and ``--dependency``; return its id."""
        return wakeup.submit(name, body, options, when)

    def find_later(self, names: Collection[str], cluster: str) -> list[WakeupJob]:
        """Return live jobs with one of these names, by one squeue call."""
        return wakeup.find(names, _elsewhere(cluster))

    def move_later(self, job: str, when: When) -> bool:
        """Change when a waiting job starts, by one scontrol call."""
        return wakeup.move(job, when)


def _elsewhere(name: str) -> str:
    """Return the name of a cluster in lower case; empty for this one."""
    return cluster.target({"clusters": name})


def _merged(template: Template, source: JobSource | None, wish: SubmitOptions) -> dict[str, str | bool]:
    merged = resources.merge(
        ("the SBATCH_ variables of your environment", inherited.wishes(os.environ)),
        ("the job template", template.options),
        *((document["file"], document.get("slurm", {})) for document in (source.defaults if source else ())),
        (resources.SWEEP_FILE, source.options if source else {}),
        (resources.COMMAND_LINE, wish.options or {}),
        listed=commands.options_of_sbatch,
    )
    named = str(merged.get("gpus", ""))
    if gpu_list.is_list(named):
        raise UsageError(
            f"--gpus {named}: Slurm chooses the GPUs of a job itself: write how many a job gets, such as --gpus 1; "
            "a list of this machine's GPUs is for --backend local"
        )
    return {"time": resources.DEFAULT_TIME, **merged}


def _dealing(gpus: int, agents: int) -> tuple[str, ...]:
    """Return a line about the GPUs of a job with several agents, as :mod:`slurmsweep.agents.gpus` deals them out."""
    if not gpus or agents == 1:
        return ()
    if gpus < agents:
        what = f"fewer than trials: up to {-(-agents // gpus)} trials share one"
    else:
        what = f"{gpus // agents} each" + (f", and one more to {gpus % agents} of them" if gpus % agents else "")
    return (f"the GPUs of a job ({gpus}) are dealt out to its {agents} trials, {what}",)
