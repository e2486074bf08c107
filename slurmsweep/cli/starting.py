"""The flow of ``run`` and ``submit``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from slurmsweep.backends.slurm import executor
from slurmsweep.backends.slurm.fit_limits import SubmitResult
from slurmsweep.cli.handing import Handing, check_mending, handing_document, submit_and_say, submit_waves_and_say
from slurmsweep.cli.output import note, print_json, print_text, progress
from slurmsweep.cli.sweeps import create_sweep, note_stray_output, note_unknown, read_draft, summarize
from slurmsweep.control import start
from slurmsweep.control.auto_resources import what_to_learn
from slurmsweep.control.snapshot import look
from slurmsweep.control.start import Backend
from slurmsweep.control.submit import JobBatch, array_request, job_options, recover_submissions
from slurmsweep.errors import UsageError
from slurmsweep.report import tables
from slurmsweep.report.summary import status_document
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import AttemptId
from slurmsweep.state.view_cache import Follower

if TYPE_CHECKING:
    from slurmsweep.backends.base import SubmitOptions
    from slurmsweep.cli.handing import StartOptions
    from slurmsweep.sizing.walltime import Learn
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.trial import Trial
    from slurmsweep.sweepfile.config import SweepConfig

#: Rows of the table a run ends with.
_RESULT_ROWS = 20


def run_sweep(file_or_sweep: str, start_options: StartOptions, *, strict: bool) -> int:
    """Create a sweep, or go on with one, run it, show what came out; return the exit code."""
    backend = start.choose_backend(start_options.backend)
    check_mending(start_options, backend)
    wishes, wish = what_to_learn(start_options.jobs, start_options.canaries)
    if not os.path.isfile(file_or_sweep) and not file_or_sweep.endswith((".yaml", ".yml", ".json")):
        from slurmsweep.control.function import ready_to_run

        store = SweepStore.open_to_run(file_or_sweep)
        check_wishes(backend, wishes, store.manifest.config)
        store = ready_to_run(store, start_options.function)
        handing = _take_up_again(store, backend)
    else:
        draft = read_draft(file_or_sweep, start_options.function, strict=strict)
        check_wishes(backend, wishes, draft.config)
        store, handing = create_sweep(draft), Handing()
    if wish and backend is Backend.SLURM:
        return _start_in_waves(store, wishes, wish, start_options, handing)
    return start_agents(store, backend, wishes, start_options, start_options.count, handing)


def submit(sweep: str, start_options: StartOptions) -> int:
    """Submit agents to Slurm; return the exit code."""
    from slurmsweep.control.function import ready_to_run

    backend = start.choose_backend("slurm")
    check_mending(start_options, backend)
    store = SweepStore.open_to_run(sweep)
    word = store.replay().word
    if word is not None:
        raise UsageError(f"sweep {sweep} is {word}: `slurmsweep resume {sweep}` takes it up again")
    wishes, wish = what_to_learn(start_options.jobs, start_options.canaries)
    check_wishes(backend, wishes, store.manifest.config)
    store = ready_to_run(store, start_options.function)
    recover_submissions(store)
    if wish:
        return _start_in_waves(store, wishes, wish, start_options, Handing())
    return start_agents(store, backend, wishes, start_options, start_options.count, Handing())


def show_script(sweep: str, count: int | None, jobs: SubmitOptions, function: str | None, *, as_json: bool) -> int:
    """Print the batch script that ``submit`` would hand to Slurm; its name carries a token made for each."""
    from slurmsweep.control.function import ready_to_run

    store = ready_to_run(SweepStore.open(sweep), function, keep=False)
    tasks = start.agents_wanted(store, store.replay(), count)
    if tasks == 0:
        note("nothing to start: every trial has been claimed")
        if as_json:
            print_json({"sweep": store.manifest.sweep_id, "trials": 0, "sbatch": None})
        return 0
    script = executor.render(array_request(store, tasks, jobs))
    if as_json:
        print_json({"sweep": store.manifest.sweep_id, "trials": tasks, "sbatch": script})
    else:
        print_text(script)
    return 0


def check_wishes(backend: Backend, wishes: SubmitOptions, config: SweepConfig) -> None:
    """Refuse wrong options before anything is made or given back."""
    if backend is Backend.SLURM:
        job_options(wishes, config)


def _take_up_again(store: SweepStore, backend: Backend) -> Handing:
    """Go on with what crashed or was interrupted; failed trials are left to resubmit.

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
    """Bring the journal up to date; print the attempts whose end is unknown."""
    from slurmsweep.control.reconcile import reconcile

    recover_submissions(store)
    note_unknown(reconcile(store).unknown)


