"""Arguments of the commands that look after a sweep in Slurm: set, mend; and of those that ask for mending."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.cli.arguments.common import add_json, add_resources, add_slurm, add_sweep, command, natural, number

if TYPE_CHECKING:
    import argparse

    from slurmsweep.cli.arguments.common import Commands


def add_mend(parser: argparse.ArgumentParser) -> None:
    """Whether the sweep mends itself from now on."""
    group = parser.add_argument_group("mending", "a tiny job in Slurm looks after the sweep until its end; no daemon")
    group.add_argument(
        "--mend", action="store_true", help="run again by itself what deserves it, submit what limits keep back, report"
    )
    add_supervisor(group)


def add_supervisor(group: argparse._ActionsContainer) -> None:
    """The supervisor's own job."""
    group.add_argument(
        "--mend-every",
        type=natural,
        metavar="MINUTES",
        help="look at the sweep at least so often (default 60; always when an array has ended)",
    )
    group.add_argument(
        "--mend-sbatch",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="sbatch option of the supervisor's job, such as partition=short (repeatable)",
    )


def _change(commands: Commands) -> None:
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


def _mend(commands: Commands) -> None:
    mend = command(
        commands,
        "mend",
        "tending:mend",
        "look after a sweep once: record ends, run again what deserves it, submit what waits; then by itself",
    )
    add_sweep(mend)
    add_supervisor(mend.add_argument_group("mending"))
    add_json(mend)
    add_slurm(mend)


#: What adds each command to the command line.
COMMANDS = {"set": _change, "mend": _mend}
