"""The ``leet`` command: W&B's own viewer in the terminal, with all trials of a sweep."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from slurmsweep.cli import options
from slurmsweep.cli.output import note
from slurmsweep.cli.sweeps import summarize
from slurmsweep.control.session import Session
from slurmsweep.errors import UsageError
from slurmsweep.report.figures import counted

if TYPE_CHECKING:
    import argparse

HELP = "open W&B's viewer in the terminal (wandb leet) with all trials of a sweep"
EXAMPLES = (
    ("leet", "the newest sweep here"),
    ("leet last --links runs", "lay the runs out in a folder, for another viewer"),
)
EXIT_CODES = {3: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``leet``."""
    options.add(parser, "newest")
    text = "lay the runs out in this folder, and start no viewer (default: leet/ in the sweep's folder)"
    parser.add_argument("--links", metavar="DIR", help=text)


def run(args: argparse.Namespace) -> int:
    """Lay out the runs, and start the viewer where there is a terminal; return the exit code."""
    from slurmsweep.sync.leet_folder import lay_out
    from slurmsweep.sync.upload import wandb_command

    session = Session.open(args.sweep)
    summary, _ = summarize(session)
    store = session.store
    viewer = None if args.links else [*wandb_command(), "leet"]
    folder = os.path.abspath(args.links) if args.links else os.path.join(store.layout.folder, "leet")
    linked, written = lay_out(summary, summary.trials(), folder, store.access)
    if not linked + written:
        raise UsageError("no trial of the sweep has logged anything yet: there is nothing to view")
    note(f"{counted(linked + written, 'trial')} in {folder}: links to {linked}, and {written} written as they are now")
    if viewer is None or not (sys.stdin.isatty() and sys.stdout.isatty()):
        print(folder)
        return 0
    return subprocess.call([*viewer, folder])
