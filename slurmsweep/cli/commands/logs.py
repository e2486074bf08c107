"""The ``logs`` command."""

from __future__ import annotations

import argparse
import os
import time
from typing import TYPE_CHECKING

from slurmsweep.backends.wandb_hosted.folder import is_meant
from slurmsweep.cli import options, values
from slurmsweep.cli.naming import BEST, sweep_and_trial, sweep_of
from slurmsweep.cli.output import note, print_log, print_sentences, print_text
from slurmsweep.cli.sweeps import best_trial
from slurmsweep.errors import NotFoundError, UsageError
from slurmsweep.report.summary import SweepSummary
from slurmsweep.state import files, view_cache
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from slurmsweep.state.replay import SweepView

HELP = "print the log of a trial's newest attempt, or of those that failed"
EXAMPLES = (
    ("logs last best -n 20", "the last 20 lines of the best trial"),
    ("logs last --failed", "the ends of those that did not finish"),
    ("logs team/project/wbyz9876", "of a sweep of W&B's own: what its jobs in AWS wrote last"),
)
EXIT_CODES = {3: "", 5: ""}

#: Lines of each log where several are printed, and how many trials are named of those that did not finish.
_LINES, _TRIALS = 20, 10

#: Seconds between two looks at a log that is followed, and after how many of them the journal is asked for its end.
_PERIOD, _LOOKS = 0.5, 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``logs``."""
    options.add(parser, "words")
    text = f"[SWEEP] --failed: the ends of up to {_TRIALS} trials that did not finish"
    parser.add_argument("--failed", action="store_true", help=text)
    parser.add_argument("--attempt", type=values.natural, metavar="N", help="an older attempt")
    parser.add_argument(*options.flags("--lines"), type=values.natural, metavar="N", help="the last N lines only")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--path", action="store_true", help="print the log's path instead")
    text = "print what is added until the attempt has ended"
    what.add_argument(*options.flags("--follow"), action="store_true", help=text)


def run(args: argparse.Namespace) -> int:
    """Print the log of one attempt, or of those that failed; return the exit code."""
    if args.words and is_meant(args.words[0]):
        from slurmsweep.cli import hosted  # loads submitit

        return hosted.logs(args, args.lines or _LINES)
    if args.failed:
        if args.attempt or args.follow or len(args.words) > 1:
            raise UsageError("--failed prints the ends of several logs: TRIAL, --attempt and --follow are for one")
        store = SweepStore.open(sweep_of(*args.words or [None]))
        view = view_cache.read(store)
        return _print_failed(store, view, args.lines or _LINES, only_paths=args.path)
    sweep, word = sweep_and_trial(args.words, "`slurmsweep logs SWEEP TRIAL`, or TRIAL alone of the newest sweep")
    store = SweepStore.open(sweep)
    view = view_cache.read(store)
    number = best_trial(SweepSummary(store.layout, store.manifest, view, {})) if word == BEST else int(word)
    attempt_id = _attempt(store, view, number, args.attempt)
    path = store.layout.log(attempt_id)
    if args.path:
        print_text(path)
        return 0
    end = print_log(path, args.lines)
    if args.follow:
        _follow(store, attempt_id, path, end)
    return 0


def _attempt(store: SweepStore, view: SweepView, number: int, attempt: int | None) -> AttemptId:
    """Return the attempt that has a log. Raises NotFoundError."""
    store.manifest.require_trials([number])
    trial = view.trials.get(number)
    outcome = trial.current.outcome if trial and trial.current else None
    if outcome and outcome.origin and not attempt:
        sweep, _, ran_as = outcome.origin.partition("/")
        raise NotFoundError(
            f"trial {number} ran as trial {ran_as} of sweep {sweep}: `slurmsweep logs {sweep} {ran_as}`"
        )
    chosen = AttemptId(number, attempt or (trial.current.number if trial and trial.current else 0))
    if trial is None or not files.is_file(store.layout.log(chosen)):
        of = f" of attempt {chosen.attempt}" if chosen.attempt else ""
        raise NotFoundError(f"trial {number} has no log{of} yet")
    return chosen


def _print_failed(store: SweepStore, view: SweepView, lines: int, *, only_paths: bool) -> int:
    """Print the ends of the logs of trials that did not finish, each below its path."""
    summary = SweepSummary(store.layout, store.manifest, view, {})
    failed = [view.trials[number] for number, _, _ in summary.ways_to_fail()]
    for trial in failed[:_TRIALS]:
        if trial.current is None:
            continue
        path = store.layout.log(AttemptId(trial.number, trial.current.number))
        if only_paths:
            print_text(path)
            continue
        told = f"trial {trial.number}, attempt {trial.current.number}: {trial.state} ({trial.cause})"
        print_sentences(f"==> {told}: {os.path.relpath(path)} <==")
        if files.is_file(path):
            print_log(path, lines)
        print_text("")
    if not failed:
        note("no trial failed")
    elif len(failed) > _TRIALS:
        note(f"the first {_TRIALS} of {len(failed)} trials that did not finish")
    return 0


def _follow(store: SweepStore, attempt_id: AttemptId, path: str, end: int) -> None:
    """Print what is added to a log until its attempt has ended, as the journal says."""
    follower = view_cache.Follower(store)
    while True:
        trial = follower.refresh().trials[attempt_id.trial]
        runs = trial.state is TrialState.RUNNING and trial.current and trial.current.number == attempt_id.attempt
        for _ in range(_LOOKS if runs else 1):
            end = print_log(path, start=end)
            if runs:
                time.sleep(_PERIOD)
        if not runs:
            return
