"""The ``resume`` command."""

from __future__ import annotations

import argparse

from slurmsweep.cli import options
from slurmsweep.cli.output import note, print_order
from slurmsweep.control.jobs import orders
from slurmsweep.control.session import Session
from slurmsweep.report.figures import counted
from slurmsweep.report.next_step import starter

HELP = "start new trials again after pause, stop or cancel; held jobs are released"
EXAMPLES = (
    ("resume last", "after pause, stop or cancel"),
    ("resume last --json", "which jobs were released, for programs"),
)
EXIT_CODES = {3: "", 4: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``resume``."""
    options.add(parser, "sweep", "--json")


def run(args: argparse.Namespace) -> int:
    """Resume a sweep, and its supervisor; return the exit code."""
    from slurmsweep.control.launch.supervised import resume_supervision  # loads submitit

    session = Session.open_to_run(args.sweep)
    ordered = orders.resume(session)
    print_order(args.sweep, ordered, "released", as_json=args.json)
    if resume_supervision(session):
        note("the sweep mends itself: its supervisor looks at it within a minute")
    elif ordered.without_job:
        which = counted(ordered.without_job, "open trial has", "open trials have")
        note(f"{which} no job: {starter(session.store.manifest, args.sweep)} starts what is open")
    return 0
