"""Prove that journal and folders agree: every trial once, none lost, none doubled. Reads, never writes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from slurmsweep.errors import StateUnreadableError
from slurmsweep.state import code_version, files
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.submissions import SubmissionFiles
from slurmsweep.state.supervisor_files import SupervisorFiles
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from slurmsweep.state.chosen import ChosenPoint
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
        versions: how many attempts found each version of the code.
    """

    findings: tuple[Finding, ...]
    trials: int
    attempts: int
    records_sealed: int
    versions: Mapping[str, int]


_RESUBMIT = "`slurmsweep resubmit` puts it right"
_WHOSE = "no process can tell whose it is: correct the file, or remove it where that process is gone"
_DAMAGED = "see docs/failure.md, damaged journal"
_REPORT = "this should be impossible where mkdir is exclusive: keep the folder and report it"


def check(store: SweepStore) -> Report:
    """Compare all records with all folders: O(number of attempts) directory reads.

    A sweep at work may show a claim between its folder and its record; run it again before worrying.

    Raises:
        StateUnreadableError: the journal cannot be read at all.
    """
    folders = attempt_folders(store)
    view = store.replay()
    damage = dict.fromkeys(view.damaged, "not a whole record") | view.wrong
    findings = [Finding(f"journal line {number}", damage[number], _DAMAGED) for number in sorted(damage)]
    findings += [
        *_changed_code(store),
        *_unknown_folders(store, view, folders),
        *_damaged_documents(store),
        *_missing_trials(store, view),
        *_points_apart(store, view),
    ]
    for trial in view.trials.values():
        findings += _trial_findings(store, trial, folders)
    return Report(tuple(findings), len(view.trials), len(folders), view.sealed, view.trials.code_versions())


def attempt_folders(store: SweepStore) -> set[AttemptId]:
    """Return the attempts that have a folder on disk.

    A further attempt has an owner, too: a folder without one is the script's own, of an epoch; or its maker died before
    it was the owner, and claims pass it.
    """
    found = set()
    for shard in _numbered(store.layout.trials):
        for trial in _numbered(os.path.join(store.layout.trials, str(shard))):
            for attempt in _numbered(store.layout.trial(trial)):
                attempt_id = AttemptId(trial, attempt)
                if attempt == 1 or os.path.lexists(store.layout.owner(attempt_id)):
                    found.add(attempt_id)
    return found


def _numbered(folder: str) -> list[int]:
    return [int(name) for name in files.names_in(folder) if name.isdecimal()]


def _damaged_documents(store: SweepStore) -> Iterator[Finding]:
    """Yield what is wrong with documents beside the journal that only some commands read."""
    documents, supervisor = SubmissionFiles(store.layout.submissions), SupervisorFiles(store.layout, store.access)
    reads: list[Callable[[], object]] = [partial(documents.read, name) for name in documents.names()]
    reads += [supervisor.settings, supervisor.last, partial(code_version.read, store.layout)]
    for problem in filter(None, map(_damage, reads)):
        yield Finding("document", problem, "it holds up the commands that read it, and no agent")


def _changed_code(store: SweepStore) -> Iterator[Finding]:
    """Yield what of the copy of the code, from which trials run, is not what was copied."""
    what, layout = store.manifest.snapshot, store.layout
    if what is None:
        return
    from slurmsweep.state.code_copy import differences, read_list  # few sweeps have one

    try:
        listed = read_list(layout, what)
    except StateUnreadableError as error:
        yield Finding("code", str(error), "what its trials ran cannot be proven any more; make a new sweep")
        return
    for name, way in differences(layout.source, listed):
        yield Finding(
            f"code {name}", f"the copy {way}", f"trials from now on run other code; restore it from {what.root}"
        )


def _damage(read: Callable[[], object]) -> str:
    """Return what is wrong with a document; empty where it can be read."""
    try:
        read()
    except StateUnreadableError as error:
        return str(error)
    return ""


def _unknown_folders(store: SweepStore, view: SweepView, folders: set[AttemptId]) -> Iterator[Finding]:
    for attempt_id in sorted(folders):
        trial = view.trials.get(attempt_id.trial)
        if trial is None or attempt_id.attempt not in trial.attempts:
            damage = _damage(partial(store.read_owner, attempt_id))
            problem = damage or "its folder is there, but the journal has no claim of it"
            yield Finding(_name(attempt_id), problem, _WHOSE if damage else _RESUBMIT)


def _missing_trials(store: SweepStore, view: SweepView) -> Iterator[Finding]:
    total = store.manifest.trials
    for attempt_id in view.passed_over():
        if not store.is_made(attempt_id):
            yield Finding(_name(attempt_id), "the journal went past it and no agent claimed it", _RESUBMIT)
    for number in view.trials:
        if total is not None and number >= total:
            yield Finding(f"trial {number}", f"the last trial of the sweep is {total - 1}", _REPORT)


def _points_apart(store: SweepStore, view: SweepView) -> Iterator[Finding]:
    """Yield trials whose parameters are not those of the other runs of their point, where a search chose them."""
    numbers = store.manifest.numbering
    known: dict[int, ChosenPoint] = {}
    for number, chosen in view.chosen.items() if numbers else ():
        point = numbers.of(number)[0] if numbers else number
        if known.setdefault(point, chosen).values != chosen.values:
            yield Finding(f"trial {number}", f"has other parameters than another run of point {point}", _REPORT)


def _trial_findings(store: SweepStore, trial: Trial, folders: set[AttemptId]) -> Iterator[Finding]:
    standing = {a.number: a.outcome for a in trial.attempts.values() if a.outcome and a.number > trial.deleted}
    finished = [n for n, end in standing.items() if end.state is TrialState.FINISHED and not end.ended_at_rung]
    if len(finished) > 1:
        yield Finding(f"trial {trial.number}", f"finished more than once: attempts {finished}", _REPORT)
    for attempt in trial.attempts.values():
        attempt_id = AttemptId(trial.number, attempt.number)
        if attempt_id not in folders and files.status_of(store.layout.attempt(attempt_id)) is None:
            yield Finding(
                _name(attempt_id),
                "the journal knows it, but its folder is gone",
                "was it removed by hand, or by its command?",
            )
        elif not attempt.void:
            yield from _attempt_findings(store, attempt_id, attempt)


def _attempt_findings(store: SweepStore, attempt_id: AttemptId, attempt: Attempt) -> Iterator[Finding]:
    if attempt.rivals:
        yield Finding(_name(attempt_id), f"claimed {len(attempt.rivals) + 1} times", _REPORT)
    if attempt.token is None:
        yield Finding(_name(attempt_id), "the journal has its end but not its claim", _RESUBMIT)
    recorded = attempt.outcome
    try:
        written = store.read_outcome(attempt_id)
    except StateUnreadableError as error:
        known = f"the journal says {recorded.state}: " if recorded else "until then the trial is left alone: "
        yield Finding(_name(attempt_id), str(error), f"{known}correct or remove the file, and check again")
        return
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
