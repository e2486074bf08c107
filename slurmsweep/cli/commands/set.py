"""The ``set`` command."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from slurmsweep.cli import options, values
from slurmsweep.cli.output import note, print_json
from slurmsweep.control.jobs.change import change_waiting
from slurmsweep.control.session import Session
from slurmsweep.errors import SchedulerError
from slurmsweep.state.supervisor_files import SupervisorFiles

HELP = "change what waits in Slurm: width, time, partition, nice and so on"
EXAMPLES = (
    ("set last --width 32", "jobs of an array at a time"),
    ("set last -t 45 -p long", "time limit and partition of what waits"),
)
EXIT_CODES = {1: "nothing waits", 3: "", 4: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``set``."""
    options.add(parser, "sweep")
    parser.add_argument("--width", type=values.number, metavar="N", help="jobs of an array at a time; 0 for no limit")
    options.add_resource(parser, "nice", "lower the priority of what waits", metavar="N")
    text = "with --time: also for trials that run (less time, or as an operator more)"
    parser.add_argument("--running", action="store_true", help=text)
    group = parser.add_argument_group("Slurm")
    options.add_resources(group)
    options.add(group, "--sbatch", help="any other option (repeatable)")
    options.add(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """Change what waits in Slurm; return the exit code: 1 where nothing waits, 4 where Slurm refused some of it."""
    session = Session.open_to_run(args.sweep)
    arrays = change_waiting(session, dict(args.resources + args.sbatch), args.width, running=args.running)
    mends_itself = SupervisorFiles(session.store.layout, session.store.access).settings() is not None
    if args.json:
        print_json([asdict(array) for array in arrays])
    elif not arrays:
        later = "only what the supervisor submits from now on is" if mends_itself else "nothing was"
        note(f"{later} changed: no job of sweep {args.sweep} waits")
    else:
        for array in sorted(arrays, key=lambda array: not array.problems):
            counts = {"waiting": array.waiting, "running": array.running}
            trials = " and ".join(f"{n} {word}" for word, n in counts.items() if n) + " trials"
            problems = "; ".join(array.problems)
            note(
                f"job {array.job}: " + (f"not all of {trials} changed: {problems}" if problems else f"changed {trials}")
            )
    if any(array.problems for array in arrays):
        return SchedulerError.exit_code
    return int(not arrays and not mends_itself)
