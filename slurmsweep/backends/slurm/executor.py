"""Hand arrays to Slurm through submitit: its header and its sbatch call, with our command instead of its pickle.

The only importer of submitit. Two of its names are private (``_submit_command``, ``_make_submission_file_text``): used
here and nowhere else, pinned below version 2, and held by a contract test.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import sys
from contextlib import redirect_stderr
from dataclasses import replace
from typing import TYPE_CHECKING

from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import SlurmExecutor, _make_sbatch_string

from slurmsweep.backends.keys import parts_of
from slurmsweep.backends.slurm import commands
from slurmsweep.backends.slurm.queue import submitted
from slurmsweep.backends.slurm.refusals import explain
from slurmsweep.backends.slurm.resources import DEFAULT_TIME, WARNING_SIGNAL, over, warning_seconds
from slurmsweep.errors import SchedulerUnavailableError, SubmissionUnknownError
from slurmsweep.state import assignment
from slurmsweep.state import files as durable

if TYPE_CHECKING:
    from pathlib import Path

    from slurmsweep.backends.base import JobRequest


def render(request: JobRequest) -> str:
    """Return the batch script as it would be submitted. Needs no Slurm."""
    folder, width = request.source.jobs_dir, min(request.width or request.tasks, request.tasks)
    options = over({"time": DEFAULT_TIME, "signal": WARNING_SIGNAL, "nodes": "1"}, request.options)
    options |= {
        "array": f"0-{request.tasks - 1}" + (f"%{width}" if request.width else ""),
        "output": os.path.join(folder.replace("%", "%%"), "%A_%a.out"),  # a percent sign begins a field (sbatch(1))
        "chdir": request.source.workdir,
    }
    # submitit writes additional parameters as they are
    return _make_sbatch_string(
        command=_command(request),
        folder=folder,
        job_name=request.name,
        stderr_to_stdout=True,
        use_srun=False,
        wckey=None,  # type: ignore[arg-type] # left out, which submitit's signature does not know
        nodes=None,  # type: ignore[arg-type]
        additional_parameters=options,
    )


def submit(request: JobRequest) -> str:
    """Submit the array by one sbatch call; return its id. Raises as :meth:`.Backend.send`."""
    commands.require_sbatch()
    executor = _ArrayExecutor(request)
    try:
        # submitit prints what sbatch said, which the error says once more
        with durable.writing(request.source.jobs_dir), redirect_stderr(io.StringIO()):
            executor._submit_command(_command(request))  # noqa: SLF001 - see the module's docstring
    except (FailedJobError, FailedSubmissionError) as error:
        raise explain(str(error)) from error
    finally:
        executor.remove_hidden_file()
    return executor.key


def earliest_start(request: JobRequest) -> tuple[str | None, str | None]:
    """Return when such a job would start now, and what Slurm has against it. Raises SchedulerUnavailableError."""
    command = [*commands.as_outside_of_jobs(), "sbatch", "--test-only"]
    done = commands.call(*command, text=render(replace(request, tasks=1, width=None)))
    # sbatch: Job 320 to start at 2026-11-23T19:40:12 using 1 processors on nodes n1 in partition main
    start = re.search(r"to start at (\S+)", done.stderr)
    if start:
        return start[1], None
    error = explain(done.stderr)
    if isinstance(error, SchedulerUnavailableError):
        raise error
    if isinstance(error, SubmissionUnknownError):  # a question makes no jobs
        raise SchedulerUnavailableError(f"Slurm did not answer: {commands.first_line(done.stderr)}")
    return None, str(error)


class _ArrayExecutor(SlurmExecutor):
    """submitit's executor with our script: the header is its own, the body is the template's."""

    def __init__(self, request: JobRequest) -> None:
        super().__init__(folder=request.source.jobs_dir)
        self._request = request
        self._hidden: Path | None = None
        self.key = ""
        """Of the job that sbatch took: its id, and its cluster where that is another one."""

    @classmethod
    def affinity(cls) -> int:
        """Return the best score: there is an sbatch, and submitit would look for srun, which we do not use."""
        return 2

    def _make_submission_file_text(self, command: str, uid: str) -> str:  # noqa: ARG002 - submitit's signature
        self._hidden = self.folder / f".submission_file_{uid}.sh"
        return render(self._request)

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        ours = (assignment.VARIABLE, assignment.SEAT, assignment.TRIALS)
        return [*commands.as_outside_of_jobs(*ours), "sbatch", str(submission_file_path)]

    def _get_job_id_from_submission_command(self, string: bytes | str) -> str:  # type: ignore[override]
        self.key = submitted(string.decode(errors="replace") if isinstance(string, bytes) else string)
        return parts_of(self.key)[0]

    def remove_hidden_file(self) -> None:
        """Remove submitit's hidden link to the script, or the hidden script itself where sbatch failed.

        Other hidden files stay: another process may be submitting to the same sweep at this moment.
        """
        if self._hidden is not None:
            self._hidden.unlink(missing_ok=True)


def _command(request: JobRequest) -> str:
    """Return the script's body: variables that agents need, then the template's own text."""
    warning = warning_seconds(request.options)
    variables = {
        "SLURMSWEEP_PYTHON": shlex.quote(sys.executable),
        "SLURMSWEEP_WARNING_SECONDS": str(warning or ""),
        assignment.VARIABLE: assignment.to_text(request.attempt_ids),
        assignment.AGENTS: str(request.agents or ""),
        assignment.TRIALS: str(request.trials) if request.agents else "",
    }
    exports = [f"export {name}={value}" for name, value in variables.items() if value]
    return "\n".join([f"set -- {shlex.quote(request.source.argument)}", *exports, "", request.body])
