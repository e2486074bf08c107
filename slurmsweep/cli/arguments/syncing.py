"""Arguments of the command that takes runs to W&B: sync."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.cli.arguments.common import add_json, add_sweep, command, natural, numbers

if TYPE_CHECKING:
    from slurmsweep.cli.arguments.common import Commands


def _sync(commands: Commands) -> None:
    sync = command(
        commands, "sync", "syncing:sync", "upload the offline wandb runs of finished trials, from a node with internet"
    )
    add_sweep(sync)
    sync.add_argument(
        "--state", action="append", metavar="STATE", help="trials in this state instead of finished ones (repeatable)"
    )
    sync.add_argument("--trials", type=numbers, metavar="LIST", help="only these, such as 0,3,7-12")
    sync.add_argument("--project", metavar="X", help="of the runs at W&B (default: the one they were logged with)")
    sync.add_argument(
        "--entity", metavar="X", help="of the runs at W&B (default: the one they were logged with, or yours)"
    )
    sync.add_argument("--jobs", type=natural, default=4, metavar="N", help="trials at a time (default 4)")
    sync.add_argument("--include-synced", action="store_true", help="also what was uploaded before")
    sync.add_argument("--dry-run", action="store_true", help="say what would be uploaded; upload nothing")
    add_json(sync)


#: What adds each command to the command line.
COMMANDS = {"sync": _sync}
