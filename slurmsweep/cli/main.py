"""The entry point, and the one place from an error to a line on stderr and an exit code."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from slurmsweep.cli.quick import agent_arguments
from slurmsweep.errors import SlurmsweepError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from types import SimpleNamespace

#: 128 + SIGINT, 128 + SIGPIPE: as shells report commands that these signals ended.
_INTERRUPTED, _PIPE_CLOSED = 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. Never raises for a user's mistake, an interrupt, or a reader that went away."""
    words = sys.argv[1:] if argv is None else argv
    args = agent_arguments(words)
    return _parse_and_run(words) if args is None else _run(args)


def _parse_and_run(words: Sequence[str]) -> int:
    from slurmsweep.cli.parser import build_parser

    parser = build_parser(*words[:1])
    args = parser.parse_args(words)
    if args.version:
        from slurmsweep.version import __version__

        print(f"slurmsweep {__version__}")
        return 0
    if args.command is None:
        parser.print_help(sys.stderr)
        return 2
    return _run(args)


def _run(args: argparse.Namespace | SimpleNamespace) -> int:
    try:
        code = _handler(args.handler)(args)
        sys.stdout.flush()
    except SlurmsweepError as error:
        from slurmsweep.report.terminal import printable_lines

        print(f"slurmsweep: {printable_lines(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("slurmsweep: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # the interpreter would complain once more when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    return code


def _handler(name: str) -> Callable[[argparse.Namespace | SimpleNamespace], int]:
    """The function of ``module:function``, imported when it is called for."""
    module, _, function = name.partition(":")
    handler: Callable[[argparse.Namespace | SimpleNamespace], int] = getattr(
        import_module(f"slurmsweep.cli.{module}"), function
    )
    return handler


if __name__ == "__main__":
    sys.exit(main())
