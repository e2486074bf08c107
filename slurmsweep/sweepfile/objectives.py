"""``metric`` and ``pareto`` below the ``slurmsweep:`` key: one number computed from several, or several compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.sweepfile.findings import did_you_mean, shown
from slurmsweep.sweepfile.sections import GOALS, Metric, Objective, own_section

if TYPE_CHECKING:
    from slurmsweep.sweepfile.findings import Findings, Path

#: The least and the largest number of metrics that a person can compare in a Pareto view.
FEWEST, MOST = 2, 3

#: The most characters of a name: one record of the journal holds all names.
LONGEST_NAME = 100

_KEYS = ("name", "goal", "expression")
_PARETO_HINT = "such as {accuracy: maximize, latency: minimize}"


def read_computed(data: dict[str, Any], metric: Metric | None, findings: Findings) -> Metric | None:
    """Return the sweep's metric with the expression of ``slurmsweep.metric``, if the file has one.

    ``metric`` is that of W&B's own section; None if the section is missing or wrong.
    """
    section = own_section(data, "metric")
    path: Path = ("slurmsweep", "metric")
    if section is None:
        return metric
    if not isinstance(section, dict):
        hint = "write {name: total, expression: 0.3*a + 0.2*b}"
        findings.error(path, f"must be a mapping, not {shown(section)}", hint)
        return metric
    findings.keys(path, section, _KEYS, "is not a key of it")
    if "expression" not in section:
        findings.error((*path, "expression"), "is missing", "a metric that is logged needs W&B's key only")
    objective = _read_objective(section, path, metric, findings)
    if metric is not None:
        # W&B reads `metric` only, so both places must agree
        for key, known in (("name", metric.name), ("goal", metric.goal)):
            if key in section and section[key] != known:
                problem = f"{shown(section[key])} here, and {shown(known)} under metric"
                findings.error((*path, key), problem, "say the same in both places, or say it once")
        return metric._replace(expression=objective.expression)
    if "name" not in section and "metric" not in data:
        findings.error((*path, "name"), "is missing", "give the computed metric a name, such as total")
    return Metric(objective.name, objective.goal, objective.expression)


def read_pareto(value: Any, metric: Metric | None, findings: Findings) -> tuple[Objective, ...]:
    """Return the ``slurmsweep.pareto`` section; mistakes are added to ``findings``."""
    path: Path = ("slurmsweep", "pareto")
    if isinstance(value, dict):
        entries = [((*path, name), {"name": name, "goal": goal}) for name, goal in value.items()]
    elif isinstance(value, list) and all(isinstance(entry, dict) for entry in value):
        entries = [((*path, position), entry) for position, entry in enumerate(value)]
    else:
        findings.error(path, "must say for each metric whether it is to be small or large", _PARETO_HINT)
        return ()
    if not FEWEST <= len(entries) <= MOST:
        findings.error(path, f"weighs two or three metrics, not {len(entries)}", _PARETO_HINT)
    names = [str(entry["name"]) for _, entry in entries if "name" in entry]
    for name in sorted({name for name in names if names.count(name) > 1}):
        findings.error(path, f"{name} is there twice"[:200], "name each metric once")
    return tuple(_read_entry(entry, here, metric, findings) for here, entry in entries)


def _read_entry(entry: dict[str, Any], path: Path, metric: Metric | None, findings: Findings) -> Objective:
    findings.keys(path, entry, _KEYS, "is not a key of it")
    if "name" not in entry:
        findings.error((*path, "name"), "is missing", "name what the script logs")
    objective = _read_objective(entry, path, metric, findings)
    if metric is None or objective.name != metric.name:
        return objective
    if objective.goal != metric.goal:
        problem = f"the sweep's metric is to be {metric.goal}d, and here {objective.goal}d"
        findings.error(path, problem, "say the same in both places")
    if objective.expression is not None and objective.expression != metric.expression:
        findings.error(path, "the sweep's metric has another expression", "give this one another name")
    return objective._replace(expression=metric.expression, summary=metric.summary)


def _read_objective(section: dict[str, Any], path: Path, metric: Metric | None, findings: Findings) -> Objective:
    """Return a name, a goal and an expression, each of them checked; the goal defaults to that of the same metric."""
    name = section.get("name")
    if "name" in section and (not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME):
        findings.error((*path, "name"), f"must be text of at most {LONGEST_NAME} characters, not {shown(name)}")
    known = metric.goal if metric is not None and name == metric.name else "minimize"
    goal = section.get("goal", known)
    if goal not in GOALS:
        findings.error((*path, "goal"), f"{shown(goal)} is not one of {', '.join(GOALS)}", did_you_mean(goal, GOALS))
    text, here = section.get("expression"), (*path, "expression")
    if "expression" in section and not isinstance(text, str):
        findings.error(here, f"must be text, not {shown(text)}", "such as 0.3*a + 0.2*b")
        text = None
    if text is not None:
        from slurmsweep.sweepfile.expression import checked  # an agent loads it only where there is one

        checked(text, here, findings)
    return Objective(str(name), str(goal), text)
