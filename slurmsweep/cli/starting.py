"""Commands that start work: run, create, submit."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

from slurmsweep.cli.arguments.common import RESOURCES
from slurmsweep.cli.handing import check_mending, pair, submit_and_say, submit_waves_and_say
from slurmsweep.cli.reading import note, note_stray_output, open_view, print_json
from slurmsweep.errors import NotFoundError, SweepFileError, UsageError
from slurmsweep.launch import create as creating
from slurmsweep.launch import start
from slurmsweep.launch.learning import what_to_learn
from slurmsweep.launch.observe import look
from slurmsweep.launch.start import Backend
from slurmsweep.launch.submit import Wishes, array_request, job_options, recover_submissions
from slurmsweep.report import tables
from slurmsweep.report.progress import progress
from slurmsweep.report.view import status_document
from slurmsweep.slurm import executor
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.store import SweepStore
from slurmsweep.sweepfile import yaml12

if TYPE_CHECKING:
    import argparse

    from slurmsweep.launch.create import Draft
    from slurmsweep.launch.walltime import Learn
    from slurmsweep.state.trial import Trial
    from slurmsweep.sweepfile.config import SweepConfig

#: Rows of the table a run ends with.
_RESULT_ROWS = 20


def run(args: argparse.Namespace) -> int:
    """Create (or go on with) a sweep, run it, show what came out."""
    backend = start.choose_backend(args.backend)
    check_mending(args, backend)
    wishes, wish = what_to_learn(wishes_of(args), args.canaries)
    if _is_sweep(args.file):
        store = SweepStore.open_to_run(args.file)
        check_wishes(backend, wishes, store.manifest.config)
        _take_up_again(store)
    else:
        draft = read_draft(args.file, strict=args.strict)
        check_wishes(backend, wishes, draft.config)
        store = _create(draft)
    if wish and backend is Backend.SLURM:
        return _start_in_waves(store, wishes, wish, args)
    return start_agents(store, backend, wishes, args, count=args.count)


def create(args: argparse.Namespace) -> int:
    """Create a sweep, its id alone on stdout; or with ``--from`` a sweep file on stdout, and no sweep."""
    if args.update:
        raise UsageError(
            f"the configuration of sweep {args.update} never changes once it is made; make a new sweep that keeps what "
            f"finished: slurmsweep create {args.file or 'FILE'} --prior {args.update}",
        )
    if args.origin:
        print(yaml12.dump(_around_chosen(args)), end="")
        return 0
    if not args.file:
        raise UsageError("create: name a sweep file, or a sweep by --from")
    if args.top or (args.trials and not args.prior):
        raise UsageError(
            "--trials and --top choose trials of another sweep: name it by --from, or --trials' by --prior"
        )
    prior = SweepStore.open(args.prior) if args.prior else None
    store = _create(read_draft(args.file, strict=args.strict), shared=args.shared)
    if args.shared:
        _note_closed_folders(store.layout.folder)
    if prior:
        from slurmsweep.launch.prior import adopt

        known = adopt(store, prior, args.trials)
        elsewhere = (
            f"; {known.elsewhere} finished trials have points this grid does not have" if known.elsewhere else ""
        )
        note(f"points known from sweep {args.prior} that will not be run again: {known.adopted}{elsewhere}")
    print(store.manifest.sweep_id)
    return 0


def _note_closed_folders(folder: str) -> None:
    """Say which folder above a shared sweep keeps its group out."""
    above = os.path.dirname(folder)
    while above != os.path.dirname(above):
        if not os.stat(above).st_mode & (stat.S_IXGRP | stat.S_IXOTH):
            note(f"the group cannot reach the sweep: `chmod g+x {above}`")
        above = os.path.dirname(above)


def _around_chosen(args: argparse.Namespace) -> dict[str, Any]:
    """The content of a new sweep file around trials of ``--from``."""
    if args.file or args.prior or (args.top is None) == (args.trials is None):
        raise UsageError("--from SWEEP stands without a sweep file, and with one of --trials LIST and --top N")
    from slurmsweep.launch.prior import best_trials, narrowed

    view, _ = open_view(args.origin)
    trials = args.trials or best_trials(
        view.manifest.config, [trial.number for trial in view.ranked(args.top)], args.top
    )
    total = view.manifest.trials
    beyond = [number for number in trials if total is not None and number >= total]
    if beyond:
        raise NotFoundError(f"sweep {args.origin} has trials 0 to {(total or 1) - 1}: there is no trial {beyond[0]}")
    return narrowed(SweepStore.open(args.origin), trials)


def submit(args: argparse.Namespace) -> int:
    """Submit agents to Slurm."""
    from slurmsweep.state.cloudsweep import is_meant

    if is_meant(args.sweep, args.entity, args.project):
        from slurmsweep.cli.clouding import submit as submit_cloud

        return submit_cloud(args)
    if args.dry_run:
        return _show_script(args)
    backend = start.choose_backend("slurm")
    check_mending(args, backend)
    store = SweepStore.open_to_run(args.sweep)
    word = store.fold().word
    if word is not None:
        raise UsageError(f"sweep {args.sweep} is {word}: `slurmsweep resume {args.sweep}` takes it up again")
    wishes, wish = what_to_learn(wishes_of(args), args.canaries)
    check_wishes(backend, wishes, store.manifest.config)
    recover_submissions(store)
    if wish:
        return _start_in_waves(store, wishes, wish, args)
    return start_agents(store, backend, wishes, args, count=args.count)


def _show_script(args: argparse.Namespace) -> int:
    """The batch script of the array that ``submit`` would hand to Slurm; its name carries a token made for each."""
    store = SweepStore.open(args.sweep)
    tasks = start.agents_wanted(store, store.fold(), args.count)
    if tasks == 0:
        note("nothing to start: every trial has been claimed")
        return 0
    print(executor.render(array_request(store, tasks, wishes_of(args))))
    return 0


def read_draft(source: str, *, strict: bool) -> Draft:
    """Read a sweep file; its warnings go to stderr, or with ``strict`` are errors. Raises SweepFileError."""
    draft = creating.read_draft(source)
    if strict and draft.warnings:
        raise SweepFileError(source, list(draft.warnings))
    for warning in draft.warnings:
        note(f"{source}: {warning}")
    return draft


def _create(draft: Draft, *, shared: bool = False) -> SweepStore:
    store = creating.create(draft, shared=shared)
    note(f"sweep {store.manifest.sweep_id} in {store.layout.folder}")
    return store


def check_wishes(backend: Backend, wishes: Wishes, config: SweepConfig) -> None:
    """Refuse wrong options before anything is made or given back."""
    if backend is Backend.SLURM:
        job_options(wishes, config)


def _take_up_again(store: SweepStore) -> None:
    """Give back what crashed or was interrupted; failed trials are left to resubmit."""
    from slurmsweep.launch.reconcile import give_back

    settle(store)
    give_back(store, _was_cut_off, why="run")


def _was_cut_off(trial: Trial) -> bool:
    return trial.state is not TrialState.FAILED


def settle(store: SweepStore) -> None:
    """Bring the journal up to date and say what nobody can tell."""
    from slurmsweep.launch.reconcile import reconcile

    recover_submissions(store)
    for slot, reason in reconcile(store).unknown.items():
        note(f"trial {slot.trial}, attempt {slot.attempt}: left alone, it may be running ({reason})")


def start_agents(
    store: SweepStore, backend: Backend, wishes: Wishes, args: argparse.Namespace, count: int | None
) -> int:
    """Start agents and, where that was asked for, wait and show the results; the exit code."""
    snapshot = look(store)
    wanted = start.agents_wanted(store, snapshot.fold, count, snapshot.queued)
    if wanted == 0 and not args.mend:
        waiting = f"{snapshot.queued} jobs wait in Slurm" if snapshot.queued else "every trial has been claimed"
        note(f"nothing to start: {waiting}")
    elif backend is Backend.LOCAL:
        wanted = start.no_more_than_open(store, snapshot.fold, wanted)
        _run_here(store, wanted, args.jobs or start.default_jobs())
    else:
        wanted = submit_and_say(store, wanted, wishes, args)
    if not args.wait:
        return 0
    return _show_result(store, args, expected=snapshot.fold.counts().get(TrialState.FINISHED, 0) + wanted)


def _start_in_waves(store: SweepStore, wishes: Wishes, wish: Learn, args: argparse.Namespace) -> int:
    """The same where time or memory is learnt on the way."""
    before = store.fold().counts().get(TrialState.FINISHED, 0)
    told = submit_waves_and_say(store, wishes, wish, args)
    if args.wait:
        return _show_result(store, args, expected=before + told.trials) or int(told.is_stuck)
    if args.json:
        print_json(told.document)
    return int(told.is_stuck)


def _run_here(store: SweepStore, wanted: int, jobs: int) -> None:
    from slurmsweep.launch.local import run_local

    try:
        with progress(wanted, store.fold()) as show:
            run_local(store, wanted, jobs, show)
    except KeyboardInterrupt:
        note(f"stopped; `slurmsweep run {store.manifest.sweep_id}` goes on where it was")
        raise


def _show_result(store: SweepStore, args: argparse.Namespace, expected: int) -> int:
    """The table of results and the best trial; 1 unless as many trials finished as were ``expected``."""
    view, snapshot = open_view(store.layout.folder)
    if args.json:
        print_json(status_document(view, snapshot.jobs))
    else:
        metric = view.manifest.config.metric
        shown = view.ranked(_RESULT_ROWS) or list(view.trials(limit=_RESULT_ROWS))
        print(tables.trials_table(shown, metric.name if metric else None))
        print(tables.status_text(view, snapshot.jobs))
    note_stray_output(store, snapshot.fold)
    if snapshot.fold.submissions:
        from slurmsweep.cli.efficiency import note_efficiency

        note_efficiency(store, snapshot)
    counts = view.counts()
    unfinished = {state: n for state, n in counts.items() if n and state is not TrialState.FINISHED}
    if counts[TrialState.FINISHED] >= expected:
        return 0
    words = ", ".join(f"{n} {state}" for state, n in unfinished.items())
    sweep = store.manifest.sweep_id
    note(f"{words}: `slurmsweep trials {sweep}` shows why, `slurmsweep resubmit {sweep}` runs them again")
    return 1


def wishes_of(args: argparse.Namespace) -> Wishes:
    """What the command line asks of Slurm. Raises UsageError."""
    return Wishes(args.template, options_of(args), args.width)


def options_of(args: argparse.Namespace) -> dict[str, str]:
    """The sbatch options of the command line, by name. Raises UsageError."""
    options = {name: getattr(args, name.replace("-", "_"), None) for name in [*RESOURCES, "nice"]}
    named = {name: value for name, value in options.items() if value is not None}
    return named | dict(pair(text, "--sbatch") for text in args.sbatch)


def _is_sweep(text: str) -> bool:
    """Whether the argument of ``run`` is a sweep and not a sweep file."""
    return not os.path.isfile(text) and not text.endswith((".yaml", ".yml", ".json"))
