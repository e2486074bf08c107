"""Hands arrays to Slurm through submitit: its header and its sbatch call, our command in the place of its pickle.

The only importer of submitit. Two of its names are private (``_submit_command``, ``_make_submission_file_text``): used
here and nowhere else, pinned below version 2, and held by a contract test.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import SlurmExecutor, _make_sbatch_string

from slurmsweep.backends.slurm import commands
from slurmsweep.backends.slurm.refusals import explain
from slurmsweep.backends.slurm.resources import DEFAULT_TIME, WARNING_SIGNAL, warning_seconds
from slurmsweep.errors import SchedulerUnavailableError
from slurmsweep.state import assignment
from slurmsweep.state import files as durable

if TYPE_CHECKING:
    from pathlib import Path

    from slurmsweep.backends.base import JobRequest


def render(request: JobRequest) -> str:
    """The batch script as it would be submitted. Needs no Slurm."""
    return _make_sbatch_string(
        command=_command(request), folder=request.source.jobs_dir, use_srun=False, **_parameters(request)
    )


def submit(request: JobRequest) -> str:
    """Submit the array by one sbatch call; its id.

    Raises:
        SubmissionRefusedError: Slurm said no; the message says which option to change.
        SubmissionUnknownError: it did not answer in time: the array may exist.
        SchedulerUnavailableError: there is no Slurm here, or no controller.
        StateUnwritableError: the script could not be written; nothing was submitted.
    """
    commands.require_sbatch()
    executor = _ArrayExecutor(request)
    try:
        with durable.writing(request.source.jobs_dir):
            job = executor._submit_command(_command(request))  # noqa: SLF001 - see the module's docstring
    except (FailedJobError, FailedSubmissionError) as error:
        raise explain(str(error)) from error
    finally:
        executor.remove_hidden_file()
    return str(job.job_id)


def earliest_start(request: JobRequest) -> tuple[str | None, str | None]:
    """When such a job would start now, and what Slurm has against it, by ``sbatch --test-only``: nothing is submitted.

    Raises:
        SchedulerUnavailableError: the controller did not answer.
    """
    done = commands.call("sbatch", "--test-only", text=render(replace(request, tasks=1, width=None)))
    # sbatch: Job 320 to start at 2026-11-23T19:40:12 using 1 processors on nodes n1 in partition main
    start = re.search(r"to start at (\S+)", done.stderr)
    if start:
        return start[1], None
    error = explain(done.stderr)
    if isinstance(error, SchedulerUnavailableError):
        raise error
    return None, str(error)


class _ArrayExecutor(SlurmExecutor):
    """submitit's executor with our script: the header is its own, the body is the template's."""

    def __init__(self, request: JobRequest) -> None:
        super().__init__(folder=request.source.jobs_dir)
        self._request = request
        self._hidden: Path | None = None

    @classmethod
    def affinity(cls) -> int:
        """The request was checked for sbatch; submitit would ask for srun, which we do not use."""
        return 2

    def _make_submission_file_text(self, command: str, uid: str) -> str:  # noqa: ARG002 - submitit's signature
        self._hidden = self.folder / f".submission_file_{uid}.sh"
        return render(self._request)

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        """Without what a surrounding job has set: it would be taken for wishes about the new one."""
        ours = (assignment.VARIABLE, assignment.SEAT, assignment.TRIALS)
        return [*commands.as_outside_of_jobs(*ours), "sbatch", str(submission_file_path)]

    def remove_hidden_file(self) -> None:
        """Remove submitit's hidden link to the script, or the hidden script itself where sbatch failed.

        This submission's own and no other: somebody else may be submitting to the same sweep at this moment.
        """
        if self._hidden is not None:
            self._hidden.unlink(missing_ok=True)


def _parameters(request: JobRequest) -> dict[str, Any]:
    """Submitit's own parameters where it has them; everything else as additional ones, which it writes as they are."""
    width = min(request.width or request.tasks, request.tasks)
    forced = {
        "array": f"0-{request.tasks - 1}" + (f"%{width}" if request.width else ""),
        "output": os.path.join(_escaped(request.source.jobs_dir), "%A_%a.out"),
        "chdir": request.source.workdir,
    }
    defaults = {"time": DEFAULT_TIME, "signal": WARNING_SIGNAL, "nodes": "1"}
    return {
        "job_name": request.name,
        "stderr_to_stdout": True,
        "wckey": None,
        "additional_parameters": {**defaults, **request.options, **forced},
    }


def _escaped(folder: str) -> str:
    """A folder as sbatch's output pattern takes it: a percent sign begins a field there (sbatch(1))."""
    return folder.replace("%", "%%")


def _command(request: JobRequest) -> str:
    """The script's body: what the agent needs to know, then the template's own text."""
    warning = warning_seconds(request.options)
    lines = [
        f"set -- {shlex.quote(request.source.argument)}",
        f"export SLURMSWEEP_PYTHON={shlex.quote(sys.executable)}",
        *([f"export SLURMSWEEP_WARNING_SECONDS={warning}"] if warning else []),
        *([f"export {assignment.VARIABLE}={assignment.to_text(request.attempt_ids)}"] if request.attempt_ids else []),
        *_seats(request),
        "",
        request.body,
    ]
    return "\n".join(lines)


def _seats(request: JobRequest) -> list[str]:
    """What agents side by side need to know."""
    if request.agents is None:
        return []
    return [f"export {assignment.AGENTS}={request.agents}", f"export {assignment.TRIALS}={request.trials}"]
