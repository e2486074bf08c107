"""The ``reconcile`` command."""

from __future__ import annotations

import argparse

from slurmsweep.cli import options
from slurmsweep.cli.output import note, print_json
from slurmsweep.cli.sweeps import note_unknown
from slurmsweep.control.round.reconcile import reconcile
from slurmsweep.control.session import Session

HELP = "record the ends that no agent lived to record, and why Slurm ended what it ended"
EXAMPLES = (
    ("reconcile last", "after jobs were killed or a node was lost"),
    ("reconcile last --dry-run", "say what would be recorded"),
)
EXIT_CODES = {3: "", 4: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``reconcile``."""
    options.add(parser, "sweep")
    options.add(parser, "--dry-run", help="say what would be recorded; write nothing")
    options.add(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """Record the ends that are not in the journal; return the exit code."""
    session = Session.open_to_run(args.sweep)
    session = session.rehearsal() if args.dry_run else session
    result = reconcile(session)
    attempt_ids = (*result.ended, *result.explained)
    ended = {attempt_id: session.view.attempt(attempt_id).outcome for attempt_id in attempt_ids}
    if args.json:
        rows = [attempt_id._asdict() | (end.to_json() if end else {}) for attempt_id, end in ended.items()]
        voided = [attempt_id._asdict() for attempt_id in result.voided]
        print_json({"ended": rows, "voided": voided, "cancelled": list(result.cancelled)})
    else:
        for (trial, attempt), end in ended.items():
            if end:
                note(f"trial {trial}, attempt {attempt}: {end.state} ({end.cause or 'no cause known'})")
        for trial, attempt in result.voided:
            note(f"trial {trial}, attempt {attempt}: was never started, and may be claimed again")
        for line in result.words_of_jobs():
            note(line)
        if not (ended or result.voided or result.words_of_jobs()):
            note("the journal knows everything that the scheduler and the folders know")
    if not args.dry_run:
        note_unknown(result.unknown)
    return 0
