"""The command that acts where the work is: agent."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from slurmsweep.state.store import SweepStore

if TYPE_CHECKING:
    import argparse


def agent(args: argparse.Namespace) -> int:
    """Claim and run trials; the exit code is the trial's."""
    from slurmsweep.agent.agent import run_agent

    return run_agent(SweepStore.open_to_run(args.sweep), args.count, os.environ, _say)


def _say(message: str) -> None:
    print(f"slurmsweep: {message}", file=sys.stderr, flush=True)
