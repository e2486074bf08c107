"""The command that only looks ahead: plan."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any

from slurmsweep import search
from slurmsweep.backends.slurm import executor
from slurmsweep.cli.reading import note, print_json
from slurmsweep.cli.starting import read_draft, wishes_of
from slurmsweep.control import create as creating
from slurmsweep.control import start
from slurmsweep.control.auto_resources import what_to_learn
from slurmsweep.control.canary import CanaryUsage, run_canary
from slurmsweep.control.forecast import SlurmsWord, ask_slurm, forecast
from slurmsweep.control.submit import array_request
from slurmsweep.errors import SchedulerUnavailableError
from slurmsweep.report.terminal import printable
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.paths import Layout, root_folder, sweep_folder
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import AttemptId
from slurmsweep.sweepfile import command
from slurmsweep.sweepfile.config import AVAILABLE
from slurmsweep.sweepfile.secrets import without_secrets

if TYPE_CHECKING:
    import argparse

    from slurmsweep.backends.base import SubmitOptions
    from slurmsweep.backends.slurm.executor import ArrayRequest
    from slurmsweep.control.create import Draft

#: Trials in a plan for people, and in a JSON document, where nobody said how many.
_PLAN_LIMIT = 10
_JSON_LIMIT = 1000

#: In a plan there is no sweep yet, so its id is shown as this.
_NO_ID = "xxxxxxxx"


def plan(args: argparse.Namespace) -> int:
    """Show what would happen. Writes nothing, unless a canary is asked for."""
    draft = read_draft(args.file, args.function, strict=args.strict)
    total = search.run_count(draft.config)
    limit = args.limit or (_JSON_LIMIT if args.json and total is not None else _PLAN_LIMIT)
    wishes, wish = what_to_learn(wishes_of(args))
    if wish:
        note("what is auto is learnt from trials that go first: the plan shows what these are given")
    trials = args.count or total or 1
    request = _planned_request(draft, trials, wishes)
    expected = forecast(request, _ask(request), trials)
    document = {
        "method": draft.config.method,
        "expected_run_count": total,
        "workdir": draft.workdir,
        "trials": _planned(draft, min(n for n in (limit, total, args.count) if n is not None)),
        "sbatch": executor.render(request._replace(tasks=expected.arrays[0])),
        "forecast": expected.to_json(),
        "warnings": [str(warning) for warning in draft.warnings],
    }
    used = run_canary(draft, start.choose_backend(args.backend), wishes) if args.canary else None
    if used:
        document["canary"] = used.to_json()
    if args.json:
        print_json(document)
    else:
        print("\n".join([_plan_text(document), *(_canary_lines(used, trials) if used else [])]))
    return int(used is not None and used.state != TrialState.FINISHED)


def _ask(request: ArrayRequest) -> SlurmsWord:
    """What Slurm says; nothing where it does not answer: a plan is of use all the same."""
    try:
        return ask_slurm(request)
    except SchedulerUnavailableError as error:
        note(f"{error}; the plan does without it")
        return SlurmsWord()


def _planned(draft: Draft, limit: int) -> list[dict[str, Any]]:
    if draft.config.method not in AVAILABLE:
        return []  # its points depend on results
    return [_planned_trial(draft, number) for number in range(limit)]


def _planned_trial(draft: Draft, number: int) -> dict[str, Any]:
    called = draft.function.called_by(draft.config) if draft.function else draft.config
    program = called.program or "<program>"
    params = search.parameters(called, number, _NO_ID)
    json_file = Layout(sweep_folder(root_folder(), _NO_ID)).args_json(AttemptId(number, 1))
    environ = without_secrets(os.environ)
    argv = command.build_argv(called.command, program, params, environ=environ, json_file=json_file)
    return {"number": number, "params": params, "argv": argv}


def _planned_request(draft: Draft, trials: int, wishes: SubmitOptions) -> ArrayRequest:
    layout = Layout(sweep_folder(root_folder(), _NO_ID))
    store = SweepStore(layout, creating.manifest_of(draft, _NO_ID))
    return array_request(store, trials, wishes)


def _plan_text(document: dict[str, Any]) -> str:
    total = document["expected_run_count"]
    method = document["method"]
    lines = [f"{method} search, " + (f"{total} trials" if total is not None else "no end: give --count")]
    lines.append(f"commands run in {document['workdir']}")
    lines += [f"  {row['number']:>4}  {printable(shlex.join(row['argv']))}" for row in document["trials"]]
    if total is None or len(document["trials"]) < total:
        lines.append("  ...")
    if method == "random":
        lines.append("(random values: the sweep's id, once it has one, decides others)")
    return "\n".join([*lines, "", *_forecast_lines(document["forecast"]), "", "batch script:", document["sbatch"]])


def _canary_lines(used: CanaryUsage, trials: int) -> list[str]:
    """What the canary used, and what that means for all."""
    lines = [f"canary: {used.state}" + (f" ({used.cause})" if used.cause else "") + f", log in {used.log}"]
    if used.seconds is not None:
        memory = f", {used.max_rss_mb:.0f} MiB" if used.max_rss_mb is not None else ""
        lines.append(
            f"  it took {used.seconds:g} s{memory}, printed {used.log_bytes} bytes and made {used.files} files"
        )
        lines.append(f"  {trials} like it: {trials * used.seconds / 3600:.3g} hours one after the other")
    if used.state == TrialState.FINISHED:
        lines.append(f"  a grid keeps its point by: slurmsweep create FILE --prior {used.sweep}")
    return lines


def _forecast_lines(expected: dict[str, Any]) -> list[str]:
    count = len(expected["arrays"])
    hours = expected["core_hours"]
    cost = f"at most {hours:g} core-hours" if hours is not None else "without a time limit"
    files = f"about {expected['inodes']} files and folders (15 more a trial with the real wandb)"
    lines = [
        f"{sum(expected['arrays'])} jobs in {count} array{'s' if count > 1 else ''}, {cost}",
        f"{files}, {expected['journal_bytes'] / 1e6:.1f} MB of journal; logs: as much as the script prints",
    ]
    if expected["earliest_start"]:
        lines.append(f"one such job would start at {expected['earliest_start']} at the earliest, says Slurm now")
    if expected["refusal"]:
        lines.append(expected["refusal"])
    return lines
