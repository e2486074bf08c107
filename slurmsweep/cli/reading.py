"""Commands that read: status, trials, logs, best, check, ls. None of them writes, but check --repair."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

from slurmsweep.control.snapshot import Snapshot, look, look_without_slurm, stray_output
from slurmsweep.errors import NotFoundError, SchedulerUnavailableError, StateUnreadableError, UsageError
from slurmsweep.report import tables
from slurmsweep.report.summary import SweepSummary, status_document
from slurmsweep.report.terminal import printable_lines, printable_log
from slurmsweep.state import paths as layout
from slurmsweep.state import view_cache as foldcache
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    import argparse

    from slurmsweep.state.replay import SweepView
    from slurmsweep.supervisor.status import SupervisorStatus

_TABLE_LIMIT = 100


def status(args: argparse.Namespace) -> int:
    """State, counts, jobs, best trial; of a sweep of W&B's own what Slurm says of its jobs."""
    from slurmsweep.backends.wandb_hosted.folder import is_meant

    if is_meant(args.sweep, args.entity, args.project):
        from slurmsweep.cli.clouding import status as cloud_status

        return cloud_status(args)
    from slurmsweep.supervisor.status import attendance

    summary, snapshot = open_view(args.sweep)
    store = SweepStore.open(args.sweep)
    who = attendance(store)
    if args.json:
        print_json(status_document(summary, snapshot.jobs) | {"mending": who._asdict() if who else None})
    else:
        print(tables.status_text(summary, snapshot.jobs))
        if who:
            print(f"  mending {_attendance_words(who, args.sweep)}")
        note_stray_output(store, snapshot.view)
    return 0


def _attendance_words(who: SupervisorStatus, sweep: str) -> str:
    """Who looks after a sweep that mends itself, and what to do where nobody does."""
    rounds = f"{who.rounds} rounds"
    trouble = f"; the last round had trouble: {who.trouble}" if who.trouble else ""
    if who.is_over:
        return f"done after {rounds}: {who.report}{trouble}"
    if who.supervisors is None:
        return f"{rounds} so far; Slurm could not be asked for its supervisor{trouble}"
    if not who.supervisors:
        return f"{rounds}, and NO supervisor is left: `slurmsweep mend {sweep}` starts it again{trouble}"
    return f"{rounds} so far, supervised by job {' and '.join(who.supervisors)}{trouble}"


def trials(args: argparse.Namespace) -> int:
    """One row a trial."""
    from slurmsweep.control.live_metrics import with_metric_so_far

    wanted = trial_states(args.state)
    summary, _ = open_view(args.sweep)
    limit = args.limit or (None if args.json else _TABLE_LIMIT)
    chosen = with_metric_so_far(SweepStore.open(args.sweep), summary, summary.trials(limit, wanted))
    if args.json:
        print_json([trial.to_json() for trial in chosen])
        return 0
    print(tables.trials_table(chosen, summary.manifest.config))
    total = summary.manifest.trials
    if not wanted and total is not None and len(chosen) < total:
        note(f"the first {len(chosen)} of {total} trials; --limit shows more")
    return 0


def logs(args: argparse.Namespace) -> int:
    """The log of one attempt, as it is."""
    store = SweepStore.open(args.sweep)
    trial = foldcache.read(store).trials.get(args.trial)
    total = store.manifest.trials
    if total is not None and args.trial >= total:
        raise NotFoundError(f"sweep {args.sweep} has trials 0 to {total - 1}: there is no trial {args.trial}")
    attempt = args.attempt or (trial.current.number if trial and trial.current else 0)
    path = store.layout.log(AttemptId(args.trial, attempt))
    if trial is None or not os.path.isfile(path):
        raise NotFoundError(f"trial {args.trial} has no log{f' of attempt {attempt}' if attempt else ''} yet")
    if args.path:
        print(path)
        return 0
    _print_log(path)
    return 0


