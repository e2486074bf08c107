"""Gather why trials did not finish: the last words of their logs, and which of them ended alike."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from slurmsweep.report.failures import FailureGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from slurmsweep.control.failures.log_end import Failure
    from slurmsweep.report.summary import SweepSummary, TrialRow

#: Logs that are read for one table or one status, at most: those of trials with the smallest numbers.
MOST_LOGS = 200

#: Causes behind which the script's own words say more.
_OF_THE_SCRIPT = ("exit ", "signal ")


def failure_of(row: TrialRow) -> Failure:
    """Return what the log of a trial that failed ends with; nothing where the cause says all."""
    from slurmsweep.control.failures.log_end import Failure, last_words, read_failure  # most sweeps have no failure

    says_more = row.state.can_retry and row.cause.startswith(_OF_THE_SCRIPT)
    return read_failure(last_words(row.log)) if row.log and says_more else Failure()


def failure_groups(summary: SweepSummary, read: Callable[[TrialRow], Failure] = failure_of) -> list[FailureGroup]:
    """Return the trials that did not finish, those that ended alike together, the largest group first.

    The first 200 logs are read. Of a trial beyond these the cause alone says with which it belongs: with the largest
    group of that cause.

    Args:
        summary: of the sweep.
        read: takes a trial and returns what its log ends with.
    """
    ways = summary.ways_to_fail()
    groups: dict[tuple[str, str, str], list[int]] = {}
    firsts: dict[tuple[str, str, str], tuple[str, str | None]] = {}
    nodes: dict[tuple[str, str, str], set[str]] = {}
    for number, _, _ in islice(ways, MOST_LOGS):
        row = summary.trial(number)
        failure = read(row)
        key = (row.state.value, row.cause, failure.signature)
        groups.setdefault(key, []).append(number)
        firsts.setdefault(key, (failure.words, row.log))
        nodes.setdefault(key, set()).update([row.node] if row.node else [])
    largest: dict[tuple[str, str], list[int]] = {}
    for key in sorted(groups, key=lambda key: len(groups[key])):
        largest[key[:2]] = groups[key]
    for number, state, cause in ways:
        ended = (state.value, cause)
        if ended not in largest:
            largest[ended] = groups[(*ended, "")] = []
            firsts[(*ended, "")] = ("", summary.trial(number).log)
        largest[ended].append(number)
    found = [
        FailureGroup(*key[:2], firsts[key][0], tuple(alike), firsts[key][1], tuple(sorted(nodes.get(key, ()))))
        for key, alike in groups.items()
    ]
    return sorted(found, key=lambda group: (-len(group.trials), group.trials))


def shown_groups(groups: Iterable[FailureGroup], rows: Mapping[int, TrialRow]) -> list[FailureGroup]:
    """Return the same groups with those of their trials alone that are shown, and the words of the first of these.

    Args:
        groups: of one sweep.
        rows: trials that are shown and did not finish, by number, with their errors (:func:`with_errors`).
    """
    found = []
    for group in groups:
        alike = [rows[number] for number in group.trials if number in rows]
        if alike:
            numbers, nodes = tuple(row.number for row in alike), {row.node for row in alike if row.node}
            error, log = alike[0].error or "", alike[0].log
            found.append(group._replace(trials=numbers, error=error, log=log, nodes=tuple(sorted(nodes))))
    return sorted(found, key=lambda group: (-len(group.trials), group.trials))


def with_errors(rows: Iterable[TrialRow], read: Callable[[TrialRow], Failure] = failure_of) -> list[TrialRow]:
    """Return the same trials, those that failed with the last words of their logs: costs an open file for each."""
    return [row._replace(error=read(row).words or None) for row in rows]


class FailureReader:
    """Why trials failed, for :func:`failure_groups` and :func:`with_errors`: the log of an attempt is read once.

    Attributes:
        known: what was read, by number of the trial and of its attempt.
    """

    def __init__(self) -> None:
        self.known: dict[tuple[int, int], Failure] = {}

    def __call__(self, row: TrialRow) -> Failure:
        """Return what :func:`failure_of` returns."""
        key = row.number, row.attempt
        if key not in self.known:
            self.known[key] = failure_of(row)
        return self.known[key]
