"""The ``export`` command."""

from __future__ import annotations

import argparse
import sys

from slurmsweep.cli import options
from slurmsweep.cli.output import note
from slurmsweep.cli.sweeps import summarize
from slurmsweep.control.session import Session
from slurmsweep.errors import UsageError
from slurmsweep.report.choice import chosen, fields, told_apart
from slurmsweep.report.export import FORMATS
from slurmsweep.report.figures import counted
from slurmsweep.report.page.formats import format_of
from slurmsweep.report.terminal import printable_text
from slurmsweep.state import files
from slurmsweep.state.files import reading

HELP = "write the trials, or all that they logged, as a table for other programs"
EXAMPLES = (
    ("export -o trials.csv", "one row a trial, of the newest sweep here"),
    ("export last --history --format jsonl", "all that trials logged, on stdout"),
)
EXIT_CODES = {3: "", 5: ""}

_CSV, _BINARY = "csv", "parquet"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``export``."""
    options.add(parser, "newest")
    options.add(parser, "--output", help="- and default: stdout")
    parser.add_argument("--format", choices=FORMATS, help="default: by the name of FILE, else csv")
    parser.add_argument("--history", action="store_true", help="one row for each row that a trial logged")
    text = "one row for each point, where the sweep file repeats points"
    parser.add_argument("--points", action="store_true", help=text)
    options.add(parser, "--state", help="only trials in this state (repeatable)")
    options.add(parser, "--where")


def run(args: argparse.Namespace) -> int:
    """Write a table; return the exit code."""
    from slurmsweep.control.views.export import history_rows, point_row, trial_rows

    output = "" if args.output == "-" else args.output
    kind = args.format or format_of(output or None, list(FORMATS), _CSV)
    if kind == _BINARY and not output:
        raise UsageError("parquet is no text: give the file to write with -o FILE")
    session = Session.open(args.sweep)
    summary, _ = summarize(session)
    config = session.store.manifest.config
    if args.points and (args.history or not config.extensions.repeats):
        raise UsageError(
            "--points: the sweep file does not run points several times (slurmsweep: {repeats: ...})"
            if not config.extensions.repeats
            else "--points has one row a point, and --history those of trials: give one of them"
        )
    listed = summary.points(None, set(args.state)) if args.points else summary.trials(None, set(args.state))
    trials = chosen(listed, fields(config), args.where)
    if hint := told_apart(args.where, is_found=bool(trials)):
        note(hint)
    with reading(session.store.layout.folder):
        if args.points:
            rows = [point_row(row) for row in trials]
        else:
            rows = list(history_rows(summary, trials) if args.history else trial_rows(session, summary, trials))
    pieces = FORMATS[kind](rows)
    if output:
        files.write_where_named(output, b"".join(pieces))
        note(f"{counted(len(rows), 'row')} in {output}")
        return 0
    shown = printable_text if sys.stdout.isatty() else str  # a program that reads gets each value as it is
    for piece in pieces:
        sys.stdout.write(shown(piece.decode()))
    return 0
