"""The ``status`` command."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from slurmsweep.backends.wandb_hosted.folder import is_meant
from slurmsweep.cli import options
from slurmsweep.cli.output import note, print_json, print_sentences, print_text
from slurmsweep.cli.sweeps import note_stray_jobs, summarize
from slurmsweep.control.failures.groups import failure_groups
from slurmsweep.control.jobs.supervisor_status import supervisor_status
from slurmsweep.control.round import granted
from slurmsweep.control.session import Session
from slurmsweep.errors import UsageError
from slurmsweep.report import tables
from slurmsweep.report.figures import counted
from slurmsweep.report.summary import status_document

if TYPE_CHECKING:
    from slurmsweep.control.jobs.supervisor_status import SupervisorStatus

HELP = "show state, counts and the best trial of a sweep"
EXAMPLES = (
    ("status", "of the newest sweep here"),
    ("status last --json", "for programs"),
)
EXIT_CODES = {3: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``status``."""
    options.add(parser, "newest", "--json")
    parser.add_argument("--watch", action="store_true", help="the same as `slurmsweep watch`")
    options.add_hosted(parser)


def run(args: argparse.Namespace) -> int:
    """Show a sweep as it is now; of one that W&B hosts, what Slurm says of its jobs. Return the exit code."""
    if is_meant(args.sweep, args.entity, args.project):
        from slurmsweep.cli import hosted  # loads submitit

        return hosted.status(args)
    if args.watch:
        from slurmsweep.cli.commands.watch import show

        if args.json:
            raise UsageError("--watch shows a screen, and --json one document: give one of them")
        return show(args.sweep)
    session = Session.open(args.sweep)
    summary, snapshot = summarize(session)
    supervisor = supervisor_status(session)
    if args.json:
        print_json(
            status_document(summary, failure_groups(summary)) | {"mending": asdict(supervisor) if supervisor else None}
        )
        return 0
    print_text(tables.status_text(summary, failure_groups(summary), args.sweep))
    if supervisor:
        print_sentences(f"  mending {_supervisor_text(supervisor, args.sweep)}")
    note_stray_jobs(session, snapshot)
    for line in granted.words(snapshot, granted.differences(session, snapshot)):
        note(line)
    return 0


def _supervisor_text(status: SupervisorStatus, sweep: str) -> str:
    """Return the state of the supervisor, and what to do where none is queued."""
    rounds = f"{counted(status.rounds, 'round')}"
    trouble = f"; the last round had trouble: {status.trouble}" if status.trouble else ""
    if status.is_over:
        return f"done after {rounds}: {status.report}{trouble}"
    if status.supervisors is None:
        return f"{rounds} so far; Slurm could not be asked for its supervisor{trouble}"
    if not status.supervisors:
        return f"{rounds}, and NO supervisor is left: `slurmsweep mend {sweep}` starts it again{trouble}"
    return f"{rounds} so far, supervised by job {' and '.join(status.supervisors)}{trouble}"
