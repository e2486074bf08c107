"""The ``rerun`` command."""

from __future__ import annotations

import argparse

from slurmsweep.cli import options
from slurmsweep.cli.output import note, print_json
from slurmsweep.control.session import Session
from slurmsweep.control.upkeep import rerun
from slurmsweep.report.choice import told_apart
from slurmsweep.report.next_step import starter

HELP = "let trials be run again, also finished ones; nothing is removed, and `run` starts them"
EXAMPLES = (
    ("rerun last --trials 0,3-5", "these trials"),
    ("rerun last --where lr=0.1 --dry-run", "say which trials have this value"),
)
EXIT_CODES = {3: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rerun`` and ``delete``."""
    options.add(parser, "sweep")
    options.add(parser, "--trials", help="these, such as 0,3,7-12")
    options.add(parser, "--state", help="all that ended in this state (repeatable)")
    options.add(parser, "--where")
    options.add(parser, "--dry-run", help="say which; write nothing")
    options.add(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """Let chosen trials be run again; return the exit code."""
    session = Session.open_to_run(args.sweep)
    choice = rerun.Choice(args.trials or (), frozenset(args.state), tuple(args.where))
    attempt_ids = rerun.chosen_attempts(session, choice) if args.dry_run else rerun.rerun(session, choice)
    if hint := told_apart(choice.where, is_found=bool(attempt_ids)):
        note(hint)
    if args.json:
        print_json([attempt_id._asdict() for attempt_id in attempt_ids])
    elif not attempt_ids:
        named = [f"trial {n} waits to be run already" for n in sorted(choice.trials)]
        named += [f"no trial is {state}" for state in sorted(choice.states)]
        named += [f"no such trial has {''.join(one)}" for one in choice.where]
        note(f"nothing to run again: {', '.join(named)}")
    else:
        numbers = ", ".join(str(attempt_id.trial) for attempt_id in attempt_ids)
        which = f"{'trial' if len(attempt_ids) == 1 else 'trials'} {numbers}"
        note(f"{which} {'would' if args.dry_run else 'will'} be run again")
        if not args.dry_run:
            first = f"`slurmsweep resume {args.sweep}`, then " if session.view.reached else ""
            note(f"{first}{starter(session.store.manifest, args.sweep)} starts them")
    return 0
