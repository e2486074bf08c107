"""Plan a sweep file: points, commands, batch script, cost. Writes nothing."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import count, islice
from math import ceil
from typing import TYPE_CHECKING, Any

from slurmsweep import search
from slurmsweep.backends.base import JobSource, StartEstimate
from slurmsweep.control.defaults import filled, rows_of
from slurmsweep.control.planning.forecast import forecast
from slurmsweep.control.round.batch import with_resources
from slurmsweep.errors import SchedulerUnavailableError
from slurmsweep.report.base_point import base_document
from slurmsweep.state.paths import NO_ID
from slurmsweep.state.tail import AttemptId
from slurmsweep.sweepfile import command
from slurmsweep.sweepfile.secrets import without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable

    from slurmsweep.control.creation.create import Draft
    from slurmsweep.control.round.decide import Policy
    from slurmsweep.control.session import Session
    from slurmsweep.sweepfile.extensions import Exclusion, Extensions
    from slurmsweep.sweepfile.space import Names


def plan_sweep(
    session: Session, draft: Draft, policy: Policy, limit: int, note: Callable[[str], None]
) -> dict[str, Any]:
    """Return the document of ``plan --json``, without a canary.

    Args:
        session: of the sweep that the draft would be, with the backend that would run it.
        draft: the sweep file.
        policy: the wish, without ``auto``, and how many trials to run; of None one where the search has no end.
        limit: trials that are shown at most.
        note: takes a line for people: a wish that is ignored, one of the environment that counts, or that Slurm does
            not answer; the plan does without it then.

    Raises:
        UsageError: an option is wrong.
    """
    total = search.run_count(draft.config)
    left = session.open_trials()  # but for those that another sweep has run
    repeats, runs = draft.config.extensions.repeats, draft.config.extensions.runs_each
    trials = min(policy.count or left or runs, left or policy.count or runs)
    source, backend = JobSource.of(session.store), session.backend
    options = filled(policy.wish, source.defaults, backend)
    for line in backend.check(options, source):
        note(line)
    rungs = _rungs(draft, trials, backend.asked(backend.options(options, source)).time)
    if rungs:
        options = with_resources(options, rungs[0]["minutes"], None)
    request = backend.request(source, trials, options)
    try:
        estimate = backend.estimate(request)
    except SchedulerUnavailableError as error:
        note(f"{error}; the plan does without it")
        estimate = StartEstimate((request.tasks,))
    asked = backend.asked(request.options)
    expected = forecast(request, asked, estimate)
    if rungs and asked.time is not None:
        minutes = sum(rung["trials"] * rung["minutes"] for rung in rungs)
        expected = replace(expected, core_hours=round(minutes * (asked.cpus or 1) / 60, 3))
    # the points of a bayes search depend on results
    shown = min(n for n in (limit, left, policy.count) if n is not None) if draft.config.method != "bayes" else 0
    called = draft.function.called_by(draft.config) if draft.function else draft.config
    # of a variable that only jobs have its macro is shown
    macros = {name: f"${{envvar:{name}}}" for _, name in command.environment_variables(called.command)}
    program, environ, rows = called.program or "<program>", macros | without_secrets(os.environ), []
    new = (number for number in count() if number not in session.view.trials)
    for number in islice(new, shown):
        params = search.parameters(called, number, NO_ID)
        own = session.store.layout.own_macros(AttemptId(number, 1))
        argv = command.build_argv(
            called.command, program, params, environ=environ, own=own, hydra=bool(called.extensions.hydra)
        )
        rows.append({"number": number, "params": params, "argv": argv})
    return {
        "method": draft.config.method,
        "expected_run_count": total,
        **({"runs_each": runs, "repeats": repeats.to_json()} if repeats else {}),
        "workdir": source.workdir,
        "trials": rows,
        **({"rungs": rungs} if rungs else {}),
        **({"conditional": conditional} if (conditional := _conditional(draft.config.extensions)) else {}),
        **({"base": base} if (base := base_document(draft.config)) else {}),
        **({"snapshot": draft.snapshot.to_json()} if draft.snapshot else {}),
        "backend": backend.name,
        "width": request.width,
        "sbatch": backend.preview(replace(request, tasks=expected.arrays[0])) if expected.arrays else None,
        "forecast": expected.to_json(),
        "defaults": rows_of(source.defaults),
        "warnings": [str(warning) for warning in (*draft.warnings, *draft.doubts)],
    }


def _conditional(ours: Extensions) -> list[dict[str, Any]]:
    """Return the parameters that not every trial has, and those that are computed, each with what the file says."""
    rows: list[tuple[Names, str | None, Exclusion]] = [(path, None, rule) for path, rule in ours.conditions]
    rows += [(one.path, one.expression, one.rule) for one in ours.computed]
    return [
        {"parameter": ".".join(path), "expression": text, "where": {".".join(other): list(v) for other, v in rule}}
        for path, text, rule in rows
    ]


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
