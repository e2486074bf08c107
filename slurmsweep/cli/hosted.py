"""Commands on sweeps that W&B hosts: submit, status, logs. Only the agents in the jobs ask W&B itself."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from slurmsweep.backends import registry
from slurmsweep.backends.wandb_hosted import submit as hosted
from slurmsweep.backends.wandb_hosted.backend import DEFAULT_WIDTH, SUPPORTED_AGENTS, HostedBackend
from slurmsweep.backends.wandb_hosted.folder import HostedFolder, parse
from slurmsweep.cli.options import refuse_function, refuse_strangers, wish_of
from slurmsweep.cli.output import note, print_json, print_sentences, print_text
from slurmsweep.control import defaults
from slurmsweep.control.round.auto_resources import AUTO
from slurmsweep.errors import NotFoundError, UsageError
from slurmsweep.report.figures import counted
from slurmsweep.report.terminal import printable

if TYPE_CHECKING:
    import argparse

    from slurmsweep.backends.wandb_hosted.folder import HostedSweep

#: Jobs whose output is shown.
_JOBS = 20

#: Options that need the journal, which a sweep that W&B hosts does not have.
_WITH_A_JOURNAL = ("notify", "workdir", "wait", "mend", "canaries", "after", "max_fails")


def submit(args: argparse.Namespace) -> int:
    """Submit jobs that each run W&B's agent for one trial; return the exit code."""
    refuse_function(args.function)
    sweep, given = _sweep(args), wish_of(args)
    if args.count is None:
        raise UsageError(f"{sweep}: only W&B knows how many trials are left; say how many jobs by --count")
    folder, options = HostedFolder(sweep), given.options or {}
    source = hosted.source_of(folder, defaults.read(os.getcwd()))
    words = [f"--{name.replace('_', '-')}" for name in _WITH_A_JOURNAL if getattr(args, name)]
    words += ["--shared"] if args.shared != "off" else []
    words += [f"--{name} auto" for name in ("time", "mem") if str(options.get(name, "")).lower() == AUTO]
    if words:
        raise UsageError(f"{sweep}: {' and '.join(words)} is for sweeps of slurmsweep's own, not for W&B's")
    refuse_strangers(options)
    remembered = next((s.backend for s in reversed(folder.submissions())), "")
    backend = registry.hosting(args.backend, remembered, rehearsal=args.dry_run)
    backend.normalized(options)
    wish = defaults.filled(given, source.defaults, backend)
    for notice in backend.check(wish, source):
        note(notice)
    if args.dry_run:
        print_text(backend.preview(backend.request(source, args.count, wish)))
        return 0
    if isinstance(backend, HostedBackend):
        _note_width(folder, wish.width, args.count)
    elif args.count > SUPPORTED_AGENTS:
        note(
            f"warning: up to {counted(args.count, 'agent')} at a time, as the service has room; W&B supports about "
            f"{SUPPORTED_AGENTS} and answers more with errors (429)"
        )
    submitted = hosted.submit(folder, args.count, wish, source, backend, note)
    for array in submitted:
        note(
            f"submitted job {array.job}: {counted(array.tasks, 'agent')} of W&B's sweep {sweep}"
            + (f", {array.width} at a time" if backend.has_scripts else "")
        )
    note(f"their output, with what the runs print: {backend.output_place(folder.jobs)}")
    if args.json:
        print_json([{"job": array.job, "name": array.name, "tasks": array.tasks} for array in submitted])
    return 0


def status(args: argparse.Namespace) -> int:
    """Show what schedulers say of the jobs; return the exit code."""
    sweep = _sweep(args)
    folder = HostedFolder(sweep)
    answer = hosted.status(folder)
    services = [registry.service(s.backend) if s.backend in registry.SERVICES else None for s in answer.submissions]
    places = dict.fromkeys(service.output_place(folder.jobs) if service else folder.jobs for service in services)
    if args.json:
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


def logs(args: argparse.Namespace, lines: int) -> int:
    """Print the last lines that jobs of services wrote, each below its name: the sweep has no trials here.

    Returns the exit code.

    Raises:
        NotFoundError: no job of a service was submitted for the sweep from here.
    """
    if args.failed or args.attempt or args.follow or args.path or len(args.words) > 1:
        raise UsageError(f"{args.words[0]} is a sweep of W&B's own: here only the last lines of its jobs are known")
    sweep = parse(args.words[0], os.environ)
    folder, found = HostedFolder(sweep), False
    for ref, status, words in hosted.outputs(folder, lines, _JOBS):
        found = True
        print_text(f"==> {ref}: {status.word} <==")
        print_text("\n".join([*map(printable, words), ""]))
    if not found:
        raise NotFoundError(f"no jobs of AWS are known of {sweep} here; output of jobs of Slurm is in {folder.jobs}")
    return 0


def _sweep(args: argparse.Namespace) -> HostedSweep:
    return parse(args.sweep, os.environ, args.entity, args.project)


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
