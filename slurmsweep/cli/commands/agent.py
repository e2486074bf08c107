"""The ``agent`` command: what each job runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from slurmsweep.agents.agent import run_agent
from slurmsweep.cli.output import note
from slurmsweep.errors import NotFoundError
from slurmsweep.state import paths
from slurmsweep.state.store import SweepStore

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

HELP = "claim trials and run them: what each job runs"
EXAMPLES = (
    ("agent k3v9q2xa", "run one trial"),
    ("agent -n 10 last", "one after the other, at most ten, of the newest sweep"),
)
EXIT_CODES = {1: "and others: that of the trial's command", 3: "", 4: "ECS did not say which task this is", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``agent``."""
    from slurmsweep.cli import options, values  # both load argparse, which agents in jobs do without
    from slurmsweep.state.assignment import MAX_SLOTS

    options.add(parser, "sweep")
    text = "trials to run, one after the other (default 1)"
    options.add(parser, "--count", type=values.natural, default=1, help=text)
    text = "so many agents side by side (default: one)"
    parser.add_argument("--seats", type=values.up_to(MAX_SLOTS), metavar="K", help=text)
    options.add(parser, "--function")


def run(args: argparse.Namespace) -> int:
    """Claim and run trials, with ``--seats`` in several processes; return the exit code of the trial."""
    # once for all seats: another sweep may be the newest before the last of them begins
    sweep, count, function = _named(args.sweep), args.count, args.function
    if args.seats:
        from slurmsweep.agents.packed import run_packed

        return run_packed(args.seats, os.environ, lambda environ: _run(sweep, count, function, environ))
    return _run(sweep, count, function, os.environ)


def _named(word: str) -> str:
    """Return the id or path of the sweep that a word means. Raises NotFoundError, StateUnreadableError, UsageError.

    Jobs write an id or a path. Only another word loads what looks up names, which costs each agent time.
    """
    if os.sep in word:
        return word
    try:
        paths.find(word)
    except NotFoundError:
        from slurmsweep.cli.naming import sweep_of

        return sweep_of(word)
    return word


def _run(sweep: str, count: int, function: str | None, environ: Mapping[str, str]) -> int:
    """Run one agent: of slurmsweep, or of W&B where W&B hosts the sweep."""
    if sweep.count("/") == 2:  # the path of a sweep in a job script is absolute, and has more
        from slurmsweep.backends.wandb_hosted.folder import is_meant, parse

        if is_meant(sweep):
            from slurmsweep.backends.wandb_hosted.agent import run_cloud_agent
            from slurmsweep.cli.options import refuse_function

            refuse_function(function)
            return run_cloud_agent(parse(sweep, environ), count, environ, note)
    store = SweepStore.open_to_run(sweep)
    if function or not store.manifest.can_run:
        from slurmsweep.control.creation.function import ready_to_run

        store = ready_to_run(store, function)
    return run_agent(store, count, environ, note)
