"""The command that acts where the work is: agent."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from slurmsweep.agent.agent import run_agent
from slurmsweep.state.store import SweepStore

if TYPE_CHECKING:
    import argparse


def agent(args: argparse.Namespace) -> int:
    """Claim and run trials, or have W&B's agent run them where the sweep is W&B's; the exit code is the trial's."""
    if args.sweep.count("/") == 2:  # a path of ours in a job script is absolute, and has more
        from slurmsweep.state import cloudsweep

        if cloudsweep.is_meant(args.sweep):
            from slurmsweep.agent.cloud import run_cloud_agent

            return run_cloud_agent(cloudsweep.parse(args.sweep, os.environ), args.count, os.environ, _say)
    return run_agent(SweepStore.open_to_run(args.sweep), args.count, os.environ, _say)


def _say(message: str) -> None:
    print(f"slurmsweep: {message}", file=sys.stderr, flush=True)
