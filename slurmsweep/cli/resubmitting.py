"""Commands that take note of ends and go on from there: reconcile, resubmit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.cli.handing import Handing, check_mending
from slurmsweep.cli.reading import note, print_json, trial_states
from slurmsweep.cli.starting import check_wishes, settle, start_agents, wishes_of
from slurmsweep.errors import UsageError
from slurmsweep.launch import start
from slurmsweep.launch.function import ready_to_run
from slurmsweep.launch.learning import what_to_learn
from slurmsweep.launch.start import Backend
from slurmsweep.mend.rerun import Rules
from slurmsweep.mend.resubmit import errands_of, give_back_only, plan_resubmission
from slurmsweep.observe.reasons import reasons
from slurmsweep.observe.reconcile import Settled
from slurmsweep.observe.reconcile import reconcile as reconcile_sweep
from slurmsweep.observe.snapshot import look
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.store import SweepStore

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from slurmsweep.launch.submit import Wishes
    from slurmsweep.learn.walltime import Learn
    from slurmsweep.mend.rerun import Plan
    from slurmsweep.state.head import Slot
    from slurmsweep.state.outcome import Outcome


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
        return _show_ends(args, snapshot.ended, reasons(snapshot.fold))
    settled = reconcile_sweep(store)
    fold = store.fold()
    ended = {slot: fold.attempt(slot).outcome for slot in settled.ended}
    explained = {slot: fold.attempt(slot).outcome for slot in settled.explained}
    code = _show_ends(args, ended, explained, settled)
    for slot, reason in settled.unknown.items():
        note(f"trial {slot.trial}, attempt {slot.attempt}: left alone, it may be running ({reason})")
    return code


def rules_of(args: argparse.Namespace) -> Rules:
    """What deserves another attempt, by the command line. Raises UsageError."""
    states = trial_states(args.state)
    if states & {TrialState.FINISHED, TrialState.RUNNING, TrialState.PENDING}:
        raise UsageError(
            "--state: resubmit is for trials that ended and did not finish: crashed, failed, killed, preempted"
        )
    for name, factor in (("--time-factor", args.time_factor), ("--mem-factor", args.mem_factor)):
        if factor < 1:
            raise UsageError(f"{name} {factor:g}: less than before would end them again; use 1 or more")
    return Rules(
        states=frozenset(states),
        causes=frozenset(args.cause or ()),
        trials=None if args.trials is None else frozenset(args.trials),
        max_attempts=args.max_attempts,
        time_factor=args.time_factor,
        mem_factor=args.mem_factor,
        force=args.force,
    )


def _run_here(store: SweepStore, plan: Plan, wishes: Wishes, args: argparse.Namespace) -> int:
    slots = give_back_only(store, plan.slots)
    return start_agents(store, Backend.LOCAL, wishes, args, _count(store, plan, len(slots)), Handing())


def _submit(store: SweepStore, plan: Plan, wishes: Wishes, wish: Learn | None, args: argparse.Namespace) -> int:
    own, again = errands_of(plan, wishes)
    handing = Handing(tuple(own), again, takes_up=bool(plan.groups), command="resubmit", learn=wish)
    count = _count(store, plan, len(again))
    if wish and count is None:
        _note_others(store)
        count = len(again)
    return start_agents(store, Backend.SLURM, wishes, args, count, handing)


def _note_others(store: SweepStore) -> None:
    """Trials that are not run again but for the first time are submitted in waves, which is another command's work."""
    others = start.unclaimed(store, store.fold())
    if others:
        note(f"{others} trials wait for a first attempt: `slurmsweep submit {store.manifest.sweep_id} --time auto`")


def _count(store: SweepStore, plan: Plan, again: int) -> int | None:
    """Agents to start for trials that are run again with what is asked anyway; None for those and all that is open.

    Where some were chosen, or the search has no end, nothing beyond them is started.
    """
    return again if plan.assigned or store.manifest.trials is None else None


def _say(plan: Plan, *, dry_run: bool) -> None:
    verb = "would be run again" if dry_run else "to be run again"
    for given, slots in plan.groups.items():
        named = _numbers([slot.trial for slot in slots])
        causes = sorted({plan.whys[slot.trial].partition(" with ")[0] for slot in slots})
        beside = f", {given}" if str(given) else ""
        note(f"{verb}: trials {named} ({', '.join(causes)}){beside}")
    for line in (*plan.left_words(), *plan.remarks):
        note(line)
    if dry_run and not plan.groups:
        note("nothing to run again")


def _show_ends(
    args: argparse.Namespace,
    ended: Mapping[Slot, Outcome | None],
    explained: Mapping[Slot, Outcome | None],
    settled: Settled | None = None,
) -> int:
    voided = settled.voided if settled else ()
    if args.json:
        rows = [
            {"trial": slot.trial, "attempt": slot.attempt, **(outcome.to_json() if outcome else {})}
            for slot, outcome in {**ended, **explained}.items()
        ]
        print_json({"ended": rows, "voided": [{"trial": s.trial, "attempt": s.attempt} for s in voided]})
        return 0
    for slot, outcome in {**ended, **explained}.items():
        if outcome:
            note(f"trial {slot.trial}, attempt {slot.attempt}: {outcome.state} ({outcome.cause or 'no cause known'})")
    for slot in voided:
        note(f"trial {slot.trial}, attempt {slot.attempt}: was never started, and may be claimed again")
    if not (ended or explained or voided):
        note("the journal knows everything that Slurm and the folders know")
    return 0


def _numbers(numbers: list[int], most: int = 20) -> str:
    shown = ", ".join(str(number) for number in numbers[:most])
    return shown if len(numbers) <= most else f"{shown} and {len(numbers) - most} more"
