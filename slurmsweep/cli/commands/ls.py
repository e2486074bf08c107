"""The ``ls`` command."""

from __future__ import annotations

import argparse
import os

from slurmsweep.cli import options
from slurmsweep.cli.output import note, print_json, print_text
from slurmsweep.report.summary import SweepSummary
from slurmsweep.report.tables import plain_table
from slurmsweep.report.terminal import width
from slurmsweep.state import paths, view_cache
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.store import SweepStore

HELP = "list the sweeps below WANDB_DIR, or the current folder"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``ls``."""
    options.add(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """List the sweeps, one row each, without asking Slurm; return the exit code."""
    root = paths.root_folder()
    rows = []
    for store in map(SweepStore.open, paths.sweep_ids(root)):
        manifest = store.manifest
        summary = SweepSummary(store.layout, manifest, view_cache.read(store), {})
        rows.append(
            {
                "id": manifest.sweep_id,
                "name": manifest.config.name or "",
                "state": summary.state().value,
                "method": manifest.config.method,
                "trials": manifest.trials if manifest.trials is not None else "",
                "finished": summary.counts()[TrialState.FINISHED],
                "source": manifest.source,
            }
        )
    if args.json:
        print_json(rows)
    elif rows:
        print_text(plain_table(rows, width()))
    else:
        note(f"no sweeps in {os.path.join(root, 'wandb')}")
    return 0
