"""The ``pause`` command."""

from __future__ import annotations

import argparse

from slurmsweep.cli import options
from slurmsweep.cli.output import print_order
from slurmsweep.control.jobs import orders
from slurmsweep.control.session import Session

HELP = "start no new trials for now: running ones go on, waiting jobs are held"
EXAMPLES = (
    ("pause last", "running trials go on"),
    ("pause last --json", "which jobs were held, for programs"),
)
EXIT_CODES = {3: "", 4: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``pause``."""
    options.add(parser, "sweep", "--json")


def run(args: argparse.Namespace) -> int:
    """Pause a sweep; return the exit code."""
    print_order(args.sweep, orders.pause(Session.open_to_run(args.sweep)), "held", as_json=args.json)
    return 0
