"""The ``run`` command: create a sweep, or go on with one, run it and show what came out."""

from __future__ import annotations

import argparse
import os
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from slurmsweep.cli import launching, options
from slurmsweep.cli.events import EventPrinter
from slurmsweep.cli.naming import sweep_of
from slurmsweep.control.round.events import Noticed, ignore
from slurmsweep.errors import SchedulerUnavailableError, SubmissionRefusedError, UsageError
from slurmsweep.state.store import SweepStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurmsweep.api.sweep import Sweep
    from slurmsweep.backends.base import SubmitOptions

HELP = "create a sweep, run it and follow it; with a sweep's id, go on with it"
EXAMPLES = (
    ("run sweep.yaml", "here; on Slurm where sbatch is found"),
    ("run sweep.yaml -p gpu -t 45 --no-wait", "one job a trial; do not wait for them"),
)
EXIT_CODES = {1: "a trial did not finish", 3: "", 4: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``run``."""
    parser.add_argument("file", metavar="FILE|SWEEP", help="sweep file, or a sweep to go on with")
    options.add(parser, "--backend", "--jobs", "--count", "--max-fails", "--notify", "--function", "--strict")
    options.add(parser, "--workdir", "--prior", "--snapshot")
    options.add_shared(parser)
    options.add(parser, "--wait", help="wait until the trials have ended")
    options.add(parser, "--plain", "--dry-run", "--json")
    options.add_names(parser)
    options.add_mend(parser)
    options.add_slurm(parser)
    options.add_aws(parser)
    options.add(parser, "--canaries", "--after")


def run(args: argparse.Namespace) -> int:
    """Create a sweep, or open it, and start what is open; return the exit code."""
    asked, after = launching.asked_for(args), launching.awaited(args)
    with closing(EventPrinter()) as events:
        sweep, is_new = _sweep(args, asked["wish"], after, events)
        events.follow(sweep.session.store, plain=args.plain)
        try:
            result = sweep.run(count=args.count, after=after, **asked)
        except (SubmissionRefusedError, SchedulerUnavailableError, UsageError):
            if is_new:
                _take_back(sweep)
            raise
    if args.dry_run:
        return launching.show_plan(sweep, result, as_json=args.json)
    return launching.finish(sweep, result, events, waited=args.wait, as_json=args.json, count=args.count)


def _take_back(sweep: Sweep) -> None:
    """Remove a sweep that was made for a submission which did not come about: nothing of it can run."""
    view = sweep.session.refresh()
    ends = [trial.current.outcome if trial.current else None for trial in view.trials.values()]
    were_refused = all(submission.job == "" for submission in view.submissions.values())  # None: it is not known
    if all(end and end.origin for end in ends) and were_refused:
        with suppress(UsageError, SchedulerUnavailableError):  # its supervisor may wait in Slurm
            sweep.remove()
            sweep.tell(Noticed(f"nothing was submitted, so sweep {sweep.id} was removed again"))


def _sweep(
    args: argparse.Namespace, wish: SubmitOptions, after: Sequence[str], events: EventPrinter
) -> tuple[Sweep, bool]:
    """Return the sweep that is named, or a new one of the sweep file, which is checked before anything is written.

    And whether it was made just now.
    """
    if not os.path.isfile(args.file) and not args.file.endswith((".yaml", ".yml", ".json")):
        if named := options.names_of(args):
            raise UsageError(
                f"--{next(iter(named))} names a new sweep; the configuration of sweep {args.file} never changes "
                "(`sync` takes --project and --entity)"
            )
        if args.prior:
            raise UsageError(f"--prior is for a new sweep: what sweep {args.file} knows was decided when it was made")
        if args.snapshot is not None:
            raise UsageError(f"--snapshot is for a new sweep: which code sweep {args.file} runs was decided with it")
        return launching.opened(args, sweep_of(args.file), events), False
    if args.workdir:
        raise UsageError("--workdir is for a sweep whose project was moved: a new one runs in the current folder")
    from slurmsweep.api.sweep import Sweep
    from slurmsweep.cli.sweeps import read_draft

    prior = SweepStore.open(sweep_of(args.prior)) if args.prior else None
    draft = read_draft(args)
    if args.dry_run:
        return Sweep.planned(draft, backend=args.backend, prior=prior, tell=events), False
    planned = Sweep.planned(draft, backend=args.backend, prior=prior, tell=ignore)
    planned.check_start(wish, wait=args.wait, supervise=args.mend, max_fails=args.max_fails, after=after)
    return Sweep.create(draft, backend=args.backend, shared=args.shared, prior=prior, tell=events), True
