"""Plan a sweep file: points, commands, batch script, cost. Writes nothing."""

from __future__ import annotations

import os
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING, Any

from slurmsweep import search
from slurmsweep.backends import registry
from slurmsweep.backends.base import JobSource, StartEstimate
from slurmsweep.control.batch import with_resources
from slurmsweep.control.create import manifest_of
from slurmsweep.control.defaults import filled, rows_of
from slurmsweep.control.forecast import forecast
from slurmsweep.errors import SchedulerUnavailableError
from slurmsweep.state.paths import NO_ID, Layout, root_folder, sweep_folder
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import AttemptId
from slurmsweep.sweepfile import command
from slurmsweep.sweepfile.secrets import without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable

    from slurmsweep.backends.base import SubmitOptions
    from slurmsweep.control.create import Draft


def plan_sweep(
    draft: Draft, options: SubmitOptions, count: int | None, limit: int, note: Callable[[str], None]
) -> dict[str, Any]:
    """Return the document of ``plan --json``, without a canary.

    Args:
        draft: the sweep file.
        options: of the jobs, without ``auto``.
        count: trials to run; None for all, and one where the search has no end.
        limit: trials that are shown at most.
        note: takes a line for people: a wish of the environment that counts, or that Slurm does not answer; the plan
            does without it then.

    Raises:
        UsageError: an option is wrong.
    """
    total = search.run_count(draft.config)
    trials = count or total or 1
    layout = Layout(sweep_folder(root_folder(), NO_ID))
    source, slurm = JobSource.of(SweepStore(layout, manifest_of(draft, NO_ID))), registry.scheduler()
    options = filled(options, source.defaults, slurm)
    rungs = _rungs(draft, trials, slurm.asked(slurm.options(options, source)).time)
    if rungs:
        options = with_resources(options, rungs[0]["minutes"], None)
    request = slurm.request(source, trials, options)
    for line in slurm.inherited(request.options):
        note(line)
    try:
        estimate = slurm.estimate(request)
    except SchedulerUnavailableError as error:
        note(f"{error}; the plan does without it")
        estimate = StartEstimate((request.tasks,))
    asked = slurm.asked(request.options)
    expected = forecast(request, asked, estimate)
    if rungs and asked.time is not None:
        minutes = sum(rung["trials"] * rung["minutes"] for rung in rungs)
        expected = replace(expected, core_hours=round(minutes * (asked.cpus or 1) / 60, 3))
    # the points of a bayes search depend on results
    shown = min(n for n in (limit, total, count) if n is not None) if draft.config.method != "bayes" else 0
    called = draft.function.called_by(draft.config) if draft.function else draft.config
    # of a variable that only jobs have its macro is shown
    macros = {name: f"${{envvar:{name}}}" for _, name in command.environment_variables(called.command)}
    program, environ, rows = called.program or "<program>", macros | without_secrets(os.environ), []
    for number in range(shown):
        params = search.parameters(called, number, NO_ID)
        json_file = layout.args_json(AttemptId(number, 1))
        argv = command.build_argv(
            called.command, program, params, environ=environ, json_file=json_file, hydra=bool(called.extensions.hydra)
        )
        rows.append({"number": number, "params": params, "argv": argv})
    return {
        "method": draft.config.method,
        "expected_run_count": total,
        "workdir": draft.workdir,
        "trials": rows,
        **({"rungs": rungs} if rungs else {}),
        "sbatch": slurm.preview(replace(request, tasks=expected.arrays[0])),
        "forecast": expected.to_json(),
        "defaults": rows_of(source.defaults),
        "warnings": [str(warning) for warning in (*draft.warnings, *draft.doubts)],
    }


def _rungs(draft: Draft, trials: int, whole: float | None) -> list[dict[str, Any]]:
    """Return for each rung of the sweep its steps, about how many trials run to it, and the limit of their jobs."""
    rungs = draft.config.extensions.rungs
    if rungs is None:
        return []
    from slurmsweep.search.rungs import minutes_of

    found = []
    for rung, steps in enumerate(rungs.steps):
        minutes = minutes_of(rungs, rung, whole)
        found.append({"steps": steps, "trials": trials, "minutes": None if minutes is None else ceil(minutes)})
        trials = rungs.places(trials)
    return found
