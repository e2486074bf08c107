"""One trial with all that is known of it, as a document and as lines for people."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from slurmsweep.errors import UsageError
from slurmsweep.learning.explanation import explanation
from slurmsweep.metrics.reported import read_summary
from slurmsweep.report.base_point import base_document, base_text
from slurmsweep.report.by_hand import NOT_SET, shell_command
from slurmsweep.report.code import copy_words, version_words
from slurmsweep.report.figures import duration, numbers_text, value_text
from slurmsweep.report.fitting import last_part, text_width
from slurmsweep.report.terminal import labelled, labelled_path, printable, width, wrapped
from slurmsweep.search.flat import flat
from slurmsweep.state import files
from slurmsweep.state.tail import AttemptId
from slurmsweep.state.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from slurmsweep.report.summary import SweepSummary
    from slurmsweep.state.journal import Journal

#: Characters of the words on the left, and of a name of a parameter or metric at most.
_LEFT, _WIDEST_NAME = 13, 40

#: Lines that begin with such a word.
_field = partial(labelled, left=_LEFT)

#: What the phases of a search that learns mean.
_PHASES = {
    "initial": "one of the first points, which are spread over the space",
    "model": "the highest expected improvement",
    "repeat": "the highest expected improvement; every point of the space has been used before",
}


def trial_document(summary: SweepSummary, journal: Journal, number: int, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the document of ``show --json``: :func:`trial_facts`, and why the search chose this point.

    Raises as :func:`trial_facts`; also StateUnreadableError: the journal cannot be read.
    """
    facts = trial_facts(summary, number, environ)
    why = explanation(summary.manifest, journal, summary.view, number)
    return facts | {"why": why.to_json() if why else None}


