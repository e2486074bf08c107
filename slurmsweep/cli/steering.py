"""Commands that order something of a sweep: pause, resume, stop, cancel, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.cli.reading import note, print_json, trial_states
from slurmsweep.control import delete as deleting
from slurmsweep.control import orders
from slurmsweep.control.delete import Choice, chosen_slots
from slurmsweep.state.store import SweepStore
from slurmsweep.supervisor.enable import take_up

if TYPE_CHECKING:
    import argparse

    from slurmsweep.control.orders import Ordered


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


def delete(args: argparse.Namespace) -> int:
    """Let the points of chosen trials be run again."""
    store = SweepStore.open_to_run(args.sweep)
    choice = Choice(frozenset(args.trials or ()), frozenset(trial_states(args.state)))
    attempt_ids = chosen_slots(store, store.replay(), choice) if args.dry_run else deleting.delete(store, choice)
    if args.json:
        print_json([{"trial": attempt_id.trial, "attempt": attempt_id.attempt} for attempt_id in attempt_ids])
        return 0
    verb = "would be deleted" if args.dry_run else "deleted, so that their points are run again"
    note(
        f"trials {', '.join(str(attempt_id.trial) for attempt_id in attempt_ids)}: {verb}"
        if attempt_ids
        else "no trial to delete"
    )
    if attempt_ids and not args.dry_run:
        note(f"`slurmsweep resume {args.sweep}` where the sweep was stopped, then `slurmsweep run {args.sweep}`")
    return 0


def _show(args: argparse.Namespace, ordered: Ordered, verb: str) -> int:
    if args.json:
        print_json(
            {
                "state": ordered.state.value,
                "jobs": ordered.jobs,
                "processes": ordered.processes,
                "elsewhere": ordered.elsewhere,
                "clusters": ordered.clusters,
                "without_job": ordered.without_job,
            }
        )
        return 0
    told = [f"job {job}" for job in ordered.jobs] + [f"process {pid}" for pid in ordered.processes]
    note(f"sweep {args.sweep} is {ordered.state}" + (f"; {verb}: {', '.join(told)}" if told else ""))
    for host in ordered.elsewhere:
        note(f"an agent on {host} cannot be ended from here: run the same command there")
    for cluster in ordered.clusters:
        note(f"arrays were submitted on cluster {cluster}, too, which cannot be told from here: run the command there")
    return 0
