"""The ``report`` command."""

from __future__ import annotations

import argparse
import sys

from slurmsweep.api.sweep import Sweep
from slurmsweep.cli import options
from slurmsweep.cli.output import note, refuse_on_terminal, steps
from slurmsweep.control.session import Session
from slurmsweep.control.views.report import MOST_TRIALS
from slurmsweep.report.figures import size_text
from slurmsweep.report.page.formats import FORMATS, PLOTS, format_of

HELP = "write all that is known of a sweep into one file to look at, to keep and to send on"
EXAMPLES = (
    ("report last -o report.html", "one page, for a colleague"),
    ("report last --format md -o summary.md", "for a pull request"),
)
EXIT_CODES = {3: "", 5: ""}

_STDOUT = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``report``."""
    options.add(parser, "newest")
    options.add(parser, "--output", help="default: report-SWEEP.html here; - for stdout")
    parser.add_argument("--format", choices=FORMATS, help="default: by the name of FILE, else html")
    parser.add_argument("--plot", choices=PLOTS, default=PLOTS[0], help="what svg and png show (default: %(default)s)")
    options.add(parser, "--metric", help="the metric that is shown first (default: the sweep's own)")
    text = "histories to read: all (default), none, or best:N"
    parser.add_argument("--history", metavar="WHOSE", default="all", help=text)
    options.add(parser, "--force", help="write over a file that is no report, too")


def run(args: argparse.Namespace) -> int:
    """Write a report; return the exit code."""
    options.one_thread()
    kind = args.format or format_of(args.output, FORMATS, "html")
    sweep = Sweep(Session.open(args.sweep))
    if args.output == _STDOUT:
        refuse_on_terminal(kind)
        sys.stdout.buffer.write(_made(sweep, args, None, kind))
        return 0
    path = args.output or f"report-{sweep.id}.{kind}"
    made = _made(sweep, args, path, kind)
    note(f"{path}: {size_text(len(made))}")
    return 0


def _made(sweep: Sweep, args: argparse.Namespace, path: str | None, kind: str) -> bytes:
    with steps(min(len(sweep.session.refresh().trials), MOST_TRIALS), "histories") as bar:
        return sweep.report(
            path,
            format=kind,
            plot=args.plot,
            metric=args.metric,
            history=args.history,
            force=args.force,
            told=lambda done, _: bar(done, "read"),
        )