def trial_facts(summary: SweepSummary, number: int, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what is known of a trial, without going through the search again.

    Args:
        summary: of the sweep.
        number: of the trial.
        environ: of the person who may run its command by hand.

    Raises:
        NotFoundError: the sweep has no such trial.
    """
    manifest, layout, metric = summary.manifest, summary.layout, summary.config.metric
    manifest.require_trials([number])
    trial = summary.view.trials.get(number) or Trial(number)
    row = summary.trial(number)
    logged: dict[str, Any] = {}
    if trial.current:
        with suppress(OSError):  # the rest is worth showing without
            first = summary.view.first_attempt(number)
            logged = read_summary(layout, AttemptId(number, trial.current.number), first)
    of_point: dict[str, Any] = {}
    if row.point is not None:
        point = summary.point(row.point)
        told = {"point": row.point, "trials": list(point.runs.trials if point.runs else ()), "state": point.state_words}
        of_point = {"of_point": told | {"metric": point.metric, "spread": point.spread}}
    try:
        command, problem = shell_command(manifest, number, row.params, environ) if row.params else None, None
    except UsageError as error:
        command, problem = None, str(error)
    return {
        **row.to_json(),
        **of_point,
        "sweep": manifest.sweep_id,
        "method": manifest.config.method,
        "metric_name": metric.name if metric else None,
        **({"metric_summary": metric.summary.words} if metric and metric.summary else {}),
        "logged": {name: value for name, value in logged.items() if not name.startswith("_")},
        "attempts": list(_attempts(summary, trial)),
        "code": copy_words(manifest.snapshot) if manifest.snapshot else None,
        "checkpoint_folder": layout.checkpoints(number),
        "log": row.log if row.log and files.is_file(row.log) else None,
        "command": command,
        "no_command": problem,
        "why": None,
        **({"base": base} if (base := base_document(manifest.config)) else {}),
    }


def _attempts(summary: SweepSummary, trial: Trial) -> Iterator[dict[str, Any]]:
    for number, attempt in sorted(trial.attempts.items()):
        owner = attempt.owner
        outcome = summary.ended.get(AttemptId(trial.number, number), attempt.outcome)
        claimed = "running" if attempt.token else "not started"
        yield {
            "attempt": number,
            "state": outcome.state.value if outcome else ("void" if attempt.void else claimed),
            "cause": outcome.cause if outcome else "",
            "job": owner.job_name if owner else None,
            "node": (owner.node or owner.host) if owner else None,
            "started": attempt.claimed,
            "seconds": outcome.seconds if outcome else None,
            "metric": outcome.metric if outcome else None,
            "code": owner.code if owner else None,
        }


def trial_text(document: Mapping[str, Any]) -> str:
    """Return the document as lines of this terminal."""
    cause = f" ({document['cause']})" if document["cause"] else ""
    summed = f" ({document['metric_summary']})" if "metric_summary" in document else ""
    named = f"{document['metric_name'] or 'metric'}{summed}"
    metrics = {} if document["metric"] is None else {named: document["metric"]}
    metrics |= document["metrics"] or {}
    lines = [
        f"trial {document['number']} of sweep {document['sweep']}",
        *_field_of_point(document),
        *_field("state", f"{document['state']}{cause}"),
        *(_field("error", document["error"]) if document["error"] else []),
        *(_field("ran as", f"trial {document['origin']}, in another sweep") if document["origin"] else []),
        *_table("parameters", document["params"]),
        *(_field("base", printable(base_text(document["base"]))) if "base" in document else []),
        *_table("metric", metrics),
        *(_field("no metric", document["no_metric"]) if document["no_metric"] else []),
        *_table("logged", document["logged"]),
    ]
    for place, attempt in enumerate(document["attempts"]):
        lines += _field("" if place else "attempts", _attempt_words(attempt))
    lines += _field("code", document["code"]) if document["code"] else []
    lines += [labelled_path("log", document["log"], _LEFT)] if document["log"] else _field("log", "none")
    if files.is_folder(document["checkpoint_folder"]):  # of a finished trial it is removed where it is empty
        lines.append(labelled_path("checkpoints", document["checkpoint_folder"], _LEFT))
    if document["why"]:
        lines += _why_lines(document)
    if document["no_command"]:
        lines += _field("by hand", document["no_command"])
    if document["command"]:
        without = f"(so it finds no {', '.join(NOT_SET)})"
        lines += ["", "by hand, apart from the trial's own files:", *wrapped(without, width()), document["command"]]
    return "\n".join(lines)


def _field_of_point(document: Mapping[str, Any]) -> list[str]:
    """Return what the point of a trial is worth, where points run several times."""
    of_point = document.get("of_point")
    if of_point is None:
        return []
    value = "" if of_point["metric"] is None else f": {value_text(of_point['metric'])}"
    spread = "" if of_point["spread"] is None else f" \u00b1 {of_point['spread']:.2g}"
    trials = numbers_text(of_point["trials"], 12)
    return _field("point", f"{of_point['point']}, of trials {trials}; {of_point['state']}{value}{spread}")


def _attempt_words(attempt: Mapping[str, Any]) -> str:
    words = [f"{attempt['attempt']}  {attempt['state']}" + (f" ({attempt['cause']})" if attempt["cause"] else "")]
    words += [f"job {attempt['job']}"] if attempt["job"] else []
    words += [f"on {attempt['node']}"] if attempt["node"] else []
    if attempt["started"]:
        words.append(time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(attempt["started"])))
    words += [duration(attempt["seconds"])] if attempt["seconds"] is not None else []
    words += [version_words(attempt["code"])] if attempt["code"] else []
    return ", ".join(words)


def _why_lines(document: Mapping[str, Any]) -> list[str]:
    explained = document["why"]
    if explained["problem"]:
        return _field("why", explained["problem"])
    why = explained["why"]
    if explained["other"] is not None:
        told = "cannot be told: made again here, another point comes out"
        told += ", as after another release of numpy or slurmsweep"
        return [*_field("why", told), *_table("", explained["other"])]
    lines = _field("why", _PHASES.get(why["phase"], why["phase"]))
    if explained["rank"]:
        lines += _field("", f"number {explained['rank'] + 1} by rank: other agents claimed those before it meanwhile")
    best = f", the best {value_text(why['best'])}" if "best" in why else ""
    lines += _field("known then", f"results: {why['observations']}{best}; trials that ran: {why['running']}")
    if "predicted" in why:
        came = "" if explained["counted"] is None else f"; it counts with {value_text(explained['counted'])}"
        spread = math.hypot(why["uncertainty"], why.get("noise") or 0.0)
        lines += _field("predicted", f"{value_text(why['predicted'])}, give or take {spread:.2g}{came}")
    return lines


def _table(label: str, values: Mapping[str, Any]) -> list[str]:
    """Return one line for each value, nested ones by their dotted names."""
    named = {last_part(printable(name), _WIDEST_NAME): value for name, value in flat(values)}
    least = min(24, max(map(text_width, named), default=0))
    lines: list[str] = []
    for name, value in named.items():
        beside = f"  {'' if lines else label:<{_LEFT}}{name}{' ' * (least - text_width(name))}  "
        lines += wrapped(
            printable(value_text(value)) or "''", width(), beside, " " * min(text_width(beside), _LEFT + 8)
        )
    return lines
