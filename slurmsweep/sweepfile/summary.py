"""``summary`` below the ``slurmsweep:`` key: how the values that a trial logged of the metric become its one value.

::

    slurmsweep:
      summary: best                 # or last, or mean of the last 5, which is also {mean: 5}
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.sweepfile.findings import shown, suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurmsweep.sweepfile.findings import Findings, Path

_WORDS = {"best": None, "last": 1}
_MEAN = re.compile(r"mean of the last ([0-9]{1,9})")
_FORMS = ("best", "last", "mean of the last 5")

#: What W&B's ``define_metric(summary=...)`` knows and a sweep file says otherwise.
_OF_WANDB = {
    "min": "write best: with goal: minimize that is the smallest value",
    "max": "write best: with goal: maximize that is the largest value",
    "mean": "say of how many: mean of the last 5",
}


class HistorySummary(NamedTuple):
    """How a history becomes one value.

    Attributes:
        newest: of how many of the last values it is the mean; None for the best of all.
    """

    newest: int | None = None

    @property
    def words(self) -> str:
        """The form in a sweep file."""
        return next(
            (word for word, newest in _WORDS.items() if newest == self.newest), f"mean of the last {self.newest}"
        )

    def of(self, values: Sequence[float], goal: str) -> float:
        """Return the value of a history that is not empty."""
        if self.newest is None:
            return max(values) if goal == "maximize" else min(values)
        counted = values[-self.newest :]
        try:
            return math.fsum(counted) / len(counted)
        except OverflowError:  # of a run that diverges
            return math.fsum(value / len(counted) for value in counted)


def read_history_summary(value: Any, *, has_metric: bool, findings: Findings) -> HistorySummary | None:
    """Return the section; None, and mistakes in ``findings``, where it is wrong or the file has no metric."""
    path: Path = ("slurmsweep", "summary")
    if not has_metric:
        findings.error(path, "needs a metric to sum up", "add metric: {name: ..., goal: ...}")
    mean = _MEAN.fullmatch(value) if isinstance(value, str) else None
    count = int(mean[1]) if mean else value.get("mean") if isinstance(value, dict) and set(value) == {"mean"} else None
    if isinstance(value, str) and value in _WORDS:
        return HistorySummary(_WORDS[value])
    if type(count) is int and count > 0:
        return HistorySummary(count)
    hint = _OF_WANDB.get(value) if isinstance(value, str) else None
    problem = f"{shown(value)} is not a summary"
    if mean or isinstance(value, dict):
        hint = "such as mean of the last 5: a whole number greater than 0"
    findings.error(path, problem, hint or suggest(value, _FORMS))
    return None
