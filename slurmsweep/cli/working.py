"""The command that acts where the work is: agent."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from slurmsweep.agent.agent import run_agent
from slurmsweep.state.store import SweepStore

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def agent(args: argparse.Namespace) -> int:
    """Claim and run trials, side by side in several processes where that was asked for; the trial's exit code."""
    if args.seats:
        from slurmsweep.agent.seats import run_seats

        return run_seats(args.seats, os.environ, lambda environ: _run(args, environ))
    return _run(args, os.environ)


def _run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """One agent: ours, or W&B's where the sweep is W&B's."""
    if args.sweep.count("/") == 2:  # a path of ours in a job script is absolute, and has more
        from slurmsweep.state import cloudsweep

        if cloudsweep.is_meant(args.sweep):
            from slurmsweep.agent.cloud import run_cloud_agent

            return run_cloud_agent(cloudsweep.parse(args.sweep, environ), args.count, environ, _say)
    return run_agent(SweepStore.open_to_run(args.sweep), args.count, environ, _say)


def _say(message: str) -> None:
    print(f"slurmsweep: {message}", file=sys.stderr, flush=True)
