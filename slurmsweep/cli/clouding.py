"""Commands on sweeps that W&B's server holds: submit, status. W&B itself is asked by the agents in the jobs only."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from slurmsweep.backends.wandb_hosted import submit as cloud
from slurmsweep.backends.wandb_hosted.backend import DEFAULT_WIDTH, SUPPORTED_AGENTS, HostedBackend
from slurmsweep.backends.wandb_hosted.folder import HostedFolder, parse
from slurmsweep.cli.reading import note, print_json
from slurmsweep.cli.starting import wishes_of
from slurmsweep.control import start
from slurmsweep.control.auto_resources import AUTO
from slurmsweep.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from slurmsweep.backends.wandb_hosted.submit import HostedStatus


def submit(args: argparse.Namespace) -> int:
    """Submit jobs that each run W&B's agent for one trial."""
    folder = _folder(args)
    if args.count is None:
        raise UsageError(f"{folder.sweep}: only W&B knows how many trials are left; say how many jobs by --count")
    wishes = wishes_of(args)
    _refuse_what_only_we_know(args, folder, wishes.options or {})
    if args.dry_run:
        backend = HostedBackend()
        print(backend.preview(backend.request(cloud.source_of(folder), args.count, wishes)))
        return 0
    start.choose_backend("slurm")
    _say_width(folder, args.width, args.count)
    submitted = cloud.submit(folder, args.count, wishes)
    for array in submitted:
        note(f"submitted job {array.job}: {array.tasks} agents of W&B's sweep {folder.sweep}, {array.width} at a time")
    note(f"their output, with what the runs print: {folder.jobs}")
    if args.json:
        print_json([{"job": array.job, "name": array.name, "tasks": array.tasks} for array in submitted])
    return 0


def status(args: argparse.Namespace) -> int:
    """What Slurm says of the jobs."""
    folder = _folder(args)
    answer = cloud.status(folder)
    if args.json:
        print_json({"sweep": str(folder.sweep), **answer.to_json(), "output": folder.jobs})
    else:
        print(_status_text(folder, answer))
    return 0


def _refuse_what_only_we_know(args: argparse.Namespace, folder: HostedFolder, options: Mapping[str, object]) -> None:
    """Waiting, mending and learning rest on the journal, which a sweep of W&B's own does not have."""
    words = [
        word for word, given in (("--wait", args.wait), ("--mend", args.mend), ("--canaries", args.canaries)) if given
    ]
    words += [f"--{name} auto" for name in ("time", "mem") if str(options.get(name, "")).lower() == AUTO]
    if words:
        raise UsageError(f"{folder.sweep}: {' and '.join(words)} is for sweeps of slurmsweep's own, not for W&B's")


def _folder(args: argparse.Namespace) -> HostedFolder:
    return HostedFolder(parse(args.sweep, os.environ, args.entity, args.project))


def _say_width(folder: HostedFolder, asked: int | None, count: int) -> None:
    """Say how many agents will run at a time, and what W&B supports."""
    width = asked or DEFAULT_WIDTH
    if asked is None and count > width:
        note(f"{width} jobs at a time, because W&B supports about {SUPPORTED_AGENTS} agents (--width changes it)")
    try:
        others = cloud.status(folder)
    except NotFoundError:
        others = None
    busy = min(others.alive, sum(s.width for s in others.submissions)) if others else 0
    total = busy + min(width, count)
    if total > SUPPORTED_AGENTS:
        because = f", with {busy} of earlier submissions" if busy else ""
        note(
            f"warning: up to {total} agents at a time{because}; W&B supports about {SUPPORTED_AGENTS} and "
            "answers more with errors (429)"
        )


def _status_text(folder: HostedFolder, answer: HostedStatus) -> str:
    words = ", ".join(f"{n} {word}" for word, n in answer.words.items())
    lines = [f"{folder.sweep}, a sweep of W&B's own", f"jobs: {words}"]
    for submission in answer.submissions:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(submission.submitted))
        job = submission.job or f"(unanswered: {submission.name})"
        lines.append(f"  {job}: {submission.tasks} jobs, {submission.width} at a time, submitted {when}")
    return "\n".join([*lines, f"output: {folder.jobs}"])
