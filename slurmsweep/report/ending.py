"""What happened to a sweep, once it has ended: counts, causes, what ran again, where nodes failed, what nobody knows.

A document for programs, and the same as text for whoever looks on Monday.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from slurmsweep.report.summary import Unmeasured
from slurmsweep.report.tables import params_text, unmeasured_words
from slurmsweep.report.terminal import printable
from slurmsweep.state.lifecycle import TrialState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from slurmsweep.report.summary import SweepSummary
    from slurmsweep.state.trial import Attempt, Trial

#: The cause of an end that only Slurm's accounting could have explained.
UNKNOWN = "lost"

#: Causes that say what was done to an attempt and not why: memory, a node, an urgent job, a person. Accounting knows.
BY_WHOM = ("terminated", "requeued", "signal 9", "signal 15")

#: Trials named in a line of text; all of them are in the document.
_NAMED = 12


def ending_document(
    summary: SweepSummary,
    *,
    accounting: str,
    rounds: int,
    notes: Sequence[str] = (),
    slurm_says: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """What happened.

    Args:
        summary: the sweep, with nothing left to do.
        accounting: ``used``, ``off``, or why it said nothing.
        rounds: of mending.
        notes: lines of theirs worth keeping, such as why a trial was given up.
        slurm_says: its accounting's words for jobs that did not complete, and how many of each.
    """
    ends = list(_ends(summary))
    counts = {state.value: n for state, n in summary.counts().items() if n}
    best = summary.best()
    times = list(_times(summary))
    return {
        "sweep": summary.manifest.sweep_id,
        "name": summary.manifest.config.name,
        "state": summary.state().value,
        "expected_run_count": summary.manifest.trials,
        "counts": counts,
        "attempts": len(ends) + summary.counts()[TrialState.FINISHED],
        "run_again": sum(max(0, _started(trial) - 1) for trial in summary.view.trials.unsettled()),
        "ends": _causes(ends),
        "nodes": _nodes(ends),
        "slurm_says": dict(slurm_says or {}),
        "unfinished": [_unfinished(summary, number) for number in _numbers_not_finished(summary)],
        "unknown": sum(1 for _, attempt in ends if _cause(attempt) == UNKNOWN),
        "unexplained": {} if accounting == "used" else _unexplained(ends),
        "accounting": accounting,
        "arrays": [{"job": s.job, "tasks": s.tasks} for s in summary.view.submissions.values() if s.job],
        "rounds": rounds,
        "notes": list(notes),
        "first_claim": min(times, default=None),
        "last_end": max(times, default=None),
        "best": best.to_json() if best else None,
        "unmeasured": [row._asdict() for row in summary.unmeasured()],
    }


def ending_text(document: Mapping[str, Any]) -> str:
    """The document in words."""
    counts = ", ".join(f"{n} {state}" for state, n in document["counts"].items()) or "none"
    name = f" ({printable(document['name'])})" if document["name"] else ""
    lines = [f"sweep {document['sweep']}{name}: {document['state']}", f"  trials    {counts}", *_when(document)]
    lines.append(
        f"  attempts  {document['attempts']}, of which {document['run_again']} ran a trial again; "
        f"{len(document['arrays'])} arrays, {document['rounds']} rounds of mending"
    )
    if document["ends"]:
        lines.append("what went wrong")
        lines += [f"  {_end_words(end)}" for end in document["ends"]]
    if document["slurm_says"]:
        words = ", ".join(f"{n} {word}" for word, n in document["slurm_says"].items())
        lines.append(f"  Slurm's own words for jobs that did not complete: {words}")
    if document["nodes"]:
        words = ", ".join(f"{node} {n}" for node, n in document["nodes"].items())
        lines.append(f"  attempts that did not finish, by node: {words}")
    lines += _unknown_words(document)
    if document["unfinished"]:
        lines.append("not finished, and not run again")
        lines += [_unfinished_words(trial) for trial in document["unfinished"]]
    if document["unmeasured"]:
        rows = [Unmeasured(**row) for row in document["unmeasured"]]
        lines += ["finished without a metric", *(f"  {words}" for words in unmeasured_words(rows))]
    if document["notes"]:
        lines += ["notes", *(f"  {printable(note)}" for note in document["notes"])]
    if document["best"]:
        best = document["best"]
        lines.append(f"best: {best['metric']:g} in trial {best['number']}: {params_text(best['params'])}")
    return "\n".join(lines)


def _ends(summary: SweepSummary) -> Iterator[tuple[Trial, Attempt]]:
    """Every attempt that ended otherwise than well."""
    for number in _numbers_of_trouble(summary):
        trial = summary.view.trials[number]
        for attempt in sorted(trial.attempts.values(), key=lambda a: a.number):
            if attempt.outcome and attempt.outcome.state is not TrialState.FINISHED:
                yield trial, attempt


def _numbers_of_trouble(summary: SweepSummary) -> list[int]:
    """Trials with more to tell than one attempt that finished."""
    return sorted({trial.number for trial in summary.view.trials.unsettled()} | set(_numbers_not_finished(summary)))


def _numbers_not_finished(summary: SweepSummary) -> list[int]:
    ended = [s for s in TrialState if s.has_ended() and s is not TrialState.FINISHED]
    return sorted(number for state in ended for number in summary.view.trials.in_state(state))


def _times(summary: SweepSummary) -> Iterator[float]:
    for number in summary.view.trials:
        for attempt in summary.view.trials[number].attempts.values():
            if attempt.claimed:
                yield attempt.claimed
            if attempt.outcome and attempt.outcome.ended:
                yield attempt.outcome.ended


def _started(trial: Trial) -> int:
    return sum(1 for attempt in trial.attempts.values() if attempt.token and not attempt.void)


def _cause(attempt: Attempt) -> str:
    return attempt.outcome.cause if attempt.outcome else ""


def _causes(ends: Sequence[tuple[Trial, Attempt]]) -> list[dict[str, Any]]:
    """One row a state and cause, the most frequent first."""
    rows: dict[tuple[str, str], list[int]] = {}
    for trial, attempt in ends:
        state = attempt.outcome.state.value if attempt.outcome else ""
        rows.setdefault((state, _cause(attempt)), []).append(trial.number)
    found = [{"state": s, "cause": c, "attempts": len(n), "trials": sorted(set(n))} for (s, c), n in rows.items()]
    return sorted(found, key=lambda row: -row["attempts"])


def _nodes(ends: Sequence[tuple[Trial, Attempt]]) -> dict[str, int]:
    nodes = (attempt.owner.node or attempt.owner.host for _, attempt in ends if attempt.owner)
    return dict(Counter(nodes).most_common())


def _unfinished(summary: SweepSummary, number: int) -> dict[str, Any]:
    trial = summary.trial(number)
    return {
        "trial": number,
        "state": trial.state.value,
        "cause": trial.cause,
        "attempt": trial.attempt,
        "log": trial.log,
    }


def _end_words(end: Mapping[str, Any]) -> str:
    numbers = [str(number) for number in end["trials"]]
    named = ", ".join(numbers[:_NAMED]) + (f" and {len(numbers) - _NAMED} more" if len(numbers) > _NAMED else "")
    cause = "cause unknown" if end["cause"] == UNKNOWN else printable(end["cause"])
    return f"{end['attempts']:>4} {end['state']}, {cause}: trials {named}"


def _unfinished_words(trial: Mapping[str, Any]) -> str:
    state = f"{trial['state']} ({printable(trial['cause'])}) at attempt {trial['attempt']}"
    return f"  trial {trial['trial']}: {state}, log {printable(trial['log'])}"


def _unexplained(ends: Sequence[tuple[Trial, Attempt]]) -> dict[str, int]:
    causes = Counter(_cause(attempt) for _, attempt in ends)
    return {cause: causes[cause] for cause in BY_WHOM if causes[cause]}


def _unknown_words(document: Mapping[str, Any]) -> list[str]:
    lines = []
    if document["unknown"]:
        lines.append(f"  unknown   the cause of {document['unknown']} ends: the process was gone without a word")
    if document["unexplained"]:
        words = ", ".join(f"{n} {cause}" for cause, n in document["unexplained"].items())
        lines.append(f"  unknown   why these were made to end: {words}")
    if lines and document["accounting"] != "used":
        lines.append(f"            (Slurm's accounting would tell: {printable(document['accounting'])})")
    return lines or ["  causes    all known"]


def _when(document: Mapping[str, Any]) -> list[str]:
    first, last = document["first_claim"], document["last_end"]
    if first is None:
        return []
    begin = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(first))
    end = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(last))
    return [f"  from {begin} to {end}, {last - first:.0f} s"]
