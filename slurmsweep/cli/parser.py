"""The whole command line, put together."""

from __future__ import annotations

import argparse

from slurmsweep.cli.arguments import measuring, reading, starting, steering, working

_EPILOG = """\
exit codes: 0 done; 1 the work failed (a trial failed, check found damage); 2 wrong usage or a wrong sweep file;
3 no such sweep or trial; 4 Slurm could not be asked, or refused; 5 the state could not be locked, read or written.
An agent exits with its trial's code.
"""


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="slurmsweep",
        description="W&B sweep files on a plain Slurm cluster: no server, no internet, no trial lost, none run twice.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    starting.add_commands(commands)
    working.add_commands(commands)
    steering.add_commands(commands)
    reading.add_commands(commands)
    measuring.add_commands(commands)
    return parser
