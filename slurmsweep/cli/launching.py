"""What the commands that start trials share: their options as values, and how their results are shown."""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING, Any

from slurmsweep.agents.notices import words_of
from slurmsweep.cli import options
from slurmsweep.cli.naming import sweep_of
from slurmsweep.cli.output import note, print_json, print_table, print_text
from slurmsweep.cli.sweeps import note_stray_jobs, summarize
from slurmsweep.control.failures.groups import failure_groups, with_errors
from slurmsweep.control.round.auto_resources import what_to_learn
from slurmsweep.errors import UsageError
from slurmsweep.report import tables
from slurmsweep.report.figures import counted
from slurmsweep.report.summary import status_document
from slurmsweep.report.terminal import printable_text, width
from slurmsweep.report.trials_table import trials_table
from slurmsweep.state.lifecycle import Standing, TrialState
from slurmsweep.state.naming import LAST

if TYPE_CHECKING:
    import argparse

    from slurmsweep.api.sweep import Sweep
    from slurmsweep.cli.events import EventPrinter
    from slurmsweep.control.launch.result import LaunchResult
    from slurmsweep.control.session import Session
    from slurmsweep.control.snapshot import Snapshot
    from slurmsweep.report.summary import SweepSummary

#: Rows of the table that a run ends with, and how many of them tell of trials that did not finish.
_RESULT_ROWS, _UNFINISHED_ROWS = 20, 5

#: What a sweep is after an order that leaves trials open.
_ORDERED = (Standing.PAUSED, Standing.STOPPED, Standing.CANCELED)


def asked_for(args: argparse.Namespace, **rules: float | None) -> dict[str, Any]:
    """Return the arguments that all calls which start trials share, ``rules`` being the supervisor's retry policy.

    Raises:
        UsageError: an option is wrong, or is for what is not learnt.
    """
    wish, sizing = what_to_learn(options.wish_of(args), getattr(args, "canaries", None))
    if args.notify is not None:
        words_of(args.notify)
    if args.mend_sbatch and not args.mend:
        raise UsageError("--mend-sbatch stands with --mend: without it there is no supervisor's job")
    return {
        "wish": wish,
        "sizing": sizing,
        "supervisor": options.supervisor_of(args, wish, rules) if args.mend else None,
        "wait": args.wait,
        "max_fails": args.max_fails,
        "notify": args.notify,
        "dry_run": args.dry_run,
    }


def awaited(args: argparse.Namespace) -> list[str]:
    """Return the sweeps and jobs of ``--after``; ``last`` is the newest sweep before this command makes another."""
    return [sweep_of(word) if word == LAST else word for word in args.after]


def opened(args: argparse.Namespace, name: str, events: EventPrinter) -> Sweep:
    """Return a sweep to start trials of; what the command line changes of it is changed when nothing is refused."""
    from slurmsweep.api.sweep import Sweep  # loads submitit

    named = {"function": args.function, "workdir": args.workdir}
    sweep = Sweep(name, backend=args.backend, tell=events, keep=False, **named)
    sweep.at_start(shared=getattr(args, "shared", "off"))
    return sweep


def finish(  # noqa: PLR0913 - what a command line says
    sweep: Sweep,
    result: LaunchResult,
    events: EventPrinter,
    *,
    waited: bool,
    as_json: bool,
    count: int | None = None,
) -> int:
    """Print what came of a launch; return the exit code.

    It is 1 where a trial that was waited for did not finish, or one that was asked for was not started.
    """
    code = int(result.is_stuck or not result.headline.is_met)
    if result.is_stuck and (as_json or not waited):  # else the status below says it
        note(f"`slurmsweep trials {sweep.id}` shows why; `slurmsweep resubmit {sweep.id}` runs them again once mended")
    elif result.later:
        again = "the same command again" if count is None else f"the same command with --count {result.later}"
        again = "the supervisor" if result.has_supervisor else again
        note(
            f"{counted(result.later, 'trial is', 'trials are')} left: when these have ended, {again} submits "
            "them with what was learnt"
        )
    if waited:
        return _show_result(sweep, result.expected, as_json=as_json) or code
    if as_json:
        print_json(_document(sweep, result, events))
    return code


def _document(sweep: Sweep, result: LaunchResult, events: EventPrinter) -> dict[str, Any]:
    """Return the document of a command that does not wait for the end."""
    wave, submitted = result.plan.wave, result.submitted
    arrays: list[dict[str, Any]] = [
        {"job": e.array.job, "jobs": e.array.tasks, "trials": e.array.trials}
        | ({"minutes": e.minutes, "mib": e.mib} if wave else {})
        for e in events.submitted
    ]
    learnt = {"step": wave.step.name.lower(), "left": wave.left, "reasons": events.reasons} if wave else {}
    return {
        "sweep": sweep.id,
        "folder": sweep.session.store.layout.folder,
        "trials": submitted.trials,
        "arrays": arrays,
        "kept_back": submitted.kept_back,
        "why": submitted.why,
        "mends_itself": result.has_supervisor,
        **learnt,
    }


