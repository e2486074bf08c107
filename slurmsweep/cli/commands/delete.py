"""The ``delete`` command."""

from __future__ import annotations

import argparse

from slurmsweep.cli import options
from slurmsweep.cli.output import note, print_json
from slurmsweep.control import delete
from slurmsweep.control.session import Session

HELP = "take trials back so that their points are run again, also finished ones; nothing is removed"
EXAMPLES = (
    ("delete last --trials 0,3-5", "these points are run again"),
    ("delete last -s failed --dry-run", "say which trials failed"),
)
EXIT_CODES = {3: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``delete``."""
    options.add(parser, "sweep")
    parser.add_argument("--trials", type=options.numbers, metavar="LIST", help="these, such as 0,3,7-12")
    options.add_states(parser, "all that ended in this state (repeatable)")
    parser.add_argument("--dry-run", action="store_true", help="say which; write nothing")
    options.add(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """Let the points of chosen trials be run again; return the exit code."""
    session = Session.open_to_run(args.sweep)
    choice = delete.Choice(args.trials or (), frozenset(args.state))
    attempt_ids = delete.chosen_attempts(session, choice) if args.dry_run else delete.delete(session, choice)
    if args.json:
        print_json([attempt_id._asdict() for attempt_id in attempt_ids])
    elif not attempt_ids:
        named = [f"trial {n} waits to be run already" for n in sorted(choice.trials)]
        named += [f"no trial is {state}" for state in sorted(choice.states)]
        note(f"nothing to delete: {', '.join(named)}")
    else:
        verb = "would be deleted" if args.dry_run else "deleted, so that their points are run again"
        note(f"trials {', '.join(str(attempt_id.trial) for attempt_id in attempt_ids)}: {verb}")
        if not args.dry_run:
            note(f"`slurmsweep resume {args.sweep}` where the sweep was stopped, then `slurmsweep run {args.sweep}`")
    return 0
