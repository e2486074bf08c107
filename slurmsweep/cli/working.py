"""Commands that act where the work is: agent, cancel."""

from __future__ import annotations

import json
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


def cancel(args: argparse.Namespace) -> int:
    """End a sweep."""
    from slurmsweep.launch.cancel import cancel as cancel_sweep

    done = cancel_sweep(SweepStore.open_to_run(args.sweep))
    if args.json:
        document = {"jobs": done.jobs, "processes": done.processes, "elsewhere": done.elsewhere}
        print(json.dumps(document))
        return 0
    told = [f"job {job}" for job in done.jobs] + [f"process {pid}" for pid in done.processes]
    _say(f"sweep {args.sweep} is canceled; told to end: {', '.join(told) or 'nothing was running'}")
    for host in done.elsewhere:
        _say(f"an agent on {host} cannot be ended from here: run the same command there")
    return 0


def _say(message: str) -> None:
    print(f"slurmsweep: {message}", file=sys.stderr, flush=True)
