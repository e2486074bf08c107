"""The ``ls`` command."""

from __future__ import annotations

import argparse
from typing import Any

from slurmsweep.cli import options
from slurmsweep.cli.output import note, print_json, print_text
from slurmsweep.errors import NotFoundError, StateError
from slurmsweep.report.summary import SweepSummary
from slurmsweep.report.tables import plain_table
from slurmsweep.report.terminal import width
from slurmsweep.state import paths, view_cache
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.store import SweepStore

HELP = "list the sweeps below WANDB_DIR, or the current folder"
EXAMPLES = (
    ("ls", "here, or below WANDB_DIR"),
    ("ls --json", "for programs"),
)
EXIT_CODES = {5: "a sweep could not be read"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``ls``."""
    options.add(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """List the sweeps, one row each, without asking Slurm; return the exit code, 5 where one cannot be read."""
    root = paths.root_folder()
    found = [_row(sweep_id) for sweep_id in paths.sweep_ids(root)]
    rows = [row for row in found if row]
    code = 0 if len(rows) == len(found) else StateError.exit_code
    if args.json:
        print_json(rows)
    elif rows:
        print_text(plain_table(rows, width()))
    elif not code:
        note(f"no sweeps in {root}")
    return code


def _row(sweep_id: str) -> dict[str, Any] | None:
    """Return the row of a sweep; None where it cannot be read, and say why."""
    try:
        store = SweepStore.open(sweep_id)
        summary = SweepSummary(store.layout, store.manifest, view_cache.read(store), {})
    except (StateError, NotFoundError) as error:  # or it was removed meanwhile
        note(f"sweep {sweep_id}: {error}")
        return None
    manifest = store.manifest
    return {
        "id": manifest.sweep_id,
        "name": manifest.config.name or "",
        "state": summary.state().value,
        "method": manifest.config.method,
        "trials": manifest.trials if manifest.trials is not None else "",
        "finished": summary.counts()[TrialState.FINISHED],
        "source": manifest.source,
    }
