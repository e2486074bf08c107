"""The entry point, and the one place from an error to a line on stderr and an exit code."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from slurmsweep.cli.output import escape_what_cannot_be_shown, fitted, note, print_text
from slurmsweep.cli.quick import agent_arguments
from slurmsweep.errors import SlurmsweepError, StateError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from types import SimpleNamespace

#: 128 + SIGINT, 128 + SIGPIPE: as shells report commands that these signals ended.
_INTERRUPTED, _PIPE_CLOSED = 130, 141

#: Commands of jobs, which name the sweep by its path mostly: they look up other words themselves.
_OF_JOBS = ("agent",)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code, also after a user's mistake, an interrupt, or when a reader went away."""
    escape_what_cannot_be_shown()
    words = sys.argv[1:] if argv is None else argv
    quick = agent_arguments(words)
    if quick is not None:
        return _run(quick)
    from slurmsweep.cli import parser, suggest  # both load argparse

    if not words:
        print(fitted(parser.FIRST_STEPS, sys.stderr), file=sys.stderr)
        return 2
    args = suggest.parse(parser.build_parser, words)
    if args.version:
        from slurmsweep.version import __version__

        print_text(f"slurmsweep {__version__}")
        return 0
    return _run(args)


def _run(args: argparse.Namespace | SimpleNamespace) -> int:
    try:
        if args.command not in _OF_JOBS and hasattr(args, "sweep"):
            from slurmsweep.cli.naming import sweep_of  # jobs need none of this

            args.sweep = sweep_of(args.sweep)
        code: int = import_module(f"slurmsweep.cli.commands.{args.command}").run(args)
        sys.stdout.flush()
    except SlurmsweepError as error:
        note(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        note("interrupted")
        return _INTERRUPTED
    except BrokenPipeError:
        # the interpreter would complain once more when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    except OSError as error:  # where no code nearer to the file had more to say
        what = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else "a file, or the output"
        note(f"cannot read or write {what}: {error.strerror or error}")
        return StateError.exit_code
    return code
