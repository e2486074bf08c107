"""Arguments of the commands that look after a sweep in Slurm: set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.cli.arguments.common import add_json, add_resources, add_sweep, command, number

if TYPE_CHECKING:
    from slurmsweep.cli.arguments.common import Commands


def add_commands(commands: Commands) -> None:
    """Add them to the command line."""
    change = command(
        commands, "set", "tending:change", "change what waits in Slurm: width, time, partition, nice and so on"
    )
    add_sweep(change)
    change.add_argument("--width", type=number, metavar="N", help="jobs of an array at a time; 0 for no limit")
    change.add_argument("--nice", metavar="N", help="lower the priority of what waits")
    change.add_argument(
        "--running",
        action="store_true",
        help="with --time: also for trials that run (less time, or as an operator more)",
    )
    group = change.add_argument_group("Slurm")
    add_resources(group)
    group.add_argument(
        "--sbatch", action="append", default=[], metavar="NAME=VALUE", help="any other option (repeatable)"
    )
    add_json(change)
