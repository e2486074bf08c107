"""The ``stop`` command."""

from __future__ import annotations

import argparse

from slurmsweep.cli import options
from slurmsweep.cli.output import print_order
from slurmsweep.control.jobs import orders
from slurmsweep.control.session import Session

HELP = "start no new trials: running ones finish, waiting jobs are cancelled"
EXAMPLES = (
    ("stop last", "running trials finish"),
    ("stop last --json", "which jobs were cancelled, for programs"),
)
EXIT_CODES = {3: "", 4: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``stop``."""
    options.add(parser, "sweep", "--json")


def run(args: argparse.Namespace) -> int:
    """Stop a sweep; return the exit code."""
    print_order(args.sweep, orders.stop(Session.open_to_run(args.sweep)), "waiting part cancelled", as_json=args.json)
    return 0
