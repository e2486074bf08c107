"""Arguments of the commands that start work: run, plan, create, submit."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from slurmsweep.cli.arguments.common import (
    add_backend,
    add_canaries,
    add_cloud,
    add_count,
    add_function,
    add_json,
    add_slurm,
    add_strict,
    add_sweep,
    command,
    natural,
    numbers,
)
from slurmsweep.cli.arguments.tending import add_mend

if TYPE_CHECKING:
    from slurmsweep.cli.arguments.common import Commands


def _run(commands: Commands) -> None:
    run = command(
        commands, "run", "starting:run", "create a sweep, run it and follow it; with a sweep's id, go on with it"
    )
    run.add_argument("file", metavar="FILE|SWEEP", help="sweep file, or a sweep to go on with")
    add_backend(run)
    add_count(run)
    add_function(run)
    add_strict(run)
    run.add_argument(
        "--wait", action=argparse.BooleanOptionalAction, default=True, help="wait until the trials have ended"
    )
    add_json(run)
    add_mend(run)
    add_slurm(run)
    add_canaries(run)


def _plan(commands: Commands) -> None:
    plan = command(
        commands, "plan", "planning:plan", "show what would happen: points, commands, batch script; writes nothing"
    )
    plan.add_argument("file", metavar="FILE", help="sweep file")
    plan.add_argument(
        "--limit", type=natural, default=None, metavar="N", help="show at most N trials (default 10; with --json 1000)"
    )
    plan.add_argument("--canary", action="store_true", help="run the first trial for real, and show what it used")
    plan.add_argument(
        "--backend", choices=("auto", "local", "slurm"), default="auto", help="of the canary (default auto)"
    )
    add_count(plan)
    add_function(plan)
    add_strict(plan)
    add_json(plan)
    add_slurm(plan)


def _create(commands: Commands) -> None:
    create = command(commands, "create", "starting:create", "create a sweep and print its id; nothing is run")
    create.add_argument("file", metavar="FILE", nargs="?", help="sweep file")
    create.add_argument(
        "--prior", metavar="SWEEP", help="a grid whose points were run there already does not run them again"
    )
    create.add_argument(
        "--from", dest="origin", metavar="SWEEP", help="print a new sweep file around chosen trials of that sweep"
    )
    create.add_argument(
        "--update", metavar="SWEEP", help="refused, as W&B does once a run started: says how to go on instead"
    )
    create.add_argument(
        "--trials", type=numbers, metavar="LIST", help="with --prior or --from: only these, such as 0,3,7-12"
    )
    create.add_argument(
        "--shared", action="store_true", help="for the group of the folder: its members run and change the sweep too"
    )
    create.add_argument("--top", type=natural, metavar="N", help="with --from: the N best trials")
    add_function(create)
    add_strict(create)


def _submit(commands: Commands) -> None:
    submit = command(commands, "submit", "starting:submit", "submit single-count agents to Slurm, one array of jobs")
    add_sweep(submit)
    add_count(submit)
    add_function(submit)
    submit.add_argument("--dry-run", action="store_true", help="print the batch script; submit nothing, write nothing")
    submit.add_argument("--wait", action="store_true", help="wait until the trials have ended, and show the results")
    add_json(submit)
    add_mend(submit)
    add_cloud(submit)
    add_slurm(submit)
    add_canaries(submit)


#: What adds each command to the command line.
COMMANDS = {"run": _run, "plan": _plan, "create": _create, "submit": _submit}
