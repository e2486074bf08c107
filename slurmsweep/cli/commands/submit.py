"""The ``submit`` command."""

from __future__ import annotations

import argparse
from contextlib import closing

from slurmsweep.backends import registry
from slurmsweep.backends.wandb_hosted.folder import is_meant
from slurmsweep.cli import options

HELP = "submit single-count agents to Slurm or to AWS, one job a trial"
EXAMPLES = (
    ("submit last -n 200 -t 30", "200 jobs of one trial each"),
    ("submit last --dry-run -p gpu", "print the batch script"),
)
EXIT_CODES = {1: "a trial that was waited for did not finish, or one was not submitted", 3: "", 4: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``submit``."""
    options.add(parser, "sweep", "--count", "--max-fails", "--notify", "--function", "--workdir")
    text = "default: where the sweep was submitted last, at first Slurm"
    options.add(parser, "--backend", choices=registry.SUBMITTING, default=registry.QUEUED, help=text)
    options.add(parser, "--dry-run", help="print the batch script; submit nothing, write nothing")
    parser.add_argument("--wait", action="store_true", help="wait until the trials have ended, and show the results")
    options.add(parser, "--plain", "--json")
    options.add_shared(parser)
    options.add_mend(parser)
    options.add_hosted(parser)
    options.add_slurm(parser)
    options.add_aws(parser)
    options.add(parser, "--canaries", "--after")


def run(args: argparse.Namespace) -> int:
    """Submit agents of a sweep, ours or one that W&B hosts; return the exit code."""
    if is_meant(args.sweep, args.entity, args.project):
        from slurmsweep.cli import hosted  # loads submitit

        return hosted.submit(args)
    from slurmsweep.cli import launching
    from slurmsweep.cli.events import EventPrinter

    asked = launching.asked_for(args)
    with closing(EventPrinter()) as events:
        sweep = launching.opened(args, args.sweep, events)
        events.follow(sweep.session.store, plain=args.plain)
        result = sweep.submit(count=args.count, after=launching.awaited(args), **asked)
    if args.dry_run:
        return launching.show_plan(sweep, result, as_json=args.json)
    return launching.finish(sweep, result, events, waited=args.wait, as_json=args.json, count=args.count)
