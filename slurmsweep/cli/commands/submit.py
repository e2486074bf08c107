"""The ``submit`` command."""

from __future__ import annotations

import argparse
import os

from slurmsweep.backends.base import SubmitOptions
from slurmsweep.backends.wandb_hosted.folder import is_meant, parse
from slurmsweep.cli import options

HELP = "submit single-count agents to Slurm, one array of jobs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``submit``."""
    options.add(parser, "sweep", "--count", "--function")
    parser.add_argument("--dry-run", action="store_true", help="print the batch script; submit nothing, write nothing")
    parser.add_argument("--wait", action="store_true", help="wait until the trials have ended, and show the results")
    options.add(parser, "--json")
    options.add_mend(parser)
    options.add_hosted(parser)
    options.add_slurm(parser)
    options.add(parser, "--canaries")


def run(args: argparse.Namespace) -> int:
    """Submit agents to Slurm; return the exit code."""
    jobs = SubmitOptions(args.template, dict(args.resources + args.sbatch), args.width)
    if is_meant(args.sweep, args.entity, args.project):
        from slurmsweep.cli import hosted  # loads submitit, as the others below

        options.refuse_function(args.function)
        sweep = parse(args.sweep, os.environ, args.entity, args.project)
        refused = {"--wait": args.wait, "--mend": args.mend, "--canaries": args.canaries}
        return hosted.submit(sweep, args.count, jobs, refused, dry_run=args.dry_run, as_json=args.json)
    from slurmsweep.cli import starting
    from slurmsweep.cli.handing import StartOptions

    if args.dry_run:
        return starting.show_script(args.sweep, args.count, jobs, args.function, as_json=args.json)
    settings = options.supervisor_settings(args.mend_every, args.mend_sbatch)
    start = StartOptions(
        backend="slurm",
        jobs=jobs,
        supervisor=settings if args.mend else None,
        count=args.count,
        canaries=args.canaries,
        function=args.function,
        wait=args.wait,
        as_json=args.json,
    )
    return starting.submit(args.sweep, start)
