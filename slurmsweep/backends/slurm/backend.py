"""Slurm behind the interface of all backends. The work is done in the other modules of this folder."""

from __future__ import annotations

import os
import secrets
import time
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
from slurmsweep.backends.slurm import cluster, queue, resources
from slurmsweep.errors import UsageError
from slurmsweep.state.assignment import AGENTS, MAX_SLOTS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from slurmsweep.backends.base import JobRef, JobSource, Options, SubmitOptions, WakeupJob, When
    from slurmsweep.backends.slurm.template import Template
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.tail import AttemptId

#: Seconds between two looks at the journal, and without an end before squeue is called, while a command waits.
JOURNAL_PERIOD = 1.0
SQUEUE_PERIOD = 15.0


class SlurmBackend(Backend):
    """Slurm as its own programs show it on this machine."""

    name: ClassVar[str] = "slurm"
    abilities: ClassVar[frozenset[Ability]] = frozenset(Ability)

    def check(self, wish: SubmitOptions, source: JobSource | None = None) -> tuple[str, ...]:
        """Refuse wrong options and templates; Slurm ignores nothing."""
        template = _template(wish)
        agents_of(template)
        resources.merge(template.options, source.options if source else {}, wish.options or {})
        return ()

    def options(self, wish: SubmitOptions, source: JobSource) -> Options:
        """Return the options of template, sweep file and command line together, with the default time limit."""
        from slurmsweep.backends.slurm.template import DEFAULT_TIME

        merged = resources.merge(_template(wish).options, source.options, wish.options or {})
        return {"time": DEFAULT_TIME, **merged}

    def long_name(self, option: str) -> str:
        """Return the long name of an sbatch option."""
        return resources.normal_name(option)

    def normalized(self, options: Options) -> Options:
        """Return sbatch options by their long names, checked."""
        return resources.merge({}, {}, options)

    def request(
        self, source: JobSource, trials: int, wish: SubmitOptions, attempt_ids: tuple[AttemptId, ...] = ()
    ) -> JobRequest:
        """Return the request of an array; a job of a template that packs agents runs several trials."""
        from slurmsweep.backends.slurm.template import normal_template_name

        template = _template(wish)
        agents = agents_of(template)
        return JobRequest(
            name=f"{source.name}-{secrets.token_hex(4)}",
            tasks=-(-trials // (agents or 1)),
            trials=trials,
            agents=agents,
            width=wish.width,
            options=self.options(wish, source),
            template=normal_template_name(wish.template),
            body=template.body,
            source=source,
            attempt_ids=attempt_ids,
        )

    def preview(self, request: JobRequest) -> str:
        """Return the batch script."""
        from slurmsweep.backends.slurm import executor

        return executor.render(request)

    def estimate(self, request: JobRequest) -> StartEstimate:
        """Ask two questions, where there is a Slurm: how arrays are split, and when one such job would start."""
        from slurmsweep.backends.slurm import executor, limits

        if not queue.available():
            return StartEstimate((request.tasks,))
        start, refusal = executor.earliest_start(request)
        return StartEstimate(tuple(limits.split(request.tasks, limits.max_array_size())), start, refusal)

    def submit(
        self, request: JobRequest, part: Callable[[int, int], Submitted | None], *, was_refused: bool = False
    ) -> SubmitResult:
        """Submit in arrays under MaxArraySize what limits leave room for."""
        from slurmsweep.backends.slurm import limits
        from slurmsweep.backends.slurm.fit_limits import hand_over

        agents = request.agents or 1
        largest = limits.max_array_size()
        if request.attempt_ids:
            largest = min(largest, MAX_SLOTS // agents)

        def in_trials(start: int, tasks: int) -> Submitted | None:
            first = start * agents
            return part(first, min(tasks * agents, request.trials - first))

        handed = hand_over(request.tasks, largest, request.options, in_trials, was_refused=was_refused)
        kept_back = max(0, request.trials - handed.trials) if handed.kept_back else 0
        return SubmitResult(handed.arrays, kept_back, handed.why)

    def send(self, request: JobRequest) -> str:
        """Submit one array by one sbatch call."""
        from slurmsweep.backends.slurm import executor

        return executor.submit(request)

    def find(self, name: str) -> str:
        """Look for jobs by name, in the queue and in accounting."""
        return next(iter(queue.find_by_name(name)), "")

    def cluster(self) -> str:
        """Return ClusterName."""
        return cluster.site_name()

    def poll(self, jobs: Iterable[str], wanted: Collection[JobRef] = ()) -> Answer:
        """Ask by one squeue call and at most one sacct call."""
        return queue.ask(jobs, wanted)

    def capacity(self, options: Options) -> Capacity:
        """Ask for the partition's limits by one sinfo call."""
        from slurmsweep.backends.slurm import partitions
        from slurmsweep.backends.slurm.template import warning_seconds

        survey, partition = partitions.survey(), options.get("partition")
        most = survey.most(partition if isinstance(partition, str) else None)
        return Capacity(most.minutes, most.mebibytes or None, survey.nodes, warning_seconds(options))

    def asked(self, options: Options) -> Asked:
        """Read time, memory and CPUs from sbatch options."""
        return resources.asked(options)

    def accounts(self, jobs: Collection[str]) -> tuple[Mapping[JobRef, Account], str]:
        """Ask by one sacct call."""
        from slurmsweep.backends.slurm import accounting

        return accounting.accounts(jobs)

    def restarts(self, jobs: Collection[str]) -> JobRestarts:
        """Ask by one sacct call."""
        from slurmsweep.backends.slurm import job_restarts

        return job_restarts.count_incarnations(jobs)

    def wait(self, jobs: Sequence[str], target: int, refresh: Callable[[], SweepView]) -> None:
        """Wait by the journal; one squeue call after 15 s in which no trial ended."""
        ended, next_question = _ended(refresh()), time.monotonic() + SQUEUE_PERIOD
        while ended < target:
            time.sleep(JOURNAL_PERIOD)
            before_it, ended = ended, _ended(refresh())
            if ended != before_it:
                next_question = time.monotonic() + SQUEUE_PERIOD
            elif time.monotonic() >= next_question:
                next_question = time.monotonic() + SQUEUE_PERIOD
                if not any(status.alive for status in queue.ask(jobs).tasks.values()):
                    break
        refresh()

    def cancel(self, targets: Sequence[str], *, only_waiting: bool = False) -> None:
        """Cancel by one scancel call."""
        queue.cancel(targets, only_waiting=only_waiting)

    def hold(self, jobs: Sequence[str]) -> None:
        """Hold by one scontrol call."""
        queue.hold(jobs)

    def release(self, jobs: Sequence[str]) -> None:
        """Release by one scontrol call."""
        queue.release(jobs)

    def failed_launches(self, answer: Answer) -> list[JobRef]:
        """Return jobs in Slurm's state "launch failed requeued held"."""
        from slurmsweep.backends.slurm.held import failed_launches

        return failed_launches(answer.tasks)

    def assignments(self, options: Options, width: int | None) -> list[str]:
        """Return scontrol's words."""
        from slurmsweep.backends.slurm import changes

        return changes.assignments(options, width)

    def change(self, job: str, tasks: Iterable[int], words: list[str]) -> list[str]:
        """Change by one scontrol call."""
        from slurmsweep.backends.slurm import changes

        return changes.change(job, tasks, words)

    def submit_later(self, name: str, body: str, options: Options, when: When) -> str:
        """Submit by one sbatch call with a dependency or a begin time."""
        from slurmsweep.backends.slurm import wakeup

        return wakeup.submit(name, body, options, when)

    def find_later(self, names: Collection[str]) -> list[WakeupJob]:
        """Look by one squeue call."""
        from slurmsweep.backends.slurm import wakeup

        return wakeup.find(names)

    def move_later(self, job: str, when: When) -> bool:
        """Move by one scontrol call."""
        from slurmsweep.backends.slurm import wakeup

        return wakeup.move(job, when)


def agents_of(template: Template) -> int | None:
    """Return how many agents a job of the template runs side by side; None where it does not know of that.

    ``SLURMSWEEP_AGENTS`` here is what the batch script will see. Raises UsageError.
    """
    if template.agents is None:
        return None
    text = os.environ.get(AGENTS) or str(template.agents)
    if not text.isdecimal() or not 0 < int(text) <= MAX_SLOTS:
        raise UsageError(f"{AGENTS}={text}: write how many trials a job runs side by side, 1 to {MAX_SLOTS}")
    return int(text)


def _template(wish: SubmitOptions) -> Template:
    from slurmsweep.backends.slurm.template import load_template

    return load_template(wish.template)


def _ended(view: SweepView) -> int:
    return sum(n for state, n in view.counts().items() if state.has_ended())