def _show_result(sweep: Sweep, expected: int, *, as_json: bool) -> int:
    """Print the table of results and the best trial; return 1 unless as many trials are done as were expected.

    A sweep that reached its target counts as done. So does one that a person paused or ended meanwhile, where no trial
    failed by itself.
    """
    session = sweep.session
    summary, snapshot = summarize(session)
    if as_json:
        print_json(status_document(summary, failure_groups(summary)))
    else:
        _print_results(session, summary)
        print_text(tables.status_text(summary, failure_groups(summary), sweep.id))
    note_stray_jobs(session, snapshot)
    if snapshot.view.submissions:
        _note_efficiency(session, snapshot)
    counts, early = summary.counts(), summary.stopped_early()
    if counts[TrialState.FINISHED] + early >= expected or snapshot.view.reached:
        return 0
    unfinished = counts | {TrialState.FINISHED: 0, TrialState.KILLED: counts[TrialState.KILLED] - early}
    ended = {state: n for state, n in unfinished.items() if n and state.can_retry}
    words = ", ".join(f"{n} {state}" for state, n in (ended or unfinished).items() if n)
    if summary.state() in _ORDERED and not ended.keys() - {TrialState.KILLED}:
        note(f"the sweep is {summary.state_words()}, as was ordered meanwhile: {words}")
        return 0
    again = f"`slurmsweep logs {sweep.id} --failed` shows why, `slurmsweep resubmit {sweep.id}` runs them again"
    if as_json or not ended:  # else the status above has said why, and what is next
        note(f"{words}: {again if ended else f'`slurmsweep status {sweep.id}` says how to go on'}")
    return 1


def _print_results(session: Session, summary: SweepSummary) -> None:
    """Print the best trials and some that did not finish, or the first ones; say it where these are not all."""
    from slurmsweep.control.views.metrics_so_far import with_metric_so_far

    config, counts = summary.manifest.config, summary.counts()
    if config.extensions.repeats:
        points = summary.ranked(_RESULT_ROWS) or list(summary.points(_RESULT_ROWS))
        print_table(trials_table(points, config, width()))
        note(f"`slurmsweep trials {summary.manifest.sweep_id}` has all points, and with --repeats each run of them")
        return
    told = list(islice(summary.unfinished(), _UNFINISHED_ROWS))
    best = summary.ranked(_RESULT_ROWS - len(told))
    shown = best + told if best else with_metric_so_far(session.store, summary, summary.trials(_RESULT_ROWS))
    print_table(trials_table(with_errors(shown), config, width()))
    if len(shown) < sum(counts.values()):
        failures = summary.unfinished_count()
        which = f"the {len(best)} best" if best else "the first"
        which += f" and {len(told)} of {failures} that did not finish" if best and failures else ""
        all_of_them = f"`slurmsweep trials {summary.manifest.sweep_id}` has all"
        note(f"{len(shown)} of {sum(counts.values())} trials are shown, {which}: {all_of_them}")


def _note_efficiency(session: Session, snapshot: Snapshot) -> None:
    """Print one line about a run on Slurm that has ended, from what agents recorded: accounting would lag."""
    from slurmsweep.report.efficiency import one_line
    from slurmsweep.sizing.efficiency import efficiency_document
    from slurmsweep.sizing.usage import Ledger
    from slurmsweep.sizing.walltime import NO_BOUNDS

    ledger = Ledger(
        snapshot.view, snapshot.ended, {}, session.scheduler.asked, documents=session.submissions, here=session.here
    )
    line = one_line(efficiency_document(session.store.manifest, session.view, ledger, NO_BOUNDS))
    if line:
        note(f"{line}: `slurmsweep efficiency {session.store.manifest.sweep_id}`")


def show_plan(sweep: Sweep, result: LaunchResult, *, as_json: bool) -> int:
    """Print the plan that the same command would apply without ``--dry-run``: its batch scripts, or a document."""
    scripts = [sweep.preview(batch) for batch in result.plan.batches]
    shown = [printable_text(script) for script in scripts] if sys.stdout.isatty() else scripts
    if as_json:
        document = {"sweep": sweep.id, "trials": result.plan.trials, "sbatch": scripts[0] if scripts else None}
        print_json(document | result.plan.to_json() | {"scripts": scripts})
    else:
        print_text("".join(script if script.endswith("\n") else f"{script}\n" for script in shown), end="")
        if scripts:
            note(f"{counted(result.plan.trials, 'trial')} would start")
    return int(result.is_stuck or not result.headline.is_met)
