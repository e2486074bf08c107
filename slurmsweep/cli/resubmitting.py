"""The flow of ``resubmit``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from slurmsweep.cli.handing import Handing, check_mending
from slurmsweep.cli.output import note, print_json
from slurmsweep.cli.starting import check_wishes, settle, start_agents
from slurmsweep.control import start
from slurmsweep.control.auto_resources import what_to_learn
from slurmsweep.control.function import ready_to_run
from slurmsweep.control.resubmit import errands_of, give_back_only, plan_resubmission
from slurmsweep.control.start import Backend
from slurmsweep.state.store import SweepStore

if TYPE_CHECKING:
    from slurmsweep.backends.base import SubmitOptions
    from slurmsweep.cli.handing import StartOptions
    from slurmsweep.control.retry_policy import RetryPlan, RetryPolicy
    from slurmsweep.sizing.walltime import Learn


def resubmit(sweep: str, policy: RetryPolicy, start_options: StartOptions, *, dry_run: bool) -> int:
    """Run again what did not finish, each trial with what it lacked; return the exit code."""
    store = SweepStore.open_to_run(sweep)
    backend = start.choose_backend(start_options.backend)
    check_mending(start_options, backend)
    wishes, wish = what_to_learn(start_options.jobs)
    check_wishes(backend, wishes, store.manifest.config)
    if not dry_run:
        store = ready_to_run(store, start_options.function)
        settle(store)
    plan = plan_resubmission(store, policy, wishes if backend is Backend.SLURM else None, wish)
    _say(plan, dry_run=dry_run)
    if dry_run:
        if start_options.as_json:
            print_json(plan.to_json())
        return 0
    if start_options.wait is None:
        start_options = replace(start_options, wait=backend is Backend.LOCAL)
    if backend is Backend.LOCAL:
        return _run_here(store, plan, wishes, start_options)
    return _submit(store, plan, wishes, wish, start_options)


def _run_here(store: SweepStore, plan: RetryPlan, wishes: SubmitOptions, start_options: StartOptions) -> int:
    attempt_ids = give_back_only(store, plan.attempt_ids)
    return start_agents(store, Backend.LOCAL, wishes, start_options, _count(store, plan, len(attempt_ids)), Handing())


def _submit(
    store: SweepStore, plan: RetryPlan, wishes: SubmitOptions, wish: Learn | None, start_options: StartOptions
) -> int:
    own, again = errands_of(plan, wishes)
    handing = Handing(tuple(own), again, takes_up=bool(plan.groups), command="resubmit", learn=wish)
    count = _count(store, plan, len(again))
    if wish and count is None:
        _note_others(store)
        count = len(again)
    return start_agents(store, Backend.SLURM, wishes, start_options, count, handing)


def _note_others(store: SweepStore) -> None:
    """Trials that are not run again but for the first time are submitted in waves, which is another command's work."""
    others = start.unclaimed(store, store.replay())
    if others:
        note(f"{others} trials wait for a first attempt: `slurmsweep submit {store.manifest.sweep_id} --time auto`")


def _count(store: SweepStore, plan: RetryPlan, again: int) -> int | None:
    """Agents to start for trials that are run again with what is asked anyway; None for those and all that is open.

    Where some were chosen, or the search has no end, nothing beyond them is started.
    """
    return again if plan.assigned or store.manifest.trials is None else None


def _say(plan: RetryPlan, *, dry_run: bool) -> None:
    verb = "would be run again" if dry_run else "to be run again"
    for given, attempt_ids in plan.groups.items():
        named = _numbers([attempt_id.trial for attempt_id in attempt_ids])
        causes = sorted({plan.whys[attempt_id.trial].partition(" with ")[0] for attempt_id in attempt_ids})
        beside = f", {given}" if str(given) else ""
        note(f"{verb}: trials {named} ({', '.join(causes)}){beside}")
    for line in (*plan.left_words(), *plan.remarks):
        note(line)
    if dry_run and not plan.groups:
        note("nothing to run again")


def _numbers(numbers: list[int], most: int = 20) -> str:
    shown = ", ".join(str(number) for number in numbers[:most])
    return shown if len(numbers) <= most else f"{shown} and {len(numbers) - most} more"
