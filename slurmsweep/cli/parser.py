"""The parser of the whole command line, or of the one command that was named."""

from __future__ import annotations

import argparse
from importlib import import_module

_EPILOG = """\
exit codes: 0 done; 1 the work failed (a trial failed, check found damage); 2 wrong usage or a wrong sweep file;
3 no such sweep or trial; 4 Slurm could not be asked, or refused; 5 the state could not be locked, read or written.
An agent exits with its trial's code.
"""

#: Modules of :mod:`slurmsweep.cli.commands`, in the order of the help.
COMMANDS = (
    *("run", "plan", "create", "submit", "agent", "reconcile", "resubmit"),
    *("pause", "resume", "stop", "cancel", "delete", "set", "mend"),
    *(
        "status",
        "watch",
        "trials",
        "show",
        "logs",
        "best",
        "export",
        "importance",
        "check",
        "doctor",
        "templates",
        "ls",
        "efficiency",
        "sync",
    ),
)


def build_parser(command: str = "") -> argparse.ArgumentParser:
    """Return the parser of all commands; of ``command`` only where there is one of that name, which loads no other."""
    parser = argparse.ArgumentParser(
        prog="slurmsweep",
        description="W&B sweep files on a plain Slurm cluster: no server, no internet, no trial lost, none run twice.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for name in [command] if command in COMMANDS else COMMANDS:
        module = import_module(f"slurmsweep.cli.commands.{name}")
        text = module.HELP[0].upper() + module.HELP[1:] + "."
        module.add_arguments(parsers.add_parser(name, help=module.HELP, description=text, allow_abbrev=False))
    return parser
