"""The whole command line, put together."""

from __future__ import annotations

import argparse
from importlib import import_module

_EPILOG = """\
exit codes: 0 done; 1 the work failed (a trial failed, check found damage); 2 wrong usage or a wrong sweep file;
3 no such sweep or trial; 4 Slurm could not be asked, or refused; 5 the state could not be locked, read or written.
An agent exits with its trial's code.
"""


#: Modules of ``cli.arguments``, in the order of the help.
_GROUPS = ("starting", "working", "steering", "tending", "reading", "measuring", "syncing")


def build_parser(command: str = "") -> argparse.ArgumentParser:
    """The command line: all of it, or up to the group of ``command``, which need not wait for all others' tables."""
    parser = argparse.ArgumentParser(
        prog="slurmsweep",
        description="W&B sweep files on a plain Slurm cluster: no server, no internet, no trial lost, none run twice.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for group in _GROUPS:
        import_module(f"slurmsweep.cli.arguments.{group}").add_commands(commands)
        if command in commands.choices:
            break
    return parser
