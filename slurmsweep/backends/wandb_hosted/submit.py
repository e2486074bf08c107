"""Hand agents of a sweep that W&B holds to Slurm, few enough at a time for W&B, and say what Slurm makes of them."""

from __future__ import annotations

import os
import secrets
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from slurmsweep.backends.base import JobRef, JobRequest, JobSource
from slurmsweep.backends.slurm import executor, limits, queue
from slurmsweep.backends.slurm.resources import merge
from slurmsweep.backends.slurm.template import load_template
from slurmsweep.backends.wandb_hosted.folder import HostedFolder, HostedSubmission
from slurmsweep.errors import NotFoundError, SlurmsweepError, SubmissionUnknownError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurmsweep.backends.base import SubmitOptions
    from slurmsweep.backends.wandb_hosted.folder import HostedSweep

#: Jobs at a time where nobody says: below the about 20 parallel agents that W&B supports for a sweep, with room for
#: somebody's laptop.
DEFAULT_WIDTH = 16
SUPPORTED_AGENTS = 20


@dataclass(frozen=True)
class HostedStatus:
    """What Slurm says of all that was submitted for a sweep.

    Attributes:
        submissions: the oldest first.
        words: number of jobs by Slurm's word; ``unknown`` for those that Slurm does not know any more.
        alive: those that wait or run.
    """

    submissions: Sequence[HostedSubmission]
    words: dict[str, int]
    alive: int

    def to_json(self) -> dict[str, Any]:
        """The part of a status document that is not the sweep's name."""
        rows = [
            {"name": s.name, "job": s.job, "tasks": s.tasks, "width": s.width, "submitted": s.submitted}
            for s in self.submissions
        ]
        return {"jobs": self.words, "alive": self.alive, "submissions": rows}


def submit(folder: HostedFolder, count: int, wishes: SubmitOptions) -> list[HostedSubmission]:
    """Submit ``count`` jobs that run one trial each, at most ``wishes.width`` of them at a time.

    Where MaxArraySize makes more than one array of them, each waits for the one before.

    Raises:
        UsageError: an option or the template is wrong; nothing was submitted.
        SchedulerError: Slurm refused or could not be asked; what was submitted before stays, and is remembered.
    """
    request = array_request(folder, count, wishes)
    sizes = limits.split(count, limits.max_array_size())
    folder.make()
    _recover(folder)
    submitted: list[HostedSubmission] = []
    for tasks in sizes:
        options = dict(request.options)
        if submitted:
            before = f"afterany:{submitted[-1].job}"
            options["dependency"] = ",".join(str(part) for part in (options.get("dependency"), before) if part)
        part = replace(request, name=_new_name(folder.sweep), tasks=tasks, options=options)
        submitted.append(_submit_array(folder, part))
    return submitted


def array_request(folder: HostedFolder, tasks: int, wishes: SubmitOptions) -> JobRequest:
    """What would be handed to Slurm: the usual template, which is given W&B's name of the sweep. Raises UsageError."""
    template = load_template(wishes.template)
    return JobRequest(
        name=_new_name(folder.sweep),
        tasks=tasks,
        trials=tasks,
        agents=None,
        width=wishes.width or DEFAULT_WIDTH,
        options=merge(template.options, {}, wishes.options or {}),
        template=wishes.template,
        body=template.body,
        source=JobSource("slurmsweep-cloud", str(folder.sweep), folder.jobs, os.getcwd()),
    )


def status(folder: HostedFolder) -> HostedStatus:
    """Ask Slurm about every job that was submitted for the sweep from here. W&B is not asked. Writes nothing.

    Raises:
        NotFoundError: nothing was submitted.
        SchedulerUnavailableError: Slurm did not answer.
    """
    submissions = folder.submissions()
    if not submissions:
        raise NotFoundError(
            f"nothing was submitted for {folder.sweep} from here: there is nothing of it in {folder.path}; set "
            "WANDB_DIR to the folder where it was submitted"
        )
    jobs = {submission.name: _job_of(submission) for submission in submissions}
    wanted = [JobRef(job, task) for s in submissions if (job := jobs[s.name]) for task in range(s.tasks)]
    tasks = queue.ask([], wanted).tasks if wanted else {}
    words = Counter(tasks[ref].word if ref in tasks else "unknown" for ref in wanted)
    words["unknown"] += sum(s.tasks for s in submissions if jobs[s.name] is None)
    alive = sum(1 for ref in wanted if ref in tasks and tasks[ref].alive)
    return HostedStatus(submissions, {word: n for word, n in sorted(words.items()) if n}, alive)


def _job_of(submission: HostedSubmission) -> str | None:
    """Its id; where Slurm never answered, as it is found by name."""
    if submission.job is not None:
        return submission.job
    return next(iter(queue.find_by_name(submission.name)), None)


def _new_name(sweep: HostedSweep) -> str:
    return f"slurmsweep-cloud-{sweep.sweep_id[:30]}-{secrets.token_hex(4)}"


def _submit_array(folder: HostedFolder, request: JobRequest) -> HostedSubmission:
    width = min(request.width or request.tasks, request.tasks)
    submission = HostedSubmission(request.name, str(folder.sweep), request.tasks, width, None, round(time.time(), 3))
    folder.note(submission)
    try:
        job = executor.submit(request)
    except SubmissionUnknownError:
        found = queue.find_by_name(request.name)
        if not found:
            raise
        job = found[0]
    except SlurmsweepError:
        folder.forget(submission)
        raise
    return folder.note_job(submission, job)


def _recover(folder: HostedFolder) -> None:
    """Look for arrays whose submission was never answered, by their unique names, and remember what is found."""
    for submission in folder.submissions():
        job = _job_of(submission)
        if submission.job is None and job is not None:
            folder.note_job(submission, job)
