"""Commands that look after a sweep in Slurm: set, mend."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from slurmsweep.cli.handing import settings_of
from slurmsweep.cli.reading import note, print_json
from slurmsweep.cli.starting import options_of, wishes_of
from slurmsweep.control.change_jobs import change_waiting
from slurmsweep.control.function import ready_to_run
from slurmsweep.errors import SchedulerError
from slurmsweep.state.store import SweepStore
from slurmsweep.state.supervisor_files import SupervisorFiles, SupervisorSettings
from slurmsweep.supervisor import rounds as mending

if TYPE_CHECKING:
    import argparse

    from slurmsweep.control.change_jobs import ArrayChange


def change(args: argparse.Namespace) -> int:
    """Change what waits in Slurm; exit code 4 where Slurm refused all of it."""
    store = SweepStore.open_to_run(args.sweep)
    arrays = change_waiting(store, options_of(args), args.width, running=args.running)
    if args.json:
        print_json([asdict(array) for array in arrays])
    else:
        for array in arrays:
            note(_words(array))
        if not arrays:
            note(f"no job of sweep {args.sweep} waits in Slurm: nothing to change")
    return SchedulerError.exit_code if arrays and all(array.problems for array in arrays) else 0


def mend(args: argparse.Namespace) -> int:
    """One round of mending; the next ones come by themselves. What a supervisor's job runs, and what a person may."""
    store = ready_to_run(SweepStore.open_to_run(args.sweep), None)
    settings = _settings(args, store)
    last = mending.mend(store, settings, note)
    if args.json:
        print_json(asdict(last) if last else None)
    return 0


def _settings(args: argparse.Namespace, store: SweepStore) -> SupervisorSettings:
    """As asked for before, unless the command line says otherwise."""
    files = SupervisorFiles(store.layout, store.access)
    known = files.settings()
    goal = known.goal if known else None
    asked = settings_of(args, wishes_of(args), goal)
    if known and asked == SupervisorSettings(goal=goal):
        return known
    files.ask_for(asked)
    return asked


def _words(array: ArrayChange) -> str:
    told = [f"{array.waiting} waiting"] if array.waiting else []
    told += [f"{array.running} running"] if array.running else []
    if not array.problems:
        return f"job {array.job}: changed {' and '.join(told)} trials"
    return f"job {array.job}: not all of {' and '.join(told)} trials changed: {'; '.join(array.problems)}"
