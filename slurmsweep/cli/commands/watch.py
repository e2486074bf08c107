"""The ``watch`` command."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from slurmsweep.cli import options
from slurmsweep.cli.output import print_text
from slurmsweep.control.session import Session
from slurmsweep.report import tables

if TYPE_CHECKING:
    from slurmsweep.report.live import LiveState

HELP = "show a sweep as it goes, until it has ended"
EXAMPLES = (
    ("watch", "the newest sweep here, live"),
    ("watch last --once", "one screen, for a script or an ssh command"),
)
EXIT_CODES = {1: "the sweep has ended and a trial of it did not finish", 3: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``watch``."""
    options.add(parser, "newest")
    parser.add_argument("--once", action="store_true", help="print one screen and end")


def run(args: argparse.Namespace) -> int:
    """Show a sweep until it ends or a person leaves; return the exit code."""
    return show(args.sweep, once=args.once)


def show(sweep: str, *, once: bool = False) -> int:
    """Show a sweep on this terminal, or in lines where there is none; when it has ended, what came of it.

    Returns 1 where the sweep has finished and a trial of it did not; else 0, also where a person left or ended the
    sweep. Raises as :meth:`LiveView.gather`.
    """
    from slurmsweep.cli import screen, watching  # loads rich, and what reads metrics
    from slurmsweep.control.views.live_view import LiveView

    on_screen = not once and screen.is_possible(sys.stdout)
    view = LiveView(Session.open(sweep), sweep, in_background=on_screen)
    if once:
        watching.once(view)
        return 0
    state: LiveState | None = watching.on_screen(view, sys.stdout) if on_screen else watching.in_lines(view)
    if state is None or not state.is_over:
        return 0
    print_text(tables.status_text(view.summary(), state.failures, sweep))
    return state.exit_code
