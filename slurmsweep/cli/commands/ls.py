"""The ``ls`` command."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from slurmsweep.cli import options
from slurmsweep.cli.output import note, print_json, print_text
from slurmsweep.control.views.sweep_list import HALF_REMOVED, is_foreign, list_sweeps
from slurmsweep.errors import StateError, StateUnreadableError
from slurmsweep.report.figures import date_text, size_text
from slurmsweep.report.tables import plain_table
from slurmsweep.state import paths, projects

if TYPE_CHECKING:
    from slurmsweep.control.views.sweep_list import SweepRow

HELP = "list the sweeps of this folder, or of the nearest one above that has any; the newest first"
EXAMPLES = (
    ("ls", "here, or below WANDB_DIR"),
    ("ls --all", "of all projects in which you have run sweeps"),
    ("ls --json", "for programs"),
)
EXIT_CODES = {5: "a sweep could not be read"}

#: Characters of the reason why a sweep cannot be read.
_REASON = 160

#: Characters that cells keep: a date without its end says something else, the beginning of a name still helps.
_LEAST = {"made": len("2026-11-29 12:04"), "name": 8, "file": 8}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``ls``."""
    parser.add_argument("--all", action="store_true", help="of all projects in which you have run sweeps")
    options.add(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """List the sweeps, one row each, without asking Slurm; return the exit code, 5 where one is damaged."""
    listed = _listed(every_project=args.all)
    rows = [row for found in listed.values() for row in found]
    for row in rows:
        if row.error:
            reason = row.error if len(row.error) <= _REASON else f"{row.error[:_REASON]}..."
            note(f"sweep {row.id}: {reason}")
        elif row.state == HALF_REMOVED:
            note(f"the removal of sweep {row.id} was broken off: `slurmsweep rm {row.id}` removes the rest")
    if args.json:
        print_json([row.to_json() for row in rows])
    else:
        _print(listed, named=args.all or list(listed) != [paths.root_folder()])
    return StateError.exit_code if any(row.error and not is_foreign(row) for row in rows) else 0


def _listed(*, every_project: bool) -> dict[str, list[SweepRow]]:
    """Return the sweeps by project, that with the newest sweep first; projects that are gone are left out."""
    if not every_project:
        root = paths.project_folder()
        return {root: list_sweeps(root)}
    listed = {}
    for root in dict.fromkeys([paths.project_folder(), *reversed(projects.projects())]):
        try:
            if rows := list_sweeps(root):
                listed[root] = rows
        except StateUnreadableError as error:  # noqa: PERF203 - a project is much more than the exception
            note(f"{root}: {error}")
    return dict(sorted(listed.items(), key=lambda one: max(row.created or 0 for row in one[1]), reverse=True))


def _print(listed: dict[str, list[SweepRow]], *, named: bool) -> None:
    for place, (root, rows) in enumerate(listed.items()):
        if rows and named:
            print_text(("\n" if place else "") + root.replace(os.path.expanduser("~") + os.sep, "~/"))
        if rows:
            print_text(plain_table([_cells(row) for row in rows], _LEAST))
    if not any(listed.values()):
        note(f"no sweeps in {' or '.join(listed) or paths.root_folder()}: `slurmsweep run FILE` makes one")


def _cells(row: SweepRow) -> dict[str, Any]:
    done = str(row.finished + row.stopped_early) + ("" if row.trials is None else f"/{row.trials}")
    size = size_text(row.bytes) if row.bytes else ""
    return {
        "sweep": row.id,
        "state": row.state,
        "done": "" if row.error or row.method is None else done,
        "failed": row.ended_otherwise or None,
        "made": date_text(row.created) if row.created is not None else None,
        "size": f"~{size}" if row.bytes_are_estimated else size,
        "name": "canary" if row.canary else row.name,
        "file": os.path.basename(row.source) if row.source else None,
    }
