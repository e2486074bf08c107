"""The ``show`` command."""

from __future__ import annotations

import argparse
import os

from slurmsweep.cli import options
from slurmsweep.cli.naming import BEST, sweep_and_trial
from slurmsweep.cli.output import print_json, print_text
from slurmsweep.cli.sweeps import best_trial, summarize
from slurmsweep.control.failures.groups import with_errors
from slurmsweep.control.session import Session

HELP = "show one trial: parameters, attempts, values, its command, and why it has its point"
EXAMPLES = (
    ("show 0", "trial 0 of the newest sweep here"),
    ("show last 0 --json", "for programs"),
)
EXIT_CODES = {3: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``show``."""
    options.add(parser, "words", "--json")


def run(args: argparse.Namespace) -> int:
    """Show one trial; return the exit code."""
    from slurmsweep.report.trial import trial_document, trial_text

    options.one_thread()
    sweep, word = sweep_and_trial(args.words, "`slurmsweep show SWEEP TRIAL`, or TRIAL alone of the newest sweep")
    session = Session.open(sweep)
    summary, _ = summarize(session)
    number = best_trial(summary) if word == BEST else int(word)
    document = trial_document(summary, session.store.journal, number, os.environ)
    [trial] = with_errors([summary.trial(number)])
    document["error"] = trial.error
    if args.json:
        print_json(document)
    else:
        print_text(trial_text(document))
    return 0
