"""The ``run`` command."""

from __future__ import annotations

import argparse

from slurmsweep.backends.base import SubmitOptions
from slurmsweep.cli import options

HELP = "create a sweep, run it and follow it; with a sweep's id, go on with it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``run``."""
    parser.add_argument("file", metavar="FILE|SWEEP", help="sweep file, or a sweep to go on with")
    options.add(parser, "--backend", "--jobs", "--count", "--function", "--strict")
    parser.add_argument(
        "--wait", action=argparse.BooleanOptionalAction, default=True, help="wait until the trials have ended"
    )
    options.add(parser, "--json")
    options.add_mend(parser)
    options.add_slurm(parser)
    options.add(parser, "--canaries")


def run(args: argparse.Namespace) -> int:
    """Create a sweep, or go on with one, run it and show the results; return the exit code."""
    from slurmsweep.cli.handing import StartOptions  # both load submitit
    from slurmsweep.cli.starting import run_sweep

    settings = options.supervisor_settings(args.mend_every, args.mend_sbatch)
    start = StartOptions(
        backend=args.backend,
        jobs=SubmitOptions(args.template, dict(args.resources + args.sbatch), args.width),
        supervisor=settings if args.mend else None,
        count=args.count,
        side_by_side=args.jobs,
        canaries=args.canaries,
        function=args.function,
        wait=args.wait,
        as_json=args.json,
    )
    return run_sweep(args.file, start, strict=args.strict)
