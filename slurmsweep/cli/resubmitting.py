"""Commands that take note of ends and go on from there: reconcile, resubmit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.cli.handing import Handing, check_mending
from slurmsweep.cli.reading import note, print_json, trial_states
from slurmsweep.cli.starting import check_wishes, settle, start_agents, wishes_of
from slurmsweep.control import start
from slurmsweep.control.auto_resources import what_to_learn
from slurmsweep.control.end_reasons import reasons
from slurmsweep.control.function import ready_to_run
from slurmsweep.control.reconcile import ReconcileResult
from slurmsweep.control.reconcile import reconcile as reconcile_sweep
from slurmsweep.control.resubmit import errands_of, give_back_only, plan_resubmission
from slurmsweep.control.retry_policy import RetryPolicy
from slurmsweep.control.snapshot import look
from slurmsweep.control.start import Backend
from slurmsweep.errors import UsageError
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.store import SweepStore

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from slurmsweep.backends.base import SubmitOptions
    from slurmsweep.control.retry_policy import RetryPlan
    from slurmsweep.sizing.walltime import AutoSizing
    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.tail import AttemptId


def resubmit(args: argparse.Namespace) -> int:
    """Run again what is not finished, each with what it lacked."""
    store = SweepStore.open_to_run(args.sweep)
    backend = start.choose_backend(args.backend)
    check_mending(args, backend)
    rules, (wishes, wish) = rules_of(args), what_to_learn(wishes_of(args))
    check_wishes(backend, wishes, store.manifest.config)
    if not args.dry_run:
        store = ready_to_run(store, args.function)
        settle(store)
    plan = plan_resubmission(store, rules, wishes if backend is Backend.SLURM else None, wish)
    _say(plan, dry_run=args.dry_run)
    if args.dry_run:
        if args.json:
            print_json(plan.to_json())
        return 0
    args.wait = backend is Backend.LOCAL if args.wait is None else args.wait
    if backend is Backend.LOCAL:
        return _run_here(store, plan, wishes, args)
    return _submit(store, plan, wishes, wish, args)


def reconcile(args: argparse.Namespace) -> int:
    """Record the ends that nobody recorded, and why Slurm ended what it ended. With ``--dry-run`` only say them."""
    store = SweepStore.open_to_run(args.sweep)
    if args.dry_run:
        snapshot = look(store)
        return _show_ends(args, snapshot.ended, reasons(snapshot.view))
    settled = reconcile_sweep(store)
    view = store.replay()
    ended = {attempt_id: view.attempt(attempt_id).outcome for attempt_id in settled.ended}
    explained = {attempt_id: view.attempt(attempt_id).outcome for attempt_id in settled.explained}
    code = _show_ends(args, ended, explained, settled)
    for attempt_id, reason in settled.unknown.items():
        note(f"trial {attempt_id.trial}, attempt {attempt_id.attempt}: left alone, it may be running ({reason})")
    return code


def rules_of(args: argparse.Namespace) -> RetryPolicy:
    """What deserves another attempt, by the command line. Raises UsageError."""
    states = trial_states(args.state)
    if states & {TrialState.FINISHED, TrialState.RUNNING, TrialState.PENDING}:
        raise UsageError(
            "--state: resubmit is for trials that ended and did not finish: crashed, failed, killed, preempted"
        )
    for name, factor in (("--time-factor", args.time_factor), ("--mem-factor", args.mem_factor)):
        if factor < 1:
            raise UsageError(f"{name} {factor:g}: less than before would end them again; use 1 or more")
    return RetryPolicy(
        states=frozenset(states),
        causes=frozenset(args.cause or ()),
        trials=None if args.trials is None else frozenset(args.trials),
        max_attempts=args.max_attempts,
        time_factor=args.time_factor,
        mem_factor=args.mem_factor,
        force=args.force,
    )


def _run_here(store: SweepStore, plan: RetryPlan, wishes: SubmitOptions, args: argparse.Namespace) -> int:
    attempt_ids = give_back_only(store, plan.attempt_ids)
    return start_agents(store, Backend.LOCAL, wishes, args, _count(store, plan, len(attempt_ids)), Handing())


def _submit(
    store: SweepStore, plan: RetryPlan, wishes: SubmitOptions, wish: AutoSizing | None, args: argparse.Namespace
) -> int:
    own, again = errands_of(plan, wishes)
    handing = Handing(tuple(own), again, takes_up=bool(plan.groups), command="resubmit", learn=wish)
    count = _count(store, plan, len(again))
    if wish and count is None:
        _note_others(store)
        count = len(again)
    return start_agents(store, Backend.SLURM, wishes, args, count, handing)


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


def _show_ends(
    args: argparse.Namespace,
    ended: Mapping[AttemptId, Outcome | None],
    explained: Mapping[AttemptId, Outcome | None],
    settled: ReconcileResult | None = None,
) -> int:
    voided = settled.voided if settled else ()
    if args.json:
        rows = [
            {"trial": attempt_id.trial, "attempt": attempt_id.attempt, **(outcome.to_json() if outcome else {})}
            for attempt_id, outcome in {**ended, **explained}.items()
        ]
        print_json({"ended": rows, "voided": [{"trial": s.trial, "attempt": s.attempt} for s in voided]})
        return 0
    for attempt_id, outcome in {**ended, **explained}.items():
        if outcome:
            note(
                f"trial {attempt_id.trial}, attempt {attempt_id.attempt}: {outcome.state} "
                f"({outcome.cause or 'no cause known'})"
            )
    for attempt_id in voided:
        note(f"trial {attempt_id.trial}, attempt {attempt_id.attempt}: was never started, and may be claimed again")
    if not (ended or explained or voided):
        note("the journal knows everything that Slurm and the folders know")
    return 0


def _numbers(numbers: list[int], most: int = 20) -> str:
    shown = ", ".join(str(number) for number in numbers[:most])
    return shown if len(numbers) <= most else f"{shown} and {len(numbers) - most} more"
