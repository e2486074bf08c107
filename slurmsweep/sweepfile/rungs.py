"""``rungs`` below the ``slurmsweep:`` key: trials run in parts, each a job of its own, and the best go on.

::

    slurmsweep:
      rungs:
        steps: [3, 9, 27]     # how often the metric is logged until the end of each part
        keep: 1/3             # share of the trials at a rung that go on
        minutes: [10, 20, 45] # optional: time limits of the jobs
"""

from __future__ import annotations

import itertools
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.sweepfile.findings import shown
from slurmsweep.sweepfile.plain import is_number

if TYPE_CHECKING:
    from slurmsweep.sweepfile.findings import Findings, Path
    from slurmsweep.sweepfile.sections import Metric

_KEYS = ("steps", "keep", "minutes")
_HINT = "such as {steps: [3, 9, 27], keep: 1/3}"

#: As in W&B's hyperband: one of three goes on.
_KEEP = "1/3"

#: Digits before and behind the point of a number of a share, at most: whole numbers of more would take for ever.
_MOST_DIGITS = 100


class Rungs(NamedTuple):
    """The parts in which trials run.

    Attributes:
        steps: how often the metric has been logged at the end of each part, ascending; at least two.
        keep: the share of the trials that goes on, as numerator and denominator.
        minutes: time limits of the jobs of each part; empty where they are shares of the time of a whole trial.
    """

    steps: tuple[int, ...]
    keep: tuple[int, int]
    minutes: tuple[int, ...] = ()

    def places(self, trials: int) -> int:
        """Return how many of the trials at a rung go on."""
        return trials * self.keep[0] // self.keep[1]


def read_rungs(value: Any, data: dict[str, Any], metric: Metric | None, findings: Findings) -> Rungs | None:
    """Return the section; None, and mistakes in ``findings``, where it is wrong.

    Args:
        value: the section.
        data: the whole sweep file.
        metric: of the file, by which trials are compared.
        findings: takes the mistakes.
    """
    path: Path = ("slurmsweep", "rungs")
    if metric is None:
        findings.error(path, "needs a metric to compare trials by", "add metric: {name: ..., goal: ...}")
    if not isinstance(value, dict):
        findings.error(path, f"must be a mapping, not {shown(value)}", _HINT)
        return None
    before = len(findings.violations)
    findings.keys(path, value, _KEYS, "is not a key of it")
    if data.get("early_terminate") is not None:
        problem = "cannot be used together with early_terminate: both end trials that are worse than others"
        findings.error(path, problem, "remove one of the two")
    steps = _whole_numbers(value.get("steps"), (*path, "steps"), findings)
    if len(steps) < 2 or any(later <= step for step, later in itertools.pairwise(steps)):
        findings.error((*path, "steps"), "must be two or more ascending whole numbers", _HINT)
    minutes = _whole_numbers(value.get("minutes", []), (*path, "minutes"), findings)
    if minutes and len(minutes) != len(steps):
        problem = f"has {len(minutes)} limits for {len(steps)} steps"
        findings.error((*path, "minutes"), problem, "give one for each, or leave it out")
    keep = _share(value.get("keep", _KEEP))
    if keep is None:
        problem = f"{shown(value['keep'])} is not a share between 0 and 1"
        findings.error((*path, "keep"), problem, "such as 1/3 or 0.5")
    return Rungs(steps, keep, minutes) if keep and len(findings.violations) == before else None


def _whole_numbers(value: Any, path: Path, findings: Findings) -> tuple[int, ...]:
    items = value if isinstance(value, list) else []
    if value is not None and not isinstance(value, list):
        findings.error(path, f"must be a list of whole numbers, not {shown(value)}", _HINT)
    wrong = [item for item in items if type(item) is not int or item < 1]
    if wrong:
        findings.error(path, f"{shown(wrong[0])} is not a whole number greater than 0", _HINT)
    return tuple(item for item in items if type(item) is int)


def _share(value: Any) -> tuple[int, int] | None:
    """Return a share as numerator and denominator, exactly as it is written; None where it is none."""
    text = str(value) if is_number(value) or isinstance(value, str) else ""
    above, slash, below = text.partition("/")
    try:
        numbers = Decimal(above.strip()), Decimal(below.strip() if slash else 1)
        if any(abs(number.adjusted()) > _MOST_DIGITS for number in numbers if number.is_finite()):
            return None
        (a, b), (c, d) = (number.as_integer_ratio() for number in numbers)
    except (InvalidOperation, OverflowError, ValueError):
        return None
    return (a * d, b * c) if 0 < a * d < b * c else None
