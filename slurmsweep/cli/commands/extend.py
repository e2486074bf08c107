"""The ``extend`` command."""

from __future__ import annotations

import argparse

from slurmsweep.cli import options
from slurmsweep.cli.naming import sweep_of
from slurmsweep.cli.output import print_json, print_sentences
from slurmsweep.report.next_step import starter
from slurmsweep.state.store import SweepStore

HELP = "give a random or bayes search that has an end more trials"
EXAMPLES = (
    ("extend last --count 50", "fifty more than its run_cap, and than it has now"),
    ("extend last -n 50 --json", "the number of trials, for programs"),
)
EXIT_CODES = {3: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``extend``."""
    options.add(parser, "sweep")
    options.add(parser, "--count", required=True, help="trials to add; points, where each runs several times")
    options.add(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """Give a sweep more trials; return the exit code."""
    from slurmsweep.control.creation.extend import extend

    store = SweepStore.open_to_run(sweep_of(args.sweep))
    name, total = store.manifest.sweep_id, extend(store, args.count)
    starts = starter(store.manifest, name)
    if args.json:
        added = args.count * store.manifest.config.extensions.runs_each
        print_json({"sweep": name, "added": added, "trials": total})
    else:
        print_sentences(f"sweep {name} has {total} trials now: {starts} starts what is new")
    return 0
