"""The command that acts where the work is: agent."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from slurmsweep.agents.agent import run_agent
from slurmsweep.errors import UsageError
from slurmsweep.state.store import SweepStore

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def agent(args: argparse.Namespace) -> int:
    """Claim and run trials, side by side in several processes where that was asked for; the trial's exit code."""
    if args.seats:
        from slurmsweep.agents.packed import run_packed

        return run_packed(args.seats, os.environ, lambda environ: _run(args, environ))
    return _run(args, os.environ)


def _run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """One agent: ours, or W&B's where the sweep is W&B's."""
    function = args.function
    if args.sweep.count("/") == 2:  # a path of ours in a job script is absolute, and has more
        from slurmsweep.backends.wandb_hosted import folder as cloudsweep

        if cloudsweep.is_meant(args.sweep):
            refuse_function(function)
            from slurmsweep.backends.wandb_hosted.agent import run_cloud_agent

            return run_cloud_agent(cloudsweep.parse(args.sweep, environ), args.count, environ, _say)
    store = SweepStore.open_to_run(args.sweep)
    if function or not store.manifest.can_run:
        from slurmsweep.control.function import ready_to_run

        store = ready_to_run(store, function)
    return run_agent(store, args.count, environ, _say)


def refuse_function(function: str | None) -> None:
    """Raises UsageError where a sweep of W&B's own is given one: W&B's agent runs what its server says."""
    if function:
        raise UsageError("--function is for sweeps made here: the agents of a sweep of W&B's own run its command")


def _say(message: str) -> None:
    print(f"slurmsweep: {message}", file=sys.stderr, flush=True)
