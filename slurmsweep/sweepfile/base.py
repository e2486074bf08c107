"""``base`` below the ``slurmsweep:`` key: parameters that the file lacks have the values of another sweep's trial.

::

    slurmsweep:
      base:
        sweep: abcd1234      # or its name, or the path of its folder
        trial: best          # or the number of a trial
        parameters: [lr, wd] # optional: only these of its parameters

When a sweep is made the values become constants of the file, and ``found`` says where they are from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.sweepfile.findings import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slurmsweep.sweepfile.findings import Findings, Path

BEST = "best"
_KEYS = ("sweep", "trial", "parameters", "found")
_HINT = "such as {sweep: abcd1234, trial: best}"


class Base(NamedTuple):
    """The trial from which constants are taken.

    Attributes:
        sweep: as the file names it.
        trial: its number; None for the best one.
        parameters: dotted names of those that are taken; empty for all.
        found: what was found when the sweep was made: id of the sweep (``sweep``), number of the trial (``trial``),
            dotted names of what became constants here (``parameters``), and, where there is a metric, its name and
            value (``metric``, ``value``); None before.
    """

    sweep: str
    trial: int | None
    parameters: tuple[str, ...] = ()
    found: Mapping[str, Any] | None = None


def read_base(value: Any, findings: Findings) -> Base | None:
    """Return the section; None, and mistakes in ``findings``, where it is wrong."""
    path: Path = ("slurmsweep", "base")
    if not isinstance(value, dict):
        findings.error(path, "must be a mapping", _HINT)
        return None
    before = len(findings.violations)
    findings.keys(path, value, _KEYS, "is not a key of base")
    sweep, trial, names = value.get("sweep"), value.get("trial", BEST), value.get("parameters", [])
    if not isinstance(sweep, str) or not sweep:
        findings.error((*path, "sweep"), "must be the id, the name or the folder of a sweep, as text", _HINT)
    if trial != BEST and (type(trial) is not int or trial < 0):
        findings.error((*path, "trial"), f"{shown(trial)} is not a trial", "write `best`, or a number from 0 on")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        findings.error(
            (*path, "parameters"), "must be a list of names", "such as [lr, opt.wd]; without it all are taken"
        )
    found = value.get("found")
    if found is not None and not (isinstance(found, dict) and isinstance(found.get("parameters"), list)):
        findings.error((*path, "found"), "is written when the sweep is made", "remove it")
    if len(findings.violations) > before:
        return None
    return Base(str(sweep), None if trial == BEST else trial, tuple(names), found)
