"""Arguments of the commands that measure: efficiency."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.cli.arguments.common import add_json, add_sweep, command, natural

if TYPE_CHECKING:
    from slurmsweep.cli.arguments.common import Commands


def _efficiency(commands: Commands) -> None:
    efficiency = command(
        commands,
        "efficiency",
        "efficiency:efficiency",
        "show what was asked beside what was used, and what to ask instead",
    )
    add_sweep(efficiency)
    efficiency.add_argument("--trials", action="store_true", help="each attempt too")
    efficiency.add_argument(
        "--limit", type=natural, metavar="N", help="with --trials: at most N (default 100; all with --json)"
    )
    add_json(efficiency)


#: What adds each command to the command line.
COMMANDS = {"efficiency": _efficiency}
