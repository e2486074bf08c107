"""Arguments of the commands that act on a sweep: agent, resubmit."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from slurmsweep.cli.arguments.common import add_backend, add_json, add_slurm, add_sweep, command, natural
from slurmsweep.cli.arguments.tending import add_mend

if TYPE_CHECKING:
    from slurmsweep.cli.arguments.common import Commands


def add_commands(commands: Commands) -> None:
    """Add them to the command line."""
    agent = command(commands, "agent", "working:agent", "claim trials and run them: what each job runs")
    add_sweep(agent)
    agent.add_argument(
        "--count", type=natural, default=1, metavar="N", help="trials to run, one after the other (default 1)"
    )

    resubmit = command(
        commands,
        "resubmit",
        "starting:resubmit",
        "run again exactly what is not finished: crashed, failed, killed, preempted",
    )
    add_sweep(resubmit)
    add_backend(resubmit)
    resubmit.add_argument(
        "--wait",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="wait until they have ended (default: on the local backend)",
    )
    resubmit.add_argument("--dry-run", action="store_true", help="say what would be run again; write nothing")
    add_json(resubmit)
    add_mend(resubmit)
    add_slurm(resubmit)
