"""Commands that start work: run, create, submit."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

from slurmsweep.backends.base import SubmitOptions
from slurmsweep.backends.slurm import executor
from slurmsweep.backends.slurm.fit_limits import SubmitResult
from slurmsweep.cli.arguments.common import RESOURCES
from slurmsweep.cli.handing import (
    Handing,
    check_mending,
    handing_document,
    pair,
    submit_and_say,
    submit_waves_and_say,
)
from slurmsweep.cli.reading import note, note_stray_output, open_view, print_json, view_of
from slurmsweep.control import create as creating
from slurmsweep.control import start
from slurmsweep.control.auto_resources import what_to_learn
from slurmsweep.control.snapshot import look
from slurmsweep.control.start import Backend
from slurmsweep.control.submit import JobBatch, array_request, job_options, recover_submissions
from slurmsweep.errors import NotFoundError, SweepFileError, UsageError
from slurmsweep.report import tables
from slurmsweep.report.progress import progress
from slurmsweep.report.summary import status_document
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import AttemptId
from slurmsweep.state.view_cache import Follower
from slurmsweep.sweepfile import yaml12

if TYPE_CHECKING:
    import argparse

    from slurmsweep.control.create import Draft
    from slurmsweep.sizing.walltime import AutoSizing
    from slurmsweep.state.replay import SweepView
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
        from slurmsweep.control.function import ready_to_run

        store = SweepStore.open_to_run(args.file)
        check_wishes(backend, wishes, store.manifest.config)
        store = ready_to_run(store, args.function)
        handing = _take_up_again(store, backend)
    else:
        draft = read_draft(args.file, args.function, strict=args.strict)
        check_wishes(backend, wishes, draft.config)
        store, handing = _create(draft), Handing()
    if wish and backend is Backend.SLURM:
        return _start_in_waves(store, wishes, wish, args, handing)
    return start_agents(store, backend, wishes, args, args.count, handing)


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
    store = _create(read_draft(args.file, args.function, strict=args.strict), shared=args.shared)
    if args.shared:
        _note_closed_folders(store.layout.folder)
    if prior:
        from slurmsweep.control.prior import adopt

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
    from slurmsweep.control.prior import best_trials, narrowed

    summary, _ = open_view(args.origin)
    trials = args.trials or best_trials(
        summary.manifest.config, [trial.number for trial in summary.ranked(args.top)], args.top
    )
    total = summary.manifest.trials
    beyond = [number for number in trials if total is not None and number >= total]
    if beyond:
        raise NotFoundError(f"sweep {args.origin} has trials 0 to {(total or 1) - 1}: there is no trial {beyond[0]}")
    return narrowed(SweepStore.open(args.origin), trials)


def submit(args: argparse.Namespace) -> int:
    """Submit agents to Slurm."""
    from slurmsweep.backends.wandb_hosted.folder import is_meant
    from slurmsweep.control.function import ready_to_run

    if is_meant(args.sweep, args.entity, args.project):
        from slurmsweep.cli.clouding import submit as submit_cloud
        from slurmsweep.cli.working import refuse_function

        refuse_function(args.function)
        return submit_cloud(args)
    if args.dry_run:
        return _show_script(args)
    backend = start.choose_backend("slurm")
    check_mending(args, backend)
    store = SweepStore.open_to_run(args.sweep)
    word = store.replay().word
    if word is not None:
        raise UsageError(f"sweep {args.sweep} is {word}: `slurmsweep resume {args.sweep}` takes it up again")
    wishes, wish = what_to_learn(wishes_of(args), args.canaries)
    check_wishes(backend, wishes, store.manifest.config)
    store = ready_to_run(store, args.function)
    recover_submissions(store)
    if wish:
        return _start_in_waves(store, wishes, wish, args, Handing())
    return start_agents(store, backend, wishes, args, args.count, Handing())


def _show_script(args: argparse.Namespace) -> int:
    """The batch script of the array that ``submit`` would hand to Slurm; its name carries a token made for each."""
    from slurmsweep.control.function import ready_to_run

    store = ready_to_run(SweepStore.open(args.sweep), args.function, keep=False)
    tasks = start.agents_wanted(store, store.replay(), args.count)
    if tasks == 0:
        note("nothing to start: every trial has been claimed")
        if args.json:
            print_json({"sweep": store.manifest.sweep_id, "trials": 0, "sbatch": None})
        return 0
    request = array_request(store, tasks, wishes_of(args))
    if args.json:
        print_json({"sweep": store.manifest.sweep_id, "trials": tasks, "sbatch": executor.render(request)})
    else:
        print(executor.render(request))
    return 0


def read_draft(source: str, function: str | None = None, *, strict: bool) -> Draft:
    """Read a sweep file for its program or a ``function``; warnings go to stderr, or with ``strict`` are errors."""
    draft = creating.read_draft(source, function)
    if strict and draft.warnings:
        raise SweepFileError(source, list(draft.warnings))
    for warning in draft.warnings:
        note(f"{source}: {warning}")
    return draft


def _create(draft: Draft, *, shared: bool = False) -> SweepStore:
    store = creating.create(draft, shared=shared)
    note(f"sweep {store.manifest.sweep_id} in {store.layout.folder}")
    return store


def check_wishes(backend: Backend, wishes: SubmitOptions, config: SweepConfig) -> None:
    """Refuse wrong options before anything is made or given back."""
    if backend is Backend.SLURM:
        job_options(wishes, config)


def _take_up_again(store: SweepStore, backend: Backend) -> Handing:
    """What crashed or was interrupted goes on; failed trials are left to resubmit.

    Local agents find what is given back; Slurm is asked first, and where it refuses the sweep is what it was.
    """
    from slurmsweep.control.reconcile import give_back, may_run_again

    settle(store)
    if backend is Backend.LOCAL:
        give_back(store, _was_cut_off, why="run")
        return Handing()
    again = [
        AttemptId(trial.number, trial.newest + 1) for trial in may_run_again(store.replay()) if _was_cut_off(trial)
    ]
    return Handing(again=tuple(again), takes_up=True, command="run")


def _was_cut_off(trial: Trial) -> bool:
    return trial.state is not TrialState.FAILED


def settle(store: SweepStore) -> None:
    """Bring the journal up to date and say what nobody can tell."""
    from slurmsweep.control.reconcile import reconcile

    recover_submissions(store)
    for attempt_id, reason in reconcile(store).unknown.items():
        note(f"trial {attempt_id.trial}, attempt {attempt_id.attempt}: left alone, it may be running ({reason})")


def start_agents(  # noqa: PLR0913, PLR0917 - what a command line says
    store: SweepStore,
    backend: Backend,
    wishes: SubmitOptions,
    args: argparse.Namespace,
    count: int | None,
    handing: Handing,
) -> int:
    """Start agents and, where that was asked for, wait and show the results; the exit code.

    Args:
        store: of the sweep.
        backend: where they run.
        wishes: what their jobs ask for.
        args: of the command line.
        count: of agents, those for ``handing.again`` included; None for one for each trial that is open.
        handing: what goes to Slurm beside them.
    """
    snapshot, follower = look(store), Follower(store)
    wanted = start.agents_wanted(store, snapshot.view, count, snapshot.queued)
    wanted += len(handing.again) if count is None else 0
    handing = _with_agents(handing, wishes, wanted)
    if handing.takes_up and not handing.errands:
        from slurmsweep.control.reconcile import give_back

        give_back(store, lambda _: False, why="run")  # jobs that wait already find the sweep running
    handed = SubmitResult(())
    if wanted == 0 and not handing.errands and not args.mend:
        waiting = f"{snapshot.queued} jobs wait in Slurm" if snapshot.queued else "every trial has been claimed"
        note(f"nothing to start: {waiting}")
    elif backend is Backend.LOCAL:
        wanted = start.no_more_than_open(store, snapshot.view, wanted)
        _run_here(store, wanted, args.jobs or start.default_jobs())
    else:
        handed = submit_and_say(store, handing, wishes, args, follower)
        wanted = handed.trials + (handed.kept_back if args.mend else 0)
    if not args.wait:
        if args.json:
            print_json(handing_document(store, handed, mends_itself=args.mend))
        return 0
    expected = snapshot.view.counts().get(TrialState.FINISHED, 0) + wanted
    return _show_result(store, follower.refresh(), args, expected)


def _with_agents(handing: Handing, wishes: SubmitOptions, wanted: int) -> Handing:
    """Agents that take whatever is open come last."""
    if not wanted:
        return handing
    return handing._replace(errands=(*handing.errands, JobBatch(wishes, wanted, again=handing.again[:wanted])))


def _start_in_waves(
    store: SweepStore, wishes: SubmitOptions, wish: AutoSizing, args: argparse.Namespace, handing: Handing
) -> int:
    """The same where time or memory is learnt on the way."""
    before, follower = store.replay().counts().get(TrialState.FINISHED, 0), Follower(store)
    told = submit_waves_and_say(store, wishes, wish, args, handing, follower)
    if args.wait:
        return _show_result(store, follower.refresh(), args, before + told.trials) or int(told.is_stuck)
    if args.json:
        print_json(handing_document(store, SubmitResult(()), mends_itself=args.mend) | told.document)
    return int(told.is_stuck)


def _run_here(store: SweepStore, wanted: int, jobs: int) -> None:
    from slurmsweep.backends.local import run_local

    try:
        with progress(wanted, store.replay().counts()) as show:
            run_local(store, wanted, jobs, lambda view: show(view.counts()))
    except KeyboardInterrupt:
        note(f"stopped; `slurmsweep run {store.manifest.sweep_id}` goes on where it was")
        raise


def _show_result(store: SweepStore, view: SweepView, args: argparse.Namespace, expected: int) -> int:
    """The table of results and the best trial; 1 unless as many trials finished as were ``expected``."""
    from slurmsweep.control.live_metrics import with_metric_so_far

    summary, snapshot = view_of(store, view)
    if args.json:
        print_json(status_document(summary, snapshot.jobs))
    else:
        shown = summary.ranked(_RESULT_ROWS) or with_metric_so_far(store, summary, summary.trials(limit=_RESULT_ROWS))
        print(tables.trials_table(shown, summary.manifest.config))
        print(tables.status_text(summary, snapshot.jobs))
    note_stray_output(store, snapshot.view)
    if snapshot.view.submissions:
        from slurmsweep.cli.efficiency import note_efficiency

        note_efficiency(store, snapshot)
    counts = summary.counts()
    unfinished = {state: n for state, n in counts.items() if n and state is not TrialState.FINISHED}
    if counts[TrialState.FINISHED] >= expected:
        return 0
    words = ", ".join(f"{n} {state}" for state, n in unfinished.items())
    sweep = store.manifest.sweep_id
    note(f"{words}: `slurmsweep trials {sweep}` shows why, `slurmsweep resubmit {sweep}` runs them again")
    return 1


def wishes_of(args: argparse.Namespace) -> SubmitOptions:
    """What the command line asks of Slurm. Raises UsageError."""
    return SubmitOptions(args.template, options_of(args), args.width)


def options_of(args: argparse.Namespace) -> dict[str, str]:
    """The sbatch options of the command line, by name. Raises UsageError."""
    options = {name: getattr(args, name.replace("-", "_"), None) for name in [*RESOURCES, "nice"]}
    named = {name: value for name, value in options.items() if value is not None}
    return named | dict(pair(text, "--sbatch") for text in args.sbatch)


def _is_sweep(text: str) -> bool:
    """Whether the argument of ``run`` is a sweep and not a sweep file."""
    return not os.path.isfile(text) and not text.endswith((".yaml", ".yml", ".json"))
