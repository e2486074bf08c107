"""Arguments of the commands that order something of a whole sweep: pause, resume, stop, cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.cli.arguments.common import add_json, add_sweep, command

if TYPE_CHECKING:
    from slurmsweep.cli.arguments.common import Commands

_ORDERS = {
    "pause": "start no new trials for now: running ones go on, waiting jobs are held",
    "resume": "start new trials again after pause, stop or cancel; held jobs are released",
    "stop": "start no new trials: running ones finish, waiting jobs are cancelled",
    "cancel": "end a sweep: nothing new starts, running trials are killed",
}


def add_commands(commands: Commands) -> None:
    """Add them to the command line."""
    for name, text in _ORDERS.items():
        parser = command(commands, name, f"steering:{name}", text)
        add_sweep(parser)
        add_json(parser)
