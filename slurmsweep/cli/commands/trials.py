"""The ``trials`` command."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from slurmsweep.cli import options, values
from slurmsweep.cli.output import note, print_json, print_table
from slurmsweep.cli.sweeps import note_stray_jobs, summarize
from slurmsweep.control.failures.groups import FailureReader, failure_groups, shown_groups, with_errors
from slurmsweep.control.session import Session
from slurmsweep.control.views.metrics_so_far import with_metric_so_far
from slurmsweep.control.views.other_metric import judged_by, with_metric_named
from slurmsweep.errors import UsageError
from slurmsweep.report.choice import chosen, fields, told_apart
from slurmsweep.report.failures import failure_words
from slurmsweep.report.terminal import width
from slurmsweep.report.trials_table import trials_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurmsweep.report.summary import SweepSummary, TrialRow

HELP = "list the trials of a sweep"
EXAMPLES = (
    ("trials -s failed -s crashed", "those that did not finish"),
    ("trials -w 'lr<0.1' --sort lr -n 10", "ten, by learning rate"),
)
EXIT_CODES = {3: "", 5: ""}

_TABLE_LIMIT = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``trials``."""
    options.add(parser, "newest")
    options.add(parser, "--state", help="only those in this state (repeatable)")
    options.add(parser, "--where")
    options.add(parser, "--metric", help="show this metric, which trials logged, and not the sweep's own")
    parser.add_argument("--sort", default="", metavar="NAME", help="by this, the smallest first")
    parser.add_argument("--reverse", action="store_true", help="with --sort: the largest first")
    options.add(parser, "--limit", help="at most N (default 100; all with --json)")
    text = "each run of a point, where the sweep file repeats points; else the points"
    parser.add_argument("--repeats", action="store_true", help=text)
    table = parser.add_mutually_exclusive_group()
    text = "of the table, such as trial,loss,lr,took"
    table.add_argument("--columns", type=values.column_names, default=[], metavar="A,B", help=text)
    table.add_argument("--wide", action="store_true", help="all columns that differ, however long the lines get")
    options.add(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """List trials, one row each; return the exit code."""
    session = Session.open(args.sweep)
    store, (summary, snapshot) = session.store, summarize(session)
    config, total = store.manifest.config, store.manifest.trials
    points = None if args.repeats else store.manifest.numbering  # None where each row is a trial
    if args.repeats and store.manifest.numbering is None:
        raise UsageError("--repeats: the sweep file does not run points several times (slurmsweep: {repeats: ...})")
    if args.metric and points:
        raise UsageError("--metric: a point has the sweep's own metric only; add --repeats for its runs")
    list_of, what = (summary.points, "points") if points else (summary.trials, "trials")
    if points and total is not None:
        total //= points.runs
    limit = args.limit or (None if args.json else _TABLE_LIMIT)
    if args.metric:
        config = judged_by(config, args.metric)
    is_chosen = bool(args.where or args.sort)
    listed = list(list_of(None if is_chosen else limit, set(args.state)))
    every = listed if points else with_metric_so_far(store, summary, listed)
    every = with_metric_named(summary, every, args.metric) if args.metric else every
    found = chosen(every, fields(config), args.where, args.sort, reverse=args.reverse) if is_chosen else every
    read = FailureReader()
    rows = with_errors(found[:limit], read)
    _explain_conditions(args, what[:-1], is_found=bool(found))
    if args.json:
        print_json([row.to_json() for row in rows])
        return 0
    if args.where and not rows:
        return 0
    print_table(trials_table(rows, config, None if args.wide else width(), args.columns))
    if is_chosen and len(rows) < len(found):
        note(f"the first {len(rows)} of {len(found)} {what}; --limit shows more")
    elif not is_chosen and not args.state and total is not None and len(rows) < total:
        note(f"the first {len(rows)} of {total} {what}; --limit shows more")
    _explain_failures(summary, [] if points or args.columns else rows, read)
    if summary.view.reached:
        note(f"the sweep is {summary.state_words()}")
    note_stray_jobs(session, snapshot)
    return 0


def _explain_conditions(args: argparse.Namespace, what: str, *, is_found: bool) -> None:
    """Say that no trial, or point, meets the conditions, and how to write them where one text holds several."""
    is_said = args.where and not is_found and not args.json
    none = f"no {what} has {' and '.join(''.join(one) for one in args.where)}" if is_said else ""
    if said := ": ".join(filter(None, [none, told_apart(args.where, is_found=is_found)])):
        note(said)


def _explain_failures(summary: SweepSummary, shown: Sequence[TrialRow], read: FailureReader) -> None:
    """Say in whole why those of the shown trials failed that did: a cell is often too short for it."""
    failed = {row.number: row for row in shown if row.state.can_retry}
    groups = shown_groups(failure_groups(summary, read), failed) if failed else []
    for words in failure_words(groups, summary.manifest.sweep_id):
        note(words)
