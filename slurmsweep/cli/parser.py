"""The whole command line, put together."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from slurmsweep.cli.arguments.common import Commands

_EPILOG = """\
exit codes: 0 done; 1 the work failed (a trial failed, check found damage); 2 wrong usage or a wrong sweep file;
3 no such sweep or trial; 4 Slurm could not be asked, or refused; 5 the state could not be locked, read or written.
An agent exits with its trial's code.
"""


#: Modules of ``cli.arguments``, in the order of the help.
_GROUPS = ("starting", "working", "steering", "tending", "reading", "measuring", "syncing")


def build_parser(command: str = "") -> argparse.ArgumentParser:
    """The command line: all of it, or of the commands only ``command``, which need not wait for all others' tables."""
    parser = argparse.ArgumentParser(
        prog="slurmsweep",
        description="W&B sweep files on a plain Slurm cluster: no server, no internet, no trial lost, none run twice.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for add in _chosen(command):
        add(commands)
    return parser


def _chosen(command: str) -> list[Callable[[Commands], None]]:
    """What adds the command of that name; where there is none, what adds each that there is."""
    found: list[Callable[[Commands], None]] = []
    for group in _GROUPS:
        of_group = import_module(f"slurmsweep.cli.arguments.{group}").COMMANDS
        if command in of_group:
            return [of_group[command]]
        found += of_group.values()
    return found
