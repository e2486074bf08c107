"""The point that a new sweep takes from a trial of another one: as constants, once, when it is made.

So the sweep is the same whatever becomes of the other one, which may be removed.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from slurmsweep.control.session import Session
from slurmsweep.control.snapshot import look, look_without_scheduler
from slurmsweep.errors import NotFoundError, SchedulerUnavailableError, StateError, UsageError
from slurmsweep.report.figures import counted
from slurmsweep.report.summary import SweepSummary
from slurmsweep.search.flat import found
from slurmsweep.state.lifecycle import Standing
from slurmsweep.state.naming import meant
from slurmsweep.sweepfile.config import Examined, examine
from slurmsweep.sweepfile.findings import suggest
from slurmsweep.sweepfile.space import leaves

if TYPE_CHECKING:
    from slurmsweep.report.summary import TrialRow
    from slurmsweep.sweepfile.base import Base
    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.findings import Path
    from slurmsweep.sweepfile.space import Names

_PATH: Path = ("slurmsweep", "base")


class _BaseError(Exception):
    """What is wrong with the base: the key, the problem and what would be right."""

    def __init__(self, key: str, problem: str, hint: str = "") -> None:
        super().__init__(problem)
        self.key, self.problem, self.hint = key, problem, hint


def with_base(examined: Examined, base: Base) -> Examined:
    """Return the examined sweep file with the values of the base's trial as constants.

    Mistakes are among its findings: there is no such sweep or trial, it has no result yet, or names clash.
    """
    own = set(_paths(examined.config)) if examined.config else set()
    document = copy.deepcopy(examined.config.document) if examined.config else {}
    parameters = document.setdefault("parameters", {})
    if not isinstance(parameters, dict):
        return examined
    try:
        session = Session.open(meant(base.sweep))
        row, summary = _trial(session, base)
        taken = {
            path: value for path, value in _taken(summary, row, base, own).items() if not _is_wrong(path, parameters)
        }
    except (NotFoundError, UsageError, StateError) as error:
        examined.findings.error((*_PATH, "sweep"), str(error))  # it says what to do
        return examined
    except _BaseError as error:
        examined.findings.error((*_PATH, error.key), error.problem, error.hint)
        return examined
    for path, value in taken.items():
        form = parameters
        for name in path[:-1]:
            form = form.setdefault(name, {"parameters": {}})["parameters"]
        form[path[-1]] = {"value": value}
    metric = summary.manifest.config.metric
    measured = {} if metric is None or row.metric is None else {"metric": metric.name, "value": row.metric}
    names = [".".join(path) for path in taken]
    found = {"sweep": summary.manifest.sweep_id, "trial": row.number, **measured, "parameters": names}
    document["slurmsweep"]["base"]["found"] = found
    again = examine(document, examined.source, examined.findings.lines)
    left = session.open_trials()
    if base.trial is None and left:
        some = counted(
            left, f"trial of sweep {summary.manifest.sweep_id}", f"trials of sweep {summary.manifest.sweep_id}"
        )
        problem = f"{some} did not run: the best of the others is taken"
        again.findings.warn((*_PATH, "trial"), problem)
    return again


def _trial(session: Session, base: Base) -> tuple[TrialRow, SweepSummary]:
    """Return the trial that the base names, which has ended well, and its sweep. Raises _BaseError."""
    store, sweep = session.store, session.store.manifest.sweep_id
    session.refresh()
    try:
        snapshot = look(session)
        jobs: dict[str, int] | None = snapshot.jobs
    except SchedulerUnavailableError:
        snapshot, jobs = look_without_scheduler(session), None
    summary = SweepSummary(store.layout, store.manifest, snapshot.view, snapshot.ended, jobs)
    if base.trial is not None:
        row = summary.trial(base.trial) if base.trial in snapshot.view.trials else None
        if row is None or row.state_words not in {"finished", "stopped early"}:
            what = f"is {row.state_words}" if row else "was not run"
            raise _BaseError("trial", f"trial {base.trial} of sweep {sweep} {what}", "name one that finished")
        return row, summary
    metric = store.manifest.config.metric
    if metric is None:
        raise _BaseError("trial", f"sweep {sweep} has no metric, so no trial is best", "name a trial by its number")
    if summary.state() is Standing.RUNNING:
        hint = "make this sweep when that one has ended, or name a trial by its number"
        raise _BaseError("trial", f"sweep {sweep} still runs, so its best trial is not known yet", hint)
    best = summary.best()
    if best is None:
        problem = f"no finished trial of sweep {sweep} has a value of {metric.name!r}"
        raise _BaseError("trial", problem, "run it first, or name a trial by its number")
    return best, summary


def _taken(summary: SweepSummary, row: TrialRow, base: Base, own: set[Names]) -> dict[Names, Any]:
    """Return what the new sweep takes of the point, by path: what it does not have itself. Raises _BaseError."""
    # a trial need not have all parameters of its sweep
    there = found(row.params, _paths(summary.manifest.config))
    paths = {".".join(path): path for path in there}
    unknown = next((name for name in base.parameters if name not in paths), None)
    if unknown is not None:
        problem = f"trial {row.number} of sweep {summary.manifest.sweep_id} has no parameter {unknown!r}"
        raise _BaseError("parameters", problem, suggest(unknown, paths))
    taken = {paths[name]: there[paths[name]] for name in base.parameters or paths}
    taken = {path: value for path, value in taken.items() if path not in own}
    for path in taken:
        # one is a mapping that holds the other, or both are written alike
        alike = (o for o in own if all(a == b for a, b in zip(path, o, strict=False)) or ".".join(path) == ".".join(o))
        clash = next(alike, None)
        if clash:
            pair = [repr(".".join(one)) + (" (nested)" if len(one) > 1 else "") for one in (path, clash)]
            problem = f"its parameter {pair[0]} and the file's {pair[1]} cannot both be there"
            raise _BaseError("sweep", problem, "rename one, or name the parameters to take: parameters: [...]")
    return taken


def _paths(config: SweepConfig) -> list[Names]:
    """Return the paths of all parameters, also of those that are computed."""
    return [*(path for path, _ in leaves(config.parameters)), *(one.path for one in config.extensions.computed)]


def _is_wrong(path: Names, forms: Any) -> bool:
    """Return whether the file writes a parameter in no right form, or a mapping of it: its mistake is told then."""
    for name in path:
        if not isinstance(forms, dict):
            return True
        if name not in forms:
            return False
        forms = forms[name].get("parameters") if isinstance(forms[name], dict) else None
    return True
