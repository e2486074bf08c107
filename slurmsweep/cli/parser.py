"""The parser of the whole command line, or of the one command that was named; and their help.

A module of :mod:`slurmsweep.cli.commands` says of its command:

- ``HELP``: what it is for, in one line that begins with a small letter and ends without a full stop.
- ``EXAMPLES``: at least two pairs of the words after ``slurmsweep`` and what they do. They run where there is a
  ``sweep.yaml`` and a sweep.
- ``EXIT_CODES``: those beside 0 and 2, each with its meaning; ``""`` for the meaning that it has for all commands.
- ``add_arguments(parser)``, and ``run(args)``, which returns the exit code.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from importlib import import_module
from itertools import chain
from typing import TYPE_CHECKING

from slurmsweep.cli.output import fitted
from slurmsweep.report.terminal import sentences, width

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import NoReturn

#: Modules of :mod:`slurmsweep.cli.commands`, in the order of the help.
GROUPS = {
    "every day": ("run", "plan", "status", "watch", "logs", "best", "resubmit"),
    "look": ("trials", "show", "importance", "compare", "report", "export", "efficiency", "ls"),
    "steer": ("pause", "resume", "stop", "cancel", "extend", "set", "share"),
    "repair": ("check", "reconcile", "rerun", "delete", "mend"),
    "tidy up": ("rm", "clean"),
    "Slurm": ("create", "submit", "agent", "templates", "defaults", "doctor"),
    "AWS": ("listen",),
    "W&B (submit, status and agent also take entity/project/sweep)": ("sync", "leet"),
    "your shell": ("completion",),
}
COMMANDS = tuple(chain.from_iterable(GROUPS.values()))

#: What exit codes mean where a command does not say it itself.
EXIT_CODES = {
    0: "done",
    1: "the work failed (a trial failed, check found damage)",
    2: "wrong usage or a wrong sweep file",
    3: "no such sweep or trial",
    4: "the scheduler could not be asked, or refused",
    5: "the state could not be locked, read or written",
}

FIRST_STEPS = """\
slurmsweep runs W&B sweep files on a plain Slurm cluster, and on this machine.

  slurmsweep plan sweep.yaml   what would happen; nothing is written
  slurmsweep run sweep.yaml    run it, on Slurm if sbatch is found, else here
  slurmsweep status            how the newest sweep here does, and what is next
  slurmsweep doctor            whether this folder and this cluster are fit

`slurmsweep --help` lists all commands; `slurmsweep help COMMAND` has examples."""

#: Characters of a line of the help, also in a wide window.
_WIDTH = 79


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """As argparse's, in lines that can still be read in a wide window."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26)
        self._width = _width()

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Break only lines that do not fit: those of an overview or of examples stay apart."""
        return textwrap.indent(sentences(text, width), indent)

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[argparse._MutuallyExclusiveGroup],
        prefix: str | None = None,
    ) -> None:
        """Name the options once: a list of thirty before the first sentence says nothing."""
        places = [f"[{a.metavar}]" if a.nargs == "?" else str(a.metavar) for a in actions if not a.option_strings]
        super().add_usage(usage or " ".join(["%(prog)s [options]", *places]), actions, groups, prefix)


class _Parser(argparse.ArgumentParser):
    """As argparse's, with errors in lines that fit the terminal."""

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """End the process, with a message for people."""
        super().exit(status, message and fitted(message, sys.stderr))


def _width() -> int:
    """Return the characters of a line of the help: as argparse, two less than the terminal has."""
    return min(_WIDTH, width() - 2)


def build_parser(command: str = "") -> argparse.ArgumentParser:
    """Return the parser of all commands; of ``command`` only where there is one of that name, which loads no other."""
    chosen = (command,) if command in COMMANDS else COMMANDS
    modules = {name: import_module(f"slurmsweep.cli.commands.{name}") for name in chosen}
    parser = _Parser(
        prog="slurmsweep",
        usage="%(prog)s COMMAND ...",
        description=textwrap.fill(
            "W&B sweep files on a plain Slurm cluster: no server, no internet, no trial lost, none run twice.",
            min(70, _width()),
        ),
        epilog=_overview({name: module.HELP for name, module in modules.items()}),
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-V", "--version", action="store_true", help="print the version and exit")
    parsers = parser.add_subparsers(dest="command", metavar="COMMAND", help=argparse.SUPPRESS)
    for name, module in modules.items():
        examples = [f"  slurmsweep {words}\n      {what}" for words, what in module.EXAMPLES]
        codes = {0: "", 2: ""} | module.EXIT_CODES
        meanings = [f"{code} {codes[code] or EXIT_CODES[code]}" for code in sorted(codes)]
        one = parsers.add_parser(
            name,
            prog=f"slurmsweep {name}",
            help=module.HELP,
            description=textwrap.fill(f"{module.HELP[0].upper()}{module.HELP[1:]}.", min(70, _width())),
            epilog="\n".join(["examples:", *examples, "", _wrapped("exit codes: ", meanings)]),
            formatter_class=_HelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(one)
    if command not in COMMANDS:
        topic = parsers.add_parser("help", help="show the help of a command", description="Show the help of a command.")
        topic.add_argument("topic", nargs="?", choices=COMMANDS, metavar="COMMAND", help="default: list all commands")
    return parser


def _overview(helps: Mapping[str, str]) -> str:
    """Return the commands by group, and what exit codes mean."""
    lines = []
    for title, names in GROUPS.items():
        lines += [
            f"{title}:",
            *(
                textwrap.fill(helps[name], _width(), initial_indent=f"  {name:<12}", subsequent_indent=" " * 14)
                for name in names
                if name in helps
            ),
            "",
        ]
    return "\n".join([*lines, _wrapped("exit codes: ", [f"{code} {words}" for code, words in EXIT_CODES.items()])])


def _wrapped(label: str, parts: Iterable[str]) -> str:
    text = f"{label}{'; '.join(parts)}"
    return textwrap.fill(text, _width(), subsequent_indent=" " * len(label), break_on_hyphens=False)
