"""The ``completion`` command."""

from __future__ import annotations

import argparse
from importlib.resources import files

from slurmsweep.cli.output import print_text

HELP = "print what makes a shell complete commands, options and sweeps at TAB"
EXAMPLES = (
    ("completion bash", "its second line says where to put it"),
    ("completion zsh", "sweep ids are listed by the shell itself, without Python"),
)
EXIT_CODES: dict[int, str] = {}

#: Their scripts are written by ``scripts/completions``.
_SHELLS = ("bash", "zsh", "fish")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``completion``."""
    parser.add_argument("shell", choices=_SHELLS, metavar="SHELL", help=f"one of {', '.join(_SHELLS)}")


def run(args: argparse.Namespace) -> int:
    """Print the script of a shell; return the exit code."""
    print_text(files("slurmsweep").joinpath("completions", f"slurmsweep.{args.shell}").read_text("utf-8"), end="")
    return 0
