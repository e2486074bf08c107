"""The ``efficiency`` command."""

from __future__ import annotations

import argparse
from itertools import islice

from slurmsweep.cli import options
from slurmsweep.cli.output import note, print_json, print_sentences, print_text
from slurmsweep.cli.sweeps import summarize
from slurmsweep.control.round.observe import bounds_here
from slurmsweep.control.session import Session
from slurmsweep.report.efficiency import attempts_table, efficiency_text
from slurmsweep.report.figures import counted
from slurmsweep.sizing.efficiency import efficiency_document
from slurmsweep.sizing.usage import Ledger

HELP = "show what was asked beside what was used, and what to ask instead"
EXAMPLES = (
    ("efficiency", "of the newest sweep here"),
    ("efficiency last --trials -n 20", "twenty attempts, too"),
)
EXIT_CODES = {3: "", 4: "", 5: ""}

#: Attempts shown for people where no limit is given.
_TABLE_LIMIT = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``efficiency``."""
    options.add(parser, "newest")
    parser.add_argument("--trials", action="store_true", help="each attempt too")
    options.add(parser, "--limit", help="with --trials: at most N (default 100; all with --json)")
    options.add(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """Show what was asked beside what was used, and advice; return the exit code."""
    session = Session.open(args.sweep)
    _, snapshot = summarize(session)
    accounts, answer = session.scheduler.accounts(session.job_keys())
    ledger = Ledger(
        snapshot.view,
        snapshot.ended,
        accounts,
        session.scheduler.asked,
        documents=session.submissions,
        here=session.here,
    )
    document = efficiency_document(session.store.manifest, session.view, ledger, bounds_here(session))
    document |= {"accounting": answer}
    own = (usage for usages in ledger.all() for usage in usages if usage.origin is None)
    limit = args.limit or (None if args.json else _TABLE_LIMIT)
    rows = [usage._asdict() | {"state": usage.state.value} for usage in islice(own, limit)] if args.trials else []
    if args.json:
        print_json(document | ({"attempts_of_trials": rows} if args.trials else {}))
        return 0
    if rows:
        print_text(attempts_table(rows), end="\n\n")
    print_sentences(efficiency_text(document))
    if args.trials and len(rows) < document["attempts"]:
        note(f"the first {len(rows)} of {counted(document['attempts'], 'attempt')}; --limit shows more")
    return 0
