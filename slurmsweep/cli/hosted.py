"""Commands on sweeps that W&B hosts: submit, status. Only the agents in the jobs ask W&B itself."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from slurmsweep.backends import registry
from slurmsweep.backends.wandb_hosted import submit as hosted
from slurmsweep.backends.wandb_hosted.backend import DEFAULT_WIDTH, SUPPORTED_AGENTS, HostedBackend
from slurmsweep.backends.wandb_hosted.folder import HostedFolder
from slurmsweep.cli.options import refuse_strangers
from slurmsweep.cli.output import note, print_json, print_sentences, print_text
from slurmsweep.control import defaults
from slurmsweep.control.round.auto_resources import AUTO
from slurmsweep.errors import NotFoundError, UsageError
from slurmsweep.report.figures import counted
from slurmsweep.report.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slurmsweep.backends.base import SubmitOptions
    from slurmsweep.backends.wandb_hosted.folder import HostedSweep

#: Jobs whose output is shown.
_JOBS = 20


def submit(  # noqa: PLR0913 - what the command line says
    sweep: HostedSweep,
    count: int | None,
    options: SubmitOptions,
    refused: Mapping[str, object],
    word: str,
    *,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Submit jobs that each run W&B's agent for one trial; return the exit code.

    Args:
        sweep: that W&B hosts.
        count: number of jobs.
        options: of the jobs.
        refused: options that need the journal, which such a sweep does not have, and their values.
        word: of the backend.
        dry_run: print the batch script instead.
        as_json: print a document.
    """
    folder = HostedFolder(sweep)
    if count is None:
        raise UsageError(f"{sweep}: only W&B knows how many trials are left; say how many jobs by --count")
    words = [word for word, value in refused.items() if value]
    source = hosted.source_of(folder, defaults.read(os.getcwd()))
    given = options.options or {}
    words += [f"--{name} auto" for name in ("time", "mem") if str(given.get(name, "")).lower() == AUTO]
    if words:
        raise UsageError(f"{sweep}: {' and '.join(words)} is for sweeps of slurmsweep's own, not for W&B's")
    refuse_strangers(given)
    remembered = next((s.backend for s in reversed(folder.submissions())), "")
    backend = registry.hosting(word, remembered, rehearsal=dry_run)
    backend.normalized(given)
    options = defaults.filled(options, source.defaults, backend)
    for notice in backend.check(options, source):
        note(notice)
    if dry_run:
        print_text(backend.preview(backend.request(source, count, options)))
        return 0
    if isinstance(backend, HostedBackend):
        _note_width(folder, options.width, count)
    elif count > SUPPORTED_AGENTS:
        note(
            f"warning: up to {counted(count, 'agent')} at a time, as the service has room; W&B supports about "
            f"{SUPPORTED_AGENTS} and answers more with errors (429)"
        )
    submitted = hosted.submit(folder, count, options, source, backend, note)
    for array in submitted:
        note(
            f"submitted job {array.job}: {counted(array.tasks, 'agent')} of W&B's sweep {sweep}"
            + (f", {array.width} at a time" if backend.has_scripts else "")
        )
    note(f"their output, with what the runs print: {backend.output_place(folder.jobs)}")
    if as_json:
        print_json([{"job": array.job, "name": array.name, "tasks": array.tasks} for array in submitted])
    return 0


def status(sweep: HostedSweep, *, as_json: bool) -> int:
    """Show what schedulers say of the jobs; return the exit code."""
    folder = HostedFolder(sweep)
    answer = hosted.status(folder)
    places = {_output_place(one.backend, folder.jobs): None for one in answer.submissions}
    if as_json:
        print_json({"sweep": str(sweep), **answer.to_json(), "output": "; ".join(places)})
        return 0
    words = ", ".join(f"{n} {word}" for word, n in answer.words.items())
    lines = [f"{sweep}, a sweep of W&B's own", f"jobs: {words}"]
    for submission in answer.submissions:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(submission.submitted))
        job = submission.job or f"(unanswered: {submission.name})"
        width = "" if submission.backend in registry.SERVICES else f", {submission.width} at a time"
        lines.append(f"  {job}: {counted(submission.tasks, 'job')}{width}, submitted {when}")
    print_sentences("\n".join([*lines, *(f"output: {place}" for place in places)]))
    return 0


def logs(sweep: HostedSweep, lines: int) -> int:
    """Print the last lines that jobs of services wrote, each below its name; return the exit code.

    Raises:
        NotFoundError: no job of a service was submitted for the sweep from here.
    """
    folder, found = HostedFolder(sweep), False
    for ref, status, words in hosted.outputs(folder, lines, _JOBS):
        found = True
        print_text(f"==> {ref}: {status.word} <==")
        print_text("\n".join([*map(printable, words), ""]))
    if not found:
        raise NotFoundError(f"no jobs of AWS are known of {sweep} here; output of jobs of Slurm is in {folder.jobs}")
    return 0


def _output_place(word: str, jobs_dir: str) -> str:
    """Return where jobs of a backend write; that of Slurm has no service of its name."""
    return registry.service(word).output_place(jobs_dir) if word in registry.SERVICES else jobs_dir


def _note_width(folder: HostedFolder, asked: int | None, count: int) -> None:
    """Print how many agents will run at a time where that is not as asked, or more than W&B supports."""
    width = asked or DEFAULT_WIDTH
    if asked is None and count > width:
        note(
            f"{counted(width, 'job')} at a time, because W&B supports about {SUPPORTED_AGENTS} agents (--width "
            "changes it)"
        )
    try:
        others = hosted.status(folder)
        busy = min(others.alive, sum(submission.width or submission.tasks for submission in others.submissions))
    except NotFoundError:
        busy = 0
    total = busy + min(width, count)
    if total > SUPPORTED_AGENTS:
        because = f", with {busy} of earlier submissions" if busy else ""
        note(
            f"warning: up to {total} agents at a time{because}; W&B supports about {SUPPORTED_AGENTS} and "
            "answers more with errors (429)"
        )
