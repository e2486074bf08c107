"""The ``mend`` command: what a supervisor's job runs, and what a person may."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from slurmsweep.backends.base import Ability
from slurmsweep.cli import options
from slurmsweep.cli.output import note, print_json
from slurmsweep.control.creation.function import ready_to_run
from slurmsweep.control.creation.program import moved
from slurmsweep.control.session import Session
from slurmsweep.state.store import SweepStore
from slurmsweep.state.supervisor_files import SupervisorFiles, SupervisorSettings

HELP = "look after a sweep once: record ends, run again what deserves it, submit what waits; then by itself"
EXAMPLES = (
    ("mend last", "one round now; the next ones come by themselves"),
    ("mend last --mend-every 30", "look at least every 30 minutes"),
)
EXIT_CODES = {3: "", 4: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mend``."""
    options.add(parser, "sweep", "--workdir")
    options.add(parser.add_argument_group("mending"), "--mend-every", "--mend-sbatch")
    options.add(parser, "--json")
    options.add_slurm(parser)
    options.add_aws(parser)


def run(args: argparse.Namespace) -> int:
    """Hold one round of the supervisor; return the exit code.

    The next ones come by themselves where the sweep's backend can wake them.
    """
    from slurmsweep.control.launch.supervised import refuse_wrong_settings
    from slurmsweep.supervisor.rounds import mend  # loads submitit

    store = ready_to_run(SweepStore.open_to_run(args.sweep), None)
    store = moved(store, args.workdir, keep=False) if args.workdir else store
    store.manifest.refuse_missing_workdir()
    session = Session(store)
    wakes = Ability.WAKE in session.backend.abilities
    if Ability.OUTLIVE not in session.backend.abilities:
        session.backend.require(Ability.WAKE, "mend")
    files = SupervisorFiles(store.layout, store.access)
    before = files.settings()
    settings = options.supervisor_of(args, options.wish_of(args), {}, before.goal if before else None)
    if before and settings == SupervisorSettings(goal=before.goal):
        settings, asks_anew = before, False  # the command line asks for nothing
    else:
        refuse_wrong_settings(session, settings)
        asks_anew = wakes
    if args.workdir:
        moved(store, args.workdir)
    if asks_anew:
        files.ask_for(settings)
    last = mend(session, settings, note)
    if args.json:
        print_json(asdict(last) if last else None)
    return 0
