"""Arguments of the commands that act on a sweep: agent, reconcile, resubmit."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from slurmsweep.cli.arguments.common import (
    add_backend,
    add_function,
    add_json,
    add_slurm,
    add_sweep,
    command,
    natural,
    numbers,
)
from slurmsweep.cli.arguments.tending import add_mend

if TYPE_CHECKING:
    from slurmsweep.cli.arguments.common import Commands


def _agent(commands: Commands) -> None:
    agent = command(commands, "agent", "working:agent", "claim trials and run them: what each job runs")
    add_sweep(agent)
    agent.add_argument(
        "--count", type=natural, default=1, metavar="N", help="trials to run, one after the other (default 1)"
    )
    agent.add_argument("--seats", type=natural, metavar="K", help="so many agents side by side (default: one)")
    add_function(agent)


def _reconcile(commands: Commands) -> None:
    reconcile = command(
        commands,
        "reconcile",
        "resubmitting:reconcile",
        "record the ends that no agent lived to record, and why Slurm ended what it ended",
    )
    add_sweep(reconcile)
    reconcile.add_argument("--dry-run", action="store_true", help="say what would be recorded; write nothing")
    add_json(reconcile)


def _resubmit(commands: Commands) -> None:
    resubmit = command(
        commands,
        "resubmit",
        "resubmitting:resubmit",
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
    resubmit.add_argument(
        "--dry-run", action="store_true", help="say what would be run again, with what, and why; write nothing"
    )
    add_function(resubmit)
    _add_rules(resubmit)
    add_json(resubmit)
    add_mend(resubmit)
    add_slurm(resubmit)


def _add_rules(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Which trials, and with what")
    group.add_argument("--state", action="append", metavar="STATE", help="only those in this state (repeatable)")
    group.add_argument(
        "--cause",
        action="append",
        metavar="CAUSE",
        help="only those that ended so: timeout, oom, 'exit 3' (repeatable)",
    )
    group.add_argument("--trials", type=numbers, metavar="LIST", help="only these, such as 0,3,7-12")
    group.add_argument("--max-attempts", type=natural, metavar="N", help="not those that had N attempts already")
    group.add_argument(
        "--time-factor", type=float, default=2.0, metavar="X", help="times the time, for trials out of it (default 2)"
    )
    group.add_argument(
        "--mem-factor", type=float, default=2.0, metavar="X", help="times the memory, for trials out of it (default 2)"
    )
    group.add_argument(
        "--force", action="store_true", help="also trials that fail alike, and those that had all a partition gives"
    )


#: What adds each command to the command line.
COMMANDS = {"agent": _agent, "reconcile": _reconcile, "resubmit": _resubmit}
