"""The ``importance`` command."""

from __future__ import annotations

import argparse

from slurmsweep.api.sweep import Sweep
from slurmsweep.cli import options
from slurmsweep.cli.output import print_json, print_text
from slurmsweep.control.session import Session
from slurmsweep.report.importance import importance_text

HELP = "show which parameters mattered, which way, and with which values trials fail"
EXAMPLES = (
    ("importance", "of the newest sweep here"),
    ("importance last --among best:50%", "what matters among the better half"),
)
EXIT_CODES = {3: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``importance``."""
    options.add(parser, "newest")
    options.add(parser, "--metric", help="one of the sweep file's metrics (default: the sweep's own)")
    text = "look at the best trials only, such as best:50%% for the better half"
    parser.add_argument("--among", metavar="best:N[%]", help=text)
    options.add(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """Show which parameters mattered; return the exit code."""
    options.one_thread()
    document = Sweep(Session.open(args.sweep)).importance(args.metric, among=args.among)
    if args.json:
        print_json(document)
    else:
        print_text(importance_text(document))
    return 0
