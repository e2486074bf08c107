"""Commands that order something of a whole sweep: pause, resume, stop, cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.cli.reading import note, print_json
from slurmsweep.launch import orders
from slurmsweep.launch.mend import take_up
from slurmsweep.state.store import SweepStore

if TYPE_CHECKING:
    import argparse

    from slurmsweep.launch.orders import Ordered


def pause(args: argparse.Namespace) -> int:
    """No new trials for now."""
    return _show(args, orders.pause(SweepStore.open_to_run(args.sweep)), "held")


def resume(args: argparse.Namespace) -> int:
    """New trials again."""
    store = SweepStore.open_to_run(args.sweep)
    ordered = orders.resume(store)
    code = _show(args, ordered, "released")
    if take_up(store):
        note("the sweep mends itself: its supervisor looks at it within a minute")
    elif ordered.without_job:
        note(f"{ordered.without_job} trials are open and no job waits for them: `slurmsweep run {args.sweep}`")
    return code


def stop(args: argparse.Namespace) -> int:
    """No new trials; running ones finish."""
    return _show(args, orders.stop(SweepStore.open_to_run(args.sweep)), "waiting part cancelled")


def cancel(args: argparse.Namespace) -> int:
    """End a sweep."""
    return _show(args, orders.cancel(SweepStore.open_to_run(args.sweep)), "told to end")


def _show(args: argparse.Namespace, ordered: Ordered, verb: str) -> int:
    if args.json:
        print_json(
            {
                "state": ordered.state.value,
                "jobs": ordered.jobs,
                "processes": ordered.processes,
                "elsewhere": ordered.elsewhere,
                "without_job": ordered.without_job,
            }
        )
        return 0
    told = [f"job {job}" for job in ordered.jobs] + [f"process {pid}" for pid in ordered.processes]
    note(f"sweep {args.sweep} is {ordered.state}" + (f"; {verb}: {', '.join(told)}" if told else ""))
    for host in ordered.elsewhere:
        note(f"an agent on {host} cannot be ended from here: run the same command there")
    return 0
