"""Submit agents of a sweep that W&B holds, remember each array, and say what schedulers know of its jobs."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from slurmsweep.backends import registry
from slurmsweep.backends.base import JobSource, Submitted
from slurmsweep.backends.keys import JobRef, job_key, parts_of, service_in
from slurmsweep.errors import NotFoundError, SlurmsweepError, SubmissionUnknownError
from slurmsweep.report.figures import counted
from slurmsweep.state.owner import service_of
from slurmsweep.state.submissions import SubmissionDocument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from slurmsweep.backends.base import Backend, JobStatus, SubmitOptions
    from slurmsweep.backends.wandb_hosted.folder import HostedFolder


@dataclass(frozen=True)
class HostedStatus:
    """What schedulers say of all that was submitted for a sweep.

    Attributes:
        submissions: the oldest first.
        words: number of jobs by the scheduler's word; ``unknown`` for jobs that it does not know any more.
        alive: number of jobs that wait or run.
    """

    submissions: Sequence[SubmissionDocument]
    words: dict[str, int]
    alive: int

    def to_json(self) -> dict[str, Any]:
        """Return the part of a status document that is not the sweep's name."""
        rows = [
            {"name": s.name, "job": s.job, "tasks": s.tasks, "width": s.width, "submitted": s.submitted}
            for s in self.submissions
        ]
        return {"jobs": self.words, "alive": self.alive, "submissions": rows}


def source_of(folder: HostedFolder, defaults: tuple[Mapping[str, Any], ...]) -> JobSource:
    """Return what jobs for the sweep are made from: their script is given W&B's name of the sweep."""
    sweep = folder.sweep
    return JobSource(f"slurmsweep-cloud-{sweep.sweep_id[:30]}", str(sweep), folder.jobs, os.getcwd(), defaults=defaults)


def submit(  # noqa: PLR0913, PLR0917 - what the command line says
    folder: HostedFolder,
    count: int,
    wishes: SubmitOptions,
    source: JobSource,
    backend: Backend,
    say: Callable[[str], None],
) -> list[SubmissionDocument]:
    """Submit ``count`` jobs that run one trial each, at most ``wishes.width`` of them at a time.

    Each array is remembered before the scheduler is asked for it. Arrays whose submission was never answered are looked
    for by their names first. ``say`` is called with why jobs were kept back, if some were.

    Raises:
        UsageError: an option or the template is wrong; nothing was submitted.
        SchedulerError: the scheduler refused or could not be asked; what was submitted before stays, and is remembered.
    """
    request, known = backend.request(source, count, wishes), registry.scheduler()
    folder.make()
    for earlier in folder.submissions():
        if earlier.job is None and (found := known.find(earlier.name, earlier.cluster)):
            folder.files.note_job(earlier, *_known(found, earlier.cluster))
    submitted: list[SubmissionDocument] = []

    def part(_first: int, trials: int) -> Submitted:
        array = backend.request(source, trials, wishes)
        document = SubmissionDocument(
            name=array.name,
            backend=backend.name,
            sweep=str(folder.sweep),
            tasks=array.tasks,
            trials=trials,
            width=min(array.width or trials, trials),
            options=dict(array.options),
            wishes=dict(wishes.options or {}),
            template=array.template,
            cluster=backend.cluster(array.options),
            submitted=round(time.time(), 3),
        )
        folder.files.write(document)
        try:
            job = backend.send(array)
        except SubmissionUnknownError:
            job = backend.find(array.name, document.cluster)
            if not job:
                raise
        except SlurmsweepError:
            folder.files.forget(document.name)
            raise
        made = backend.taken(array)
        document = replace(document, tasks=made, trials=made)
        submitted.append(folder.files.note_job(document, *_known(job, document.cluster)))
        return Submitted(job, made, made)

    result = backend.submit(request, part)
    if result.kept_back:
        say(f"{counted(result.kept_back, 'job was', 'jobs were')} not submitted: {result.why}")
    return submitted


def outputs(folder: HostedFolder, lines: int, most: int) -> Iterator[tuple[JobRef, JobStatus, tuple[str, ...]]]:
    """Yield jobs of services that were submitted for the sweep, each with the last lines that it wrote.

    The jobs of the newest submission come first, ``most`` in all. Output of Slurm's jobs is in the folder's own files.

    Raises:
        SchedulerUnavailableError: a service did not answer.
    """
    backend = registry.scheduler()
    keys = [job_key(s.job, s.cluster, "") for s in reversed(folder.submissions()) if s.job and service_of(s.cluster)]
    shown = 0
    for key in keys:
        tasks = backend.poll([key]).tasks
        for ref in sorted(tasks, key=lambda one: (len(one.job), one)):
            if shown == most:
                return
            shown += 1
            yield ref, tasks[ref], backend.last_words(ref, lines)


def _known(key: str, cluster: str) -> tuple[str, str]:
    """Return id and cluster of a job that was submitted to that cluster."""
    job, elsewhere = parts_of(key)
    return job, elsewhere or cluster


def status(folder: HostedFolder) -> HostedStatus:
    """Ask schedulers about every job that was submitted for the sweep from here. W&B is not asked. Writes nothing.

    Raises:
        NotFoundError: nothing was submitted.
        SchedulerUnavailableError: Slurm or a service did not answer.
    """
    submissions, backend = folder.submissions(), registry.scheduler()
    if not submissions:
        raise NotFoundError(
            f"nothing was submitted for {folder.sweep} from here: there is nothing of it in {folder.path}; set "
            "WANDB_DIR to the folder where it was submitted"
        )
    here = backend.cluster() if any(s.cluster for s in submissions) else ""
    jobs = {s.name: job_key(s.job, s.cluster, here) if s.job else backend.find(s.name, s.cluster) for s in submissions}
    wanted = [JobRef(job, task) for s in submissions if (job := jobs[s.name]) for task in range(s.tasks)]
    of_services = {job for job in jobs.values() if service_in(job)}
    tasks = backend.poll(of_services, [ref for ref in wanted if ref.job not in of_services]).tasks if wanted else {}
    words = Counter(status.word for status in tasks.values())
    # a service may give each job of a submission an id of its own, so jobs are counted and not looked up
    words["unknown"] += sum(s.tasks for s in submissions) - sum(words.values())
    alive = sum(1 for status in tasks.values() if status.alive)
    return HostedStatus(submissions, {word: n for word, n in sorted(words.items()) if n}, alive)
