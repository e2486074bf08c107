"""Gather why trials did not finish: the last words of their logs, and which of them ended alike."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from slurmsweep.control.failure_text import Failure, last_words, read_failure
from slurmsweep.report.failures import FailureGroup

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slurmsweep.report.summary import SweepSummary, TrialRow

#: Logs that are read for one table or one status, at most: those of trials with the smallest numbers.
MOST_LOGS = 200

#: Causes behind which the script's own words say more.
_OF_THE_SCRIPT = ("exit ", "signal ")


def failure_groups(summary: SweepSummary) -> list[FailureGroup]:
    """Return the trials that did not finish, those that ended alike together, the largest group first.

    The first 200 logs are read. Of a trial beyond these the cause alone says with which it belongs: with the largest
    group of that cause.
    """
    rows = summary.unfinished()
    groups: dict[tuple[str, str, str], list[TrialRow]] = {}
    errors: dict[tuple[str, str, str], str] = {}
    for row in islice(rows, MOST_LOGS):
        failure = _failure(row)
        key = (row.state.value, row.cause, failure.signature)
        groups.setdefault(key, []).append(row)
        errors.setdefault(key, failure.words)
    for row in rows:
        ended = (row.state.value, row.cause)
        known = [key for key in groups if key[:2] == ended]
        groups.setdefault(max(known, key=lambda key: len(groups[key]), default=(*ended, "")), []).append(row)
    found = [
        FailureGroup(*key[:2], errors.get(key, ""), tuple(row.number for row in alike), alike[0].log)
        for key, alike in groups.items()
    ]
    return sorted(found, key=lambda group: (-len(group.trials), group.trials))


def with_errors(rows: Iterable[TrialRow]) -> list[TrialRow]:
    """Return the same trials, those that failed with the last words of their logs: costs an open file for each."""
    return [row._replace(error=_failure(row).words or None) for row in rows]


def _failure(row: TrialRow) -> Failure:
    """Return what the log of a trial that failed ends with; nothing where the cause says all."""
    says_more = row.state.can_retry and row.cause.startswith(_OF_THE_SCRIPT)
    return read_failure(last_words(row.log)) if row.log and says_more else Failure()