def _print_log(path: str) -> None:
    """As it is; on a terminal without what a terminal would act upon, but for colours."""
    if sys.stdout.isatty():
        with open(path, encoding="utf-8", errors="replace", newline="") as text:
            for line in text:
                sys.stdout.write(printable_log(line))
        return
    sys.stdout.flush()
    with open(path, "rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)


def best(args: argparse.Namespace) -> int:
    """The best finished trials."""
    summary, _ = open_view(args.sweep)
    if args.pareto:
        return _show_front(summary, args)
    config, top = summary.manifest.config, args.top or 1
    if config.metric is None:
        raise UsageError("the sweep file names no metric, so no trial is best: add `metric: {name: ..., goal: ...}`")
    ranked = summary.ranked(top)
    if args.json:
        documents = [trial.to_json() for trial in ranked]
        print_json(documents if top > 1 else (documents[0] if documents else None))
        return 0
    if ranked:
        print(tables.trials_table(ranked, config))
    else:
        note(f"no finished trial has a value of {config.metric.name!r} yet")
    for words in tables.unmeasured_words(summary.unmeasured(of_metric=True)):
        note(words)
    return 0


def _show_front(summary: SweepSummary, args: argparse.Namespace) -> int:
    """The finished trials that no other one beats in all metrics of the Pareto view."""
    config = summary.manifest.config
    if not config.extensions.pareto:
        raise UsageError(
            "the sweep file does not say which metrics to weigh against each other: add, for example, "
            "`slurmsweep: {pareto: {accuracy: maximize, latency: minimize}}`, and create the sweep with it "
            f"(`slurmsweep create FILE --prior {summary.manifest.sweep_id}` keeps what a grid has finished)"
        )
    front = summary.front()
    shown = front.trials[: args.top]
    if args.json:
        print_json([trial.to_json() for trial in shown])
    elif shown:
        print(tables.trials_table(shown, config))
    names = " and ".join(repr(objective.name) for objective in config.extensions.pareto)
    if not front.trials:
        note(f"no finished trial has all of {names} yet")
    elif front.left_out:
        note(f"{front.left_out} finished trials lack one of {names} and are left out")
    if front.left_out:
        for words in tables.unmeasured_words(summary.unmeasured()):
            note(words)
    if len(shown) < len(front.trials):
        note(f"the first {len(shown)} of {len(front.trials)} trials, by {config.extensions.pareto[0].name!r}")
    return 0


def check(args: argparse.Namespace) -> int:
    """Prove that journal and folders agree; with ``--repair``, make them."""
    from slurmsweep.state.check import check as check_state

    store = SweepStore.open(args.sweep)
    if args.repair and not _is_sound(store):
        from slurmsweep.state.repair import rebuild

        done = rebuild(store)
        note(
            f"journal rebuilt: {done.records} records kept; from the trials' folders {done.claims} claims and "
            f"{done.outcomes} outcomes, and {done.voided} attempts that were never started"
        )
        if done.kept:
            note(f"the old one is {done.kept}")
    report = check_state(store)
    if args.json:
        findings = [{"subject": f.subject, "problem": f.problem, "remedy": f.remedy} for f in report.findings]
        print_json({"ok": not findings, "trials": report.trials, "attempts": report.attempts, "findings": findings})
    elif report.findings:
        print("\n".join(str(finding) for finding in report.findings))
    else:
        print(f"{report.trials} trials, {report.attempts} attempts: every trial once, none lost, none doubled")
    return 1 if report.findings else 0


def _is_sound(store: SweepStore) -> bool:
    """Whether there is nothing to repair; a journal that cannot be read at all is not sound."""
    from slurmsweep.state.check import check as check_state

    try:
        return not check_state(store).findings
    except StateUnreadableError:
        return False


def ls(args: argparse.Namespace) -> int:
    """One row a sweep."""
    root = layout.root_folder()
    rows = [_sweep_row(sweep_id) for sweep_id in layout.sweep_ids(root)]
    if args.json:
        print_json(rows)
    elif rows:
        print(tables.sweeps_table(rows))
    else:
        note(f"no sweeps in {os.path.join(root, 'wandb')}")
    return 0


def open_view(name: str) -> tuple[SweepSummary, Snapshot]:
    """A sweep by its name, as :func:`view_of`."""
    store = SweepStore.open(name)
    return view_of(store, foldcache.read(store))


def view_of(store: SweepStore, view: SweepView) -> tuple[SweepSummary, Snapshot]:
    """A sweep as it is now; where Slurm cannot be asked, as its journal says, with a note on stderr."""
    try:
        snapshot = look(store, view)
    except SchedulerUnavailableError as error:
        note(f"{error}; trials that run or ended unseen are shown as the journal last knew them")
        snapshot = look_without_slurm(store, view)
    return SweepSummary(store.layout, store.manifest, snapshot.view, snapshot.ended), snapshot


def note_stray_output(store: SweepStore, view: SweepView) -> None:
    """Say where jobs that never got to a trial left their words."""
    stray = stray_output(store, view)
    if stray:
        note(f"{len(stray)} jobs ended, or run, without a trial; the last one's output is in {stray[-1]}")


def print_json(document: Any) -> None:
    """One document on stdout. NaN and infinity, which JSON has no words for, stay Python's."""
    print(json.dumps(document, indent=1))


def note(message: str) -> None:
    """A line for people, on stderr."""
    print(f"slurmsweep: {printable_lines(message)}", file=sys.stderr, flush=True)


def _sweep_row(sweep_id: str) -> dict[str, Any]:
    store = SweepStore.open(sweep_id)
    summary = SweepSummary(store.layout, store.manifest, foldcache.read(store), {})
    counts = summary.counts()
    return {
        "id": sweep_id,
        "name": store.manifest.config.name or "",
        "state": summary.state().value,
        "method": store.manifest.config.method,
        "trials": store.manifest.trials if store.manifest.trials is not None else "",
        "finished": counts[TrialState.FINISHED],
        "source": store.manifest.source,
    }


def trial_states(words: list[str] | None) -> set[TrialState]:
    """The states that ``--state`` names; none where it was not given. Raises UsageError for a word that is none."""
    known = {state.value for state in TrialState}
    for word in words or []:
        if word not in known:
            raise UsageError(f"--state {word}: not a state of trials; there are {', '.join(sorted(known))}")
    return {TrialState(word) for word in words or []}
