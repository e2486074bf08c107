"""The ``cancel`` command."""

from __future__ import annotations

import argparse

from slurmsweep.cli import options
from slurmsweep.cli.output import print_order
from slurmsweep.control.jobs import orders
from slurmsweep.control.session import Session

HELP = "end a sweep: nothing new starts, running trials are killed"
EXAMPLES = (
    ("cancel last", "running trials are killed"),
    ("cancel last --json", "which jobs were told to end, for programs"),
)
EXIT_CODES = {1: "an agent goes on that can be ended on its own machine only", 3: "", 4: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``cancel``."""
    options.add(parser, "sweep", "--json")


def run(args: argparse.Namespace) -> int:
    """Cancel a sweep; return the exit code: 1 where an agent goes on that can be ended on its own machine only."""
    ordered = orders.cancel(Session.open_to_run(args.sweep))
    print_order(args.sweep, ordered, "told to end", as_json=args.json)
    return int(bool(ordered.elsewhere))
