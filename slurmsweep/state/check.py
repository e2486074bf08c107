"""Prove that journal and folders agree: every trial once, none lost, none doubled. Reads, never writes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.store import SweepStore
    from slurmsweep.state.trial import Attempt, Trial


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        subject: ``journal line 12`` or ``trial 7 attempt 1``.
        problem: what is wrong.
        remedy: what puts it right.
    """

    subject: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        """``subject: problem (remedy)``."""
        return f"{self.subject}: {self.problem} ({self.remedy})"


@dataclass(frozen=True)
class Report:
    """What a check looked at and found.

    Attributes:
        findings: empty when all is well.
        trials: trials the journal knows.
        attempts: folders of attempts on disk.
        records_sealed: torn lines that were closed by the next writer: no process relied on them.
    """

    findings: tuple[Finding, ...]
    trials: int
    attempts: int
    records_sealed: int


_RESUBMIT = "`slurmsweep resubmit` puts it right"
_REPORT = "this should be impossible where mkdir is exclusive: keep the folder and report it"


def check(store: SweepStore) -> Report:
    """Compare all records with all folders: O(number of attempts) directory reads.

    A sweep at work may show a claim between its folder and its record; run it again before worrying.

    Raises:
        StateUnreadableError: the journal cannot be read at all.
    """
    folders = attempt_folders(store)
    view = store.replay()
    damage = "not a whole record", "see docs/failure.md, damaged journal"
    findings = [Finding(f"journal line {number}", *damage) for number in view.damaged]
    findings += [*_unknown_folders(view, folders), *_missing_trials(store, view)]
    for trial in view.trials.values():
        findings += _trial_findings(store, trial, folders)
    return Report(tuple(findings), len(view.trials), len(folders), view.sealed)


def attempt_folders(store: SweepStore) -> set[AttemptId]:
    """Return the attempts that have a folder on disk."""
    found = set()
    for shard in _numbered(store.layout.trials):
        for trial in _numbered(os.path.join(store.layout.trials, str(shard))):
            for attempt in _numbered(store.layout.trial(trial)):
                found.add(AttemptId(trial, attempt))
    return found


def _numbered(folder: str) -> list[int]:
    try:
        return [int(name) for name in os.listdir(folder) if name.isdecimal()]
    except FileNotFoundError:
        return []


def _unknown_folders(view: SweepView, folders: set[AttemptId]) -> Iterator[Finding]:
    for attempt_id in sorted(folders, key=lambda s: (s.trial, s.attempt)):
        trial = view.trials.get(attempt_id.trial)
        if trial is None or attempt_id.attempt not in trial.attempts:
            yield Finding(_name(attempt_id), "its folder is there, but the journal has no claim of it", _RESUBMIT)


def _missing_trials(store: SweepStore, view: SweepView) -> Iterator[Finding]:
    total = store.manifest.trials
    for attempt_id in view.passed_over():
        if not os.path.isdir(store.layout.attempt(AttemptId(attempt_id.trial, 1))):
            yield Finding(_name(attempt_id), "the journal went past it and no agent claimed it", _RESUBMIT)
    for number in view.trials:
        if total is not None and number >= total:
            yield Finding(f"trial {number}", f"the sweep has {total} trials only", _REPORT)


def _trial_findings(store: SweepStore, trial: Trial, folders: set[AttemptId]) -> Iterator[Finding]:
    standing = [a for a in trial.attempts.values() if a.number > trial.deleted]
    whole = [a for a in standing if a.outcome and not a.outcome.ended_at_rung]
    finished = [a.number for a in whole if a.outcome and a.outcome.state is TrialState.FINISHED]
    if len(finished) > 1:
        yield Finding(f"trial {trial.number}", f"finished more than once: attempts {finished}", _REPORT)
    for attempt in trial.attempts.values():
        attempt_id = AttemptId(trial.number, attempt.number)
        if attempt_id not in folders:
            yield Finding(_name(attempt_id), "the journal knows it, but its folder is gone", "was it removed by hand?")
        elif not attempt.void:
            yield from _attempt_findings(store, attempt_id, attempt)


def _attempt_findings(store: SweepStore, attempt_id: AttemptId, attempt: Attempt) -> Iterator[Finding]:
    if attempt.rivals:
        yield Finding(_name(attempt_id), f"claimed {len(attempt.rivals) + 1} times", _REPORT)
    if attempt.token is None:
        yield Finding(_name(attempt_id), "the journal has its end but not its claim", _RESUBMIT)
    written = store.read_outcome(attempt_id)
    recorded = attempt.outcome
    if written and (recorded is None or not recorded.was_seen):
        yield Finding(_name(attempt_id), f"its folder says {written.state}, the journal does not", _RESUBMIT)
    elif recorded and recorded.was_seen and written is None:
        yield Finding(
            _name(attempt_id),
            f"the journal says {recorded.state}, its folder has no outcome",
            "was it removed by hand?",
        )
    elif written and recorded and recorded.by == "agent" and written.state is not recorded.state:
        yield Finding(_name(attempt_id), f"its folder says {written.state}, the journal {recorded.state}", _REPORT)


def _name(attempt_id: AttemptId) -> str:
    return f"trial {attempt_id.trial} attempt {attempt_id.attempt}"
