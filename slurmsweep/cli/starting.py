"""Commands that start work: run, plan, create, submit, resubmit."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from slurmsweep import search
from slurmsweep.cli.parser import RESOURCES
from slurmsweep.cli.reading import note, open_view, print_json
from slurmsweep.errors import UsageError
from slurmsweep.launch import create as creating
from slurmsweep.launch import start
from slurmsweep.launch.observe import look
from slurmsweep.launch.reconcile import give_back, reconcile
from slurmsweep.launch.start import Backend
from slurmsweep.launch.submit import Wishes, array_request, recover_submissions
from slurmsweep.launch.submit import submit as submit_arrays
from slurmsweep.report import tables
from slurmsweep.report.progress import progress
from slurmsweep.report.view import status_document
from slurmsweep.slurm import executor
from slurmsweep.state.layout import Layout, root_folder, sweep_folder
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.store import SweepStore
from slurmsweep.sweepfile import command
from slurmsweep.sweepfile.config import AVAILABLE

if TYPE_CHECKING:
    import argparse

    from slurmsweep.launch.create import Draft
    from slurmsweep.state.fold import Trial

#: Trials in a plan for people.
_PLAN_LIMIT = 10

#: In a plan there is no sweep yet, so its id is shown as this.
_NO_ID = "xxxxxxxx"


def run(args: argparse.Namespace) -> int:
    """Create (or go on with) a sweep, run it, show what came out."""
    backend = start.choose_backend(args.backend)
    wishes = _wishes(args)
    store = _go_on(args.file) if _is_sweep(args.file) else _create(args.file)
    _start(store, backend, wishes, args, count=args.count)
    return _show_result(store, args) if args.wait else 0


def plan(args: argparse.Namespace) -> int:
    """Show what would happen. Writes nothing."""
    draft = _draft(args.file)
    total = search.run_count(draft.config)
    limit = args.limit or (total if args.json else _PLAN_LIMIT)
    rows = _planned(draft, min(n for n in (limit or _PLAN_LIMIT, total, args.count) if n is not None))
    script = _planned_script(draft, args.count or total or 1, _wishes(args))
    document = {
        "method": draft.config.method,
        "expected_run_count": total,
        "workdir": draft.workdir,
        "trials": rows,
        "sbatch": script,
        "warnings": [str(warning) for warning in draft.warnings],
    }
    if args.json:
        print_json(document)
    else:
        print(_plan_text(document))
    return 0


def create(args: argparse.Namespace) -> int:
    """Create a sweep; its id alone on stdout."""
    store = _create(args.file)
    print(store.manifest.sweep_id)
    return 0


def submit(args: argparse.Namespace) -> int:
    """Submit agents to Slurm."""
    backend = start.choose_backend("slurm")
    args.wait = False
    _start(SweepStore.open(args.sweep), backend, _wishes(args), args, count=args.count)
    return 0


def resubmit(args: argparse.Namespace) -> int:
    """Run again what is not finished."""
    store = SweepStore.open(args.sweep)
    if args.dry_run:
        return _show_what_is_open(args)
    backend = start.choose_backend(args.backend)
    wishes = _wishes(args)
    _settle(store)
    slots = give_back(store, lambda trial: True, why="resubmit")  # noqa: ARG005 - every trial that may
    if slots:
        note(f"to be run again: trials {_numbers([slot.trial for slot in slots])}")
    args.wait = backend is Backend.LOCAL if args.wait is None else args.wait
    _start(store, backend, wishes, args, count=None)
    return _show_result(store, args) if args.wait else 0


def _create(source: str) -> SweepStore:
    store = creating.create(_draft(source))
    note(f"sweep {store.manifest.sweep_id} in {store.layout.folder}")
    return store


def _draft(source: str) -> Draft:
    draft = creating.read_draft(source)
    for warning in draft.warnings:
        note(f"{source}: {warning}")
    return draft


def _go_on(name: str) -> SweepStore:
    """An existing sweep, with what crashed or was interrupted given back; failed trials are left to resubmit."""
    store = SweepStore.open(name)
    _settle(store)
    give_back(store, _was_cut_off, why="run")
    return store


def _was_cut_off(trial: Trial) -> bool:
    return trial.state is not TrialState.FAILED


def _settle(store: SweepStore) -> None:
    """Bring the journal up to date and say what nobody can tell."""
    recover_submissions(store)
    for slot, reason in reconcile(store).unknown.items():
        note(f"trial {slot.trial}, attempt {slot.attempt}: left alone, it may be running ({reason})")


def _start(store: SweepStore, backend: Backend, wishes: Wishes, args: argparse.Namespace, count: int | None) -> None:
    snapshot = look(store)
    wanted = start.agents_wanted(store, snapshot.fold, count, snapshot.queued)
    if wanted == 0:
        waiting = f"{snapshot.queued} jobs wait in Slurm" if snapshot.queued else "every trial has been claimed"
        note(f"nothing to start: {waiting}")
        return
    if backend is Backend.LOCAL:
        _run_here(store, wanted, args.jobs or start.default_jobs())
        return
    submitted = submit_arrays(store, wanted, wishes)
    for array in submitted:
        note(f"submitted job {array.job}: {array.tasks} trials")
    if args.wait:
        with progress(wanted, snapshot.fold) as show:
            start.wait_for_jobs(store, [array.job for array in submitted], wanted, show)


def _run_here(store: SweepStore, wanted: int, jobs: int) -> None:
    from slurmsweep.launch.local import run_local

    try:
        with progress(wanted, store.fold()) as show:
            run_local(store, wanted, jobs, show)
    except KeyboardInterrupt:
        note(f"stopped; `slurmsweep run {store.manifest.sweep_id}` goes on where it was")
        raise


def _show_result(store: SweepStore, args: argparse.Namespace) -> int:
    """The table of results and the best trial; 1 unless everything finished."""
    view, snapshot = open_view(store.layout.folder)
    document = status_document(view, snapshot.jobs)
    if args.json:
        print_json(document)
    else:
        metric = view.manifest.config.metric
        shown = view.ranked()[:20] or list(view.trials(limit=20))
        print(tables.trials_table(shown, metric.name if metric else None))
        print(tables.status_text(view, snapshot.jobs))
    bad = {
        state: n for state, n in view.counts().items() if n and state.has_ended() and state is not TrialState.FINISHED
    }
    if bad:
        words = ", ".join(f"{n} {state}" for state, n in bad.items())
        sweep = store.manifest.sweep_id
        note(f"{words}: `slurmsweep trials {sweep}` shows why, `slurmsweep resubmit {sweep}` runs them again")
    return 1 if bad else 0


def _show_what_is_open(args: argparse.Namespace) -> int:
    view, _ = open_view(args.sweep)
    again = [t for t in view.trials() if t.state.has_ended() and t.state is not TrialState.FINISHED]
    if args.json:
        print_json([trial.to_json() for trial in again])
    elif again:
        print(tables.trials_table(again, None))
    else:
        note("nothing to run again")
    return 0


def _planned(draft: Draft, limit: int) -> list[dict[str, Any]]:
    if draft.config.method not in AVAILABLE:
        return []  # its points depend on results
    return [_planned_trial(draft, number) for number in range(limit)]


def _planned_trial(draft: Draft, number: int) -> dict[str, Any]:
    config = replace(draft.config, program=draft.config.program or "<program>")
    params = search.parameters(config, number, _NO_ID)
    json_file = Layout(sweep_folder(root_folder(), _NO_ID)).args_json(number, 1)
    argv = command.build_argv(config, params, environ=os.environ, json_file=json_file)
    return {"number": number, "params": params, "argv": argv}


def _planned_script(draft: Draft, tasks: int, wishes: Wishes) -> str:
    layout = Layout(sweep_folder(root_folder(), _NO_ID))
    store = SweepStore(layout, creating.manifest_of(draft, _NO_ID))
    return executor.render(array_request(store, tasks, wishes))


def _plan_text(document: dict[str, Any]) -> str:
    import shlex

    total = document["expected_run_count"]
    lines = [f"{document['method']} search, " + (f"{total} trials" if total is not None else "no end: give --count")]
    lines.append(f"commands run in {document['workdir']}")
    lines += [f"  {row['number']:>4}  {tables.printable(shlex.join(row['argv']))}" for row in document["trials"]]
    if total is None or len(document["trials"]) < total:
        lines.append("  ...")
    return "\n".join([*lines, "", "batch script:", document["sbatch"]])


def _wishes(args: argparse.Namespace) -> Wishes:
    options = {name: getattr(args, name.replace("-", "_")) for name in RESOURCES}
    named = {name: value for name, value in options.items() if value is not None}
    return Wishes(args.template, named | dict(_pair(text) for text in args.sbatch), args.width)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name.strip("-"):
        raise UsageError(f"--sbatch {text!r}: write NAME=VALUE, such as --sbatch nice=100")
    return name.lstrip("-"), value if equals else ""


def _is_sweep(text: str) -> bool:
    """Whether the argument of ``run`` is a sweep and not a sweep file."""
    return not os.path.isfile(text) and not text.endswith((".yaml", ".yml", ".json"))


def _numbers(numbers: list[int], most: int = 20) -> str:
    shown = ", ".join(str(number) for number in numbers[:most])
    return shown if len(numbers) <= most else f"{shown} and {len(numbers) - most} more"
