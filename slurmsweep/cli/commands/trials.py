"""The ``trials`` command."""

from __future__ import annotations

import argparse

from slurmsweep.cli import options
from slurmsweep.cli.output import note, print_json, print_text
from slurmsweep.cli.sweeps import summarize
from slurmsweep.control.live_metrics import with_metric_so_far
from slurmsweep.control.session import Session
from slurmsweep.report.tables import trials_table

HELP = "list the trials of a sweep"

_TABLE_LIMIT = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``trials``."""
    options.add(parser, "sweep")
    options.add_states(parser, "only those in this state (repeatable)")
    parser.add_argument("--limit", type=options.natural, metavar="N", help="at most N (default 100; all with --json)")
    options.add(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """List trials, one row each; return the exit code."""
    session = Session.open(args.sweep)
    store, (summary, _) = session.store, summarize(session)
    limit = args.limit or (None if args.json else _TABLE_LIMIT)
    rows = with_metric_so_far(store, summary, summary.trials(limit, set(args.state)))
    if args.json:
        print_json([row.to_json() for row in rows])
        return 0
    print_text(trials_table(rows, store.manifest.config))
    total = store.manifest.trials
    if not args.state and total is not None and len(rows) < total:
        note(f"the first {len(rows)} of {total} trials; --limit shows more")
    if summary.view.reached:
        note(f"the sweep is {summary.state_words()}")
    return 0
