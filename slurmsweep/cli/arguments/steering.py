"""Arguments of the commands that order something of a sweep: pause, resume, stop, cancel, delete."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from slurmsweep.cli.arguments.common import add_json, add_sweep, command, numbers

if TYPE_CHECKING:
    from slurmsweep.cli.arguments.common import Commands

_ORDERS = {
    "pause": "start no new trials for now: running ones go on, waiting jobs are held",
    "resume": "start new trials again after pause, stop or cancel; held jobs are released",
    "stop": "start no new trials: running ones finish, waiting jobs are cancelled",
    "cancel": "end a sweep: nothing new starts, running trials are killed",
}


def _order(name: str, commands: Commands) -> None:
    parser = command(commands, name, f"steering:{name}", _ORDERS[name])
    add_sweep(parser)
    add_json(parser)


def _delete(commands: Commands) -> None:
    delete = command(
        commands,
        "delete",
        "steering:delete",
        "take trials back so that their points are run again, also finished ones; nothing is removed",
    )
    add_sweep(delete)
    delete.add_argument("--trials", type=numbers, metavar="LIST", help="these, such as 0,3,7-12")
    delete.add_argument("--state", action="append", metavar="STATE", help="all that ended in this state (repeatable)")
    delete.add_argument("--dry-run", action="store_true", help="say which; write nothing")
    add_json(delete)


#: What adds each command to the command line.
COMMANDS = {**{name: partial(_order, name) for name in _ORDERS}, "delete": _delete}
