"""The ``reconcile`` command."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from slurmsweep.cli import options
from slurmsweep.cli.output import note, print_json
from slurmsweep.cli.sweeps import note_unknown
from slurmsweep.control.reconcile import reconcile
from slurmsweep.control.session import Session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.tail import AttemptId

HELP = "record the ends that no agent lived to record, and why Slurm ended what it ended"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``reconcile``."""
    options.add(parser, "sweep")
    parser.add_argument("--dry-run", action="store_true", help="say what would be recorded; write nothing")
    options.add(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """Record the ends that are not in the journal; return the exit code."""
    session = Session.open_to_run(args.sweep)
    session = session.rehearsal() if args.dry_run else session
    result = reconcile(session)
    attempt_ids = (*result.ended, *result.explained)
    _show({a: session.view.attempt(a).outcome for a in attempt_ids}, result.voided, as_json=args.json)
    if not args.dry_run:
        note_unknown(result.unknown)
    return 0


def _show(ended: Mapping[AttemptId, Outcome | None], voided: Sequence[AttemptId], *, as_json: bool) -> None:
    if as_json:
        rows = [attempt_id._asdict() | (end.to_json() if end else {}) for attempt_id, end in ended.items()]
        print_json({"ended": rows, "voided": [attempt_id._asdict() for attempt_id in voided]})
        return
    for attempt_id, end in ended.items():
        if end:
            cause = end.cause or "no cause known"
            note(f"trial {attempt_id.trial}, attempt {attempt_id.attempt}: {end.state} ({cause})")
    for attempt_id in voided:
        note(f"trial {attempt_id.trial}, attempt {attempt_id.attempt}: was never started, and may be claimed again")
    if not (ended or voided):
        note("the journal knows everything that Slurm and the folders know")
