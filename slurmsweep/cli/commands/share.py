"""The ``share`` command."""

from __future__ import annotations

import argparse
from contextlib import closing

from slurmsweep.cli import options

HELP = "let the group of the sweep's folder read it, or run and change it; or keep it to yourself again"
EXAMPLES = (
    ("share last", "the group reads it"),
    ("share last --write", "the group runs its trials, too"),
)
EXIT_CODES = {3: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``share``."""
    options.add(parser, "sweep")
    way = parser.add_mutually_exclusive_group()
    for word, text in (
        ("read", "the group reads it (default)"),
        ("write", "the group reads it, runs its trials and changes it"),
        ("off", "it is yours alone again"),
    ):
        way.add_argument(f"--{word}", dest="way", action="store_const", const=word, default="read", help=text)


def run(args: argparse.Namespace) -> int:
    """Change for whom a sweep is, with all that is in it; return the exit code."""
    from slurmsweep.api.sweep import Sweep
    from slurmsweep.cli.events import EventPrinter

    with closing(EventPrinter(args.sweep)) as events:
        Sweep(args.sweep, tell=events).share(args.way)
    return 0
