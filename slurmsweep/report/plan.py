"""The document of ``plan`` as lines for people."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from slurmsweep.report.base_point import base_text
from slurmsweep.report.figures import counted, duration, size_text, value_text
from slurmsweep.report.terminal import paragraph, printable, printable_text, width, wrapped
from slurmsweep.sweepfile.findings import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Of a search that learns. The numbers are those of docs/search.md, "How many at a time".
_CHOSEN_LATE = (
    "(a job chooses the point of its trial when it starts, from the results known by then; trials that run at the same "
    "time learn nothing from each other. So 60 trials, 2 at a time, are worth 49 that run one after the other; 4 at a "
    "time 40, 8 at a time 25, 16 at a time 18, 32 at a time 16, and random search 10. --width, on this machine --jobs, "
    "bounds the number: docs/search.md)"
)


#: New values that are named.
_MOST_VALUES = 20


def plan_text(document: Mapping[str, Any], count: int | None = None) -> str:
    """Return points, commands, cost, batch script, and the use of a canary where one has run.

    Args:
        document: of ``plan --json``.
        count: of trials that were asked for; None where that was not said.
    """
    total, method = document["expected_run_count"], document["method"]
    runs = document.get("runs_each", 1)
    each = f"{counted(total // runs, 'point')} of {runs} runs: " if total is not None and runs > 1 else ""
    endless = "no end: give --count" if count is None else f"no end: {counted(count, 'trial')} of it"
    expected = endless if total is None else each + counted(total, "trial")
    lines = [f"{method} search, {expected}"]
    lines.append(f"commands run in {printable(document['workdir'])}")
    lines += [f"  {row['number']:>4}  {printable(shlex.join(row['argv']))}" for row in document["trials"]]
    prior = document.get("prior")
    left = total if prior is None else prior["new"]
    left = count if left is None else left
    if left is None or len(document["trials"]) < left:
        lines.append("  ...")
    lines += _parameter_lines(document)
    if prior:
        lines += _prior_lines(prior, total)
    if left == 0 and prior:
        return "\n".join(lines)
    if method == "random":
        lines += wrapped("(random values: the sweep's id, once it has one, decides others)", width(), hanging=" ")
    if method == "bayes":
        lines += wrapped(_CHOSEN_LATE, width(), hanging=" ")
    for number, rung in enumerate(document.get("rungs", []), 1):
        limit = f", {rung['minutes']} min each" if rung["minutes"] else ""
        going = counted(rung["trials"], "trial runs", "trials run")
        lines += paragraph(f"rung {number}: about {going} to {rung['steps']} steps{limit}")
    for file in dict.fromkeys(row["file"] for row in document["defaults"]):
        values = ", ".join(f"{row['name']} {row['value']}" for row in document["defaults"] if row["file"] == file)
        lines += paragraph(f"defaults of {printable(file)}: {printable(values)}")
    lines += ["", *(part for line in _forecast_lines(document) for part in wrapped(line, width()))]
    if document["sbatch"] is not None:
        what = "batch script:" if document["sbatch"].startswith("#!") else "requests:"  # of a service
        lines += ["", what, printable_text(document["sbatch"])]
    if "canary" in document:
        lines += _canary_lines(document["canary"], document["forecast"]["trials"], method)
    return "\n".join(lines)


def _prior_lines(prior: Mapping[str, Any], total: int | None) -> list[str]:
    """Return what of the sweep another one has run, and what is new."""
    of_all = f" of {counted(total, 'trial')}" if total is not None else ""
    new = "" if prior["new"] is None else f", {prior['new']} new" if prior["new"] else ": nothing is new"
    lines = paragraph(f"sweep {prior['sweep']} has run {prior['known']}{of_all}{new}")
    rows = prior["values"]
    for row in rows[:_MOST_VALUES]:
        named = ", ".join(f"{name}={value_text(value)}" for name, value in row["parameters"].items())
        lines += wrapped(f"  new: {printable(named)} ({counted(row['points'], 'point')})", width(), hanging="       ")
    if len(rows) > _MOST_VALUES:
        lines.append(f"  and {len(rows) - _MOST_VALUES} more new values")
    if prior["elsewhere"]:
        others = "finished trials with other points, or with one that another trial has told"
        lines.append(f"  {others}: {prior['elsewhere']}")
    return lines


def _parameter_lines(document: Mapping[str, Any]) -> list[str]:
    """Return what is said of parameters: where some exist, which one is repeated, from which trial others are."""
    words = []
    for one in document.get("conditional", []):
        places = [f"{name} is {' or '.join(map(shown, values))}" for name, values in one["where"].items()]
        what = "exists" if one["expression"] is None else f"= {one['expression']}"
        words.append(f"{one['parameter']} {what}" + (f" where {' and '.join(places)}" if places else ""))
    if repeats := document.get("repeats"):
        values = [value_text(value) for value in repeats["values"][:_MOST_VALUES]]
        values += ["..."] if len(repeats["values"]) > len(values) else []
        race = "" if repeats.get("race") is None else "; race: runs that no longer matter are left out"
        told = f"each point runs with {repeats['parameter']} {', '.join(values)}"
        words.append(f"{told}, and is worth the {repeats['metric']}{race}")
    if base := document.get("base"):
        words.append(f"base: {base_text(base)}")
    return [line for text in words for line in paragraph(printable(text))]


def _forecast_lines(document: Mapping[str, Any]) -> list[str]:
    expected = document["forecast"]
    arrays, hours, trials = expected["arrays"], expected["core_hours"], expected["trials"]
    cost = f"at most {hours:g} core-hours" if hours is not None else "without a time limit"
    jobs = f"{counted(sum(arrays), 'job')} in {counted(len(arrays), 'array')}, {cost}"
    here = f"{counted(trials, 'trial')} on this machine, {document['width']} at a time (--jobs), without a time limit"
    files = f"about {expected['inodes']} files and folders (15 more a trial with the real wandb)"
    lines = [
        jobs if arrays else here,
        f"{files}, {size_text(expected['journal_bytes'])} of journal; logs: as much as the script prints",
    ]
    if not arrays:
        lines.append("no scheduler is asked: `--backend slurm` shows the batch script of a cluster")
    if expected["earliest_start"]:
        start = expected["earliest_start"]
        lines.append(f"one such job would start at {start} at the earliest, as the scheduler says now")
    if expected["refusal"]:
        lines.append(expected["refusal"])
    return lines


def _canary_lines(used: Mapping[str, Any], trials: int, method: str) -> list[str]:
    """Return what the canary used, and what that means for all trials."""
    cause = f" ({used['cause']})" if used["cause"] else ""
    lines = [f"canary: {used['state']}{cause}, log in {printable(used['log'])}"]
    seconds, memory = used["seconds"], used["max_rss_mb"]
    if seconds is not None:
        peak = f", {memory:.0f} MiB" if memory is not None else ""
        took = f"it took {seconds:g} s{peak}, printed {used['log_bytes']} bytes and made {used['files']} files"
        lines += paragraph(took, "  ")
        lines.append(f"  {trials} like it: {duration(trials * seconds)} one after the other")
    if used["state"] == "finished" and method == "grid":
        kept = f"a grid keeps its point by `slurmsweep create FILE --prior {used['sweep']}`"
        lines += paragraph(kept, "  ")
    return lines
