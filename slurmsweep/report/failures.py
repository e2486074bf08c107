"""Failures that are the same, as one line for people: how many, why, which trials, and where one log is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.report.figures import trials_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Groups that are shown, and trials of each that are named.
_GROUPS, _NAMED = 5, 8


class FailureGroup(NamedTuple):
    """Trials that did not finish and ended alike.

    Attributes:
        state: how they ended.
        cause: beside it, such as ``exit 1``.
        error: the last words of the first of them, such as ``ValueError: 7 is too large (train.py, line 5)``; empty
            where the cause says all, or its log says nothing.
        trials: numbers.
        log: path of the log of the first; None where it has none.
        nodes: where those of them ran whose logs were looked at.
    """

    state: str
    cause: str
    error: str
    trials: tuple[int, ...]
    log: str | None
    nodes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the document of one group."""
        return self._asdict() | {"trials": list(self.trials), "nodes": list(self.nodes)}


def failure_words(groups: Sequence[FailureGroup], sweep: str) -> Iterator[str]:
    """Yield ``3 failed, exit 1: ValueError: 7 is too large (train.py, line 5): trials 3, 5, 9``, the largest first.

    Args:
        groups: of one sweep.
        sweep: its name in commands.
    """
    for group in groups[:_GROUPS]:
        why = f"{group.cause}: {group.error}" if group.error else group.cause
        log = f"; `slurmsweep logs {sweep} {group.trials[0]}`" if group.log else ""
        yield f"{len(group.trials)} {group.state}, {why} ({trials_text(group.trials, _NAMED)}{log})"
    rest = sum(len(group.trials) for group in groups[_GROUPS:])
    if rest:
        yield f"{rest} more, for other reasons: `slurmsweep trials {sweep}` shows each"