def start_agents(  # noqa: PLR0913, PLR0917 - what a command line says
    store: SweepStore,
    backend: Backend,
    wishes: SubmitOptions,
    start_options: StartOptions,
    count: int | None,
    handing: Handing,
) -> int:
    """Start agents and, where that was asked for, wait and show the results; the exit code.

    Args:
        store: of the sweep.
        backend: where they run.
        wishes: what their jobs ask for.
        start_options: of the command line.
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
    if wanted == 0 and not handing.errands and not start_options.supervisor:
        waiting = f"{snapshot.queued} jobs wait in Slurm" if snapshot.queued else "every trial has been claimed"
        note(f"nothing to start: {waiting}")
    elif backend is Backend.LOCAL:
        wanted = start.no_more_than_open(store, snapshot.view, wanted)
        _run_here(store, wanted, start_options.side_by_side or start.default_jobs())
    else:
        handed = submit_and_say(store, handing, wishes, start_options, follower)
        wanted = handed.trials + (handed.kept_back if start_options.supervisor else 0)
    if not start_options.wait:
        if start_options.as_json:
            print_json(handing_document(store, handed, mends_itself=start_options.supervisor is not None))
        return 0
    expected = snapshot.view.counts().get(TrialState.FINISHED, 0) + wanted
    return _show_result(store, follower.refresh(), expected, as_json=start_options.as_json)


def _with_agents(handing: Handing, wishes: SubmitOptions, wanted: int) -> Handing:
    """Agents that take whatever is open come last."""
    if not wanted:
        return handing
    return handing._replace(errands=(*handing.errands, JobBatch(wishes, wanted, again=handing.again[:wanted])))


def _start_in_waves(
    store: SweepStore, wishes: SubmitOptions, wish: Learn, start_options: StartOptions, handing: Handing
) -> int:
    """Start agents where time or memory is learnt on the way; return the exit code."""
    before, follower = store.replay().counts().get(TrialState.FINISHED, 0), Follower(store)
    told = submit_waves_and_say(store, wishes, wish, start_options, handing, follower)
    if start_options.wait:
        return _show_result(store, follower.refresh(), before + told.trials, as_json=start_options.as_json) or int(
            told.is_stuck
        )
    if start_options.as_json:
        print_json(
            handing_document(store, SubmitResult(()), mends_itself=start_options.supervisor is not None) | told.document
        )
    return int(told.is_stuck)


def _run_here(store: SweepStore, wanted: int, jobs: int) -> None:
    from slurmsweep.backends.local import run_local

    try:
        with progress(wanted, store.replay()) as show:
            run_local(store, wanted, jobs, show)
    except KeyboardInterrupt:
        note(f"stopped; `slurmsweep run {store.manifest.sweep_id}` goes on where it was")
        raise


def _show_result(store: SweepStore, view: SweepView, expected: int, *, as_json: bool) -> int:
    """Print the results and the best trial; return 1 unless as many trials finished as were ``expected``."""
    from slurmsweep.control.live_metrics import with_metric_so_far

    summary, snapshot = summarize(store, view)
    if as_json:
        print_json(status_document(summary, snapshot.jobs))
    else:
        shown = summary.ranked(_RESULT_ROWS) or with_metric_so_far(store, summary, summary.trials(limit=_RESULT_ROWS))
        print_text(tables.trials_table(shown, summary.manifest.config))
        print_text(tables.status_text(summary, snapshot.jobs))
    note_stray_output(store, snapshot.view)
    if snapshot.view.submissions:
        from slurmsweep.report.efficiency import one_line
        from slurmsweep.sizing.efficiency import measure
        from slurmsweep.sizing.usage import Ledger

        # from what agents recorded: accounting would lag
        line = one_line(measure(Ledger(snapshot.view, snapshot.ended, {}).all())._asdict())
        if line:
            note(f"{line}: `slurmsweep efficiency {store.manifest.sweep_id}`")
    counts = summary.counts()
    unfinished = {state: n for state, n in counts.items() if n and state is not TrialState.FINISHED}
    if counts[TrialState.FINISHED] >= expected:
        return 0
    words = ", ".join(f"{n} {state}" for state, n in unfinished.items())
    sweep = store.manifest.sweep_id
    note(f"{words}: `slurmsweep trials {sweep}` shows why, `slurmsweep resubmit {sweep}` runs them again")
    return 1
