"""The ``logs`` command."""

from __future__ import annotations

import argparse
import os

from slurmsweep.cli import options
from slurmsweep.cli.output import print_log, print_text
from slurmsweep.errors import NotFoundError
from slurmsweep.state import view_cache
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import AttemptId

HELP = "print the log of a trial's newest attempt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``logs``."""
    options.add(parser, "sweep")
    parser.add_argument("trial", type=options.number, metavar="TRIAL", help="number of the trial")
    parser.add_argument("--attempt", type=options.natural, metavar="N", help="an older attempt")
    parser.add_argument("--path", action="store_true", help="print the log's path instead")


def run(args: argparse.Namespace) -> int:
    """Print the log of one attempt; return the exit code."""
    store = SweepStore.open(args.sweep)
    trial = view_cache.read(store).trials.get(args.trial)
    total = store.manifest.trials
    if total is not None and args.trial >= total:
        raise NotFoundError(f"sweep {args.sweep} has trials 0 to {total - 1}: there is no trial {args.trial}")
    attempt = args.attempt or (trial.current.number if trial and trial.current else 0)
    path = store.layout.log(AttemptId(args.trial, attempt))
    if trial is None or not os.path.isfile(path):
        raise NotFoundError(f"trial {args.trial} has no log{f' of attempt {attempt}' if attempt else ''} yet")
    if args.path:
        print_text(path)
    else:
        print_log(path)
    return 0
