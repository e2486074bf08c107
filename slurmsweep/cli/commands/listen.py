"""The ``listen`` command: what runs on each machine of EC2."""

from __future__ import annotations

import argparse
import os

from slurmsweep.cli import options, values
from slurmsweep.cli.output import note

HELP = "run a trial for each message of an SQS queue, on a machine of EC2"
EXAMPLES = (
    ("listen $QUEUE --root /shared", "the URL of the queue is in QUEUE; ends when it is told to"),
    ("listen $QUEUE --root /shared --idle 600", "ends when no message came for ten minutes"),
)
EXIT_CODES = {3: "no such queue", 4: "the queue could not be asked, or refused"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``listen``."""
    parser.add_argument("queue", metavar="QUEUE", help="URL of the queue, as `submit --backend sqs --queue` takes it")
    text = "run sweeps below this folder, and no other ones (repeatable; default: the current folder)"
    parser.add_argument("--root", action="append", default=[], metavar="FOLDER", help=text)
    parser.add_argument("--entity", metavar="NAME", help="run sweeps, too, that W&B holds for this entity")
    parser.add_argument("--project", metavar="NAME", help="with --entity: of this project only")
    parser.add_argument(*options.flags("--time"), metavar="T", help="time limit of one trial: minutes, 1:30:00 or 2-0")
    parser.add_argument("--idle", type=values.natural, metavar="SECONDS", help="end when no message came for so long")
    options.add(parser, "--count", type=values.natural, help="end after N messages")
    text = "between the request to end and the kill of a trial (default 90: Spot gives 120)"
    parser.add_argument("--grace", type=values.up_to(3600), default=90, metavar="SECONDS", help=text)
    text = "a message of a machine that is lost comes again after so long (default 120)"
    parser.add_argument("--visibility", type=values.up_to(12 * 60 * 60), default=120, metavar="SECONDS", help=text)
    parser.add_argument("--region", metavar="NAME", help="of the machine (default: as its metadata says)")
    parser.add_argument("--instance", metavar="ID", help="of the machine (default: as its metadata says)")


def run(args: argparse.Namespace) -> int:
    """Listen until there is a reason to end; return the exit code."""
    from slurmsweep.backends import registry
    from slurmsweep.errors import UsageError
    from slurmsweep.state import files
    from slurmsweep.supervisor.listener import Listener, Terms
    from slurmsweep.supervisor.messages import Allowed

    if args.project and not args.entity:
        raise UsageError("--project needs --entity: the names of W&B's sweeps begin with it")
    roots = tuple(os.path.realpath(folder) for folder in args.root or ["."])
    missing = [folder for folder in roots if not files.is_folder(folder)]
    if missing:
        raise UsageError(f"--root {missing[0]}: there is no such folder (is the shared filesystem mounted?)")
    machine = registry.this_machine(args.instance or "", args.region or "")
    queue = registry.open_queue(args.queue, machine.region)
    asked = registry.service("sqs").normalized({"time": args.time}) if args.time else {}
    minutes = registry.scheduler().asked(asked).time
    terms = Terms(
        allowed=Allowed(roots, args.entity or "", args.project or ""),
        hidden=args.visibility,
        idle=args.idle,
        count=args.count,
        limit=minutes and minutes * 60,
        grace=args.grace,
    )
    Listener(queue, machine, terms, note).run()
    return 0
