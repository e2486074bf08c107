"""What happened to a sweep that has ended: counts, causes, what ran again, where nodes failed, what is not known.

A document for programs, and the same as text for people.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slurmsweep.report.figures import counted, numbers_text, value_text
from slurmsweep.report.summary import Unmeasured, target_document
from slurmsweep.report.tables import params_text, unmeasured_words
from slurmsweep.report.terminal import printable
from slurmsweep.state.lifecycle import TrialState, counts_in_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slurmsweep.report.summary import SweepSummary

#: The cause of an end that only the scheduler's accounting could have explained.
UNKNOWN = "lost"

#: Causes that say what was done to an attempt and not why: memory, a node, an urgent job, a person. Accounting knows.
BY_WHOM = ("terminated", "requeued", "signal 9", "signal 15")

#: Number of trials named in a line of text; the document names all of them.
_NAMED = 12


@dataclass(frozen=True)
class _End:
    """One attempt that ended and did not finish; ``node`` is None where its claim was not recorded."""

    trial: int
    state: TrialState
    cause: str
    node: str | None


def ending_document(
    summary: SweepSummary,
    *,
    accounting: str,
    rounds: int,
    notes: Sequence[str] = (),
    slurm_says: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Return what happened, as a document.

    Args:
        summary: the sweep, with nothing left to do.
        accounting: ``used``, ``off``, or why accounting did not answer.
        rounds: number of rounds that supervisors held.
        notes: lines of the supervisors worth keeping, such as why a trial was given up.
        slurm_says: number of jobs that did not complete, by the words of the scheduler's accounting.
    """
    trials = summary.view.trials
    states = [state for state in TrialState if state.has_ended() and state is not TrialState.FINISHED]
    early = set(trials.stopped_early())
    unfinished = sorted(number for state in states for number in trials.in_state(state) if number not in early)
    ends = _ends(summary, unfinished)
    causes = Counter(end.cause for end in ends)
    counts = summary.counts()
    best = summary.best()
    first, last = trials.times() or (None, None)
    started = [sum(1 for a in trial.attempts.values() if a.token and not a.void) for trial in trials.stories()]
    return {
        "sweep": summary.manifest.sweep_id,
        "name": summary.manifest.config.name,
        "state": summary.state().value,
        "state_in_words": summary.state_words(),
        "expected_run_count": summary.manifest.trials,
        "counts": {state.value: n for state, n in counts.items() if n},
        **summary.stopped_early_document(),
        **summary.points_document(),
        "attempts": len(ends) + counts[TrialState.FINISHED] + len(early),
        "run_again": sum(max(0, attempts - 1) for attempts in started),
        "ends": _by_cause(ends),
        "nodes": dict(Counter(end.node for end in ends if end.node is not None).most_common()),
        "slurm_says": dict(slurm_says or {}),
        "unfinished": [
            {"trial": row.number, "state": row.state.value, "cause": row.cause, "attempt": row.attempt, "log": row.log}
            for row in map(summary.trial, unfinished)
        ],
        "unknown": causes[UNKNOWN],
        "unexplained": {c: causes[c] for c in BY_WHOM if causes[c]} if accounting != "used" else {},
        "accounting": accounting,
        "arrays": [{"job": s.job, "tasks": s.tasks} for s in summary.view.submissions.values() if s.job],
        "rounds": rounds,
        "notes": list(notes),
        "first_claim": first,
        "last_end": last,
        "best": best.to_json() if best else None,
        "unmeasured": [row._asdict() for row in summary.unmeasured()],
        **target_document(summary),
    }


def ending_text(document: Mapping[str, Any]) -> str:
    """Return the document in words."""
    states = {TrialState(state): n for state, n in document["counts"].items()}
    not_needed = document.get("not_needed", 0)
    by_word = counts_in_words(states, document.get("stopped_early", 0) + not_needed, not_needed)
    counts = ", ".join(f"{n} {word}" for word, n in by_word.items()) or "none"
    name = f" ({printable(document['name'])})" if document["name"] else ""
    arrays = f"{counted(len(document['arrays']), 'array')}, {counted(document['rounds'], 'round')} of mending"
    lines = [
        f"sweep {document['sweep']}{name}: {printable(document['state_in_words'])}",
        f"  trials    {counts}",
        *_when(document),
        f"  attempts  {document['attempts']}, of which {document['run_again']} ran a trial again; {arrays}",
    ]
    if document["ends"]:
        lines.append("what went wrong")
    for end in document["ends"]:
        cause = "cause unknown" if end["cause"] == UNKNOWN else printable(end["cause"])
        trials = numbers_text(end["trials"], _NAMED)
        lines.append(f"  {end['attempts']:>4} {end['state']}, {cause}: trials {trials}")
    if document["slurm_says"]:
        words = ", ".join(f"{n} {word}" for word, n in document["slurm_says"].items())
        lines.append(f"  the scheduler's own words for jobs that did not complete: {words}")
    if document["nodes"]:
        words = ", ".join(f"{node} {n}" for node, n in document["nodes"].items())
        lines.append(f"  attempts that did not finish, by node: {words}")
    lines += _unknown_words(document)
    if document["unfinished"]:
        lines.append("not finished, and not run again")
    for row in document["unfinished"]:
        state = f"{row['state']} ({printable(row['cause'])}) at attempt {row['attempt']}"
        lines.append(f"  trial {row['trial']}: {state}, log {printable(row['log'])}")
    if document["unmeasured"]:
        rows = [Unmeasured(**row) for row in document["unmeasured"]]
        lines += ["finished without a metric", *(f"  {words}" for words in unmeasured_words(rows))]
    if document["notes"]:
        lines += ["notes", *(f"  {printable(note)}" for note in document["notes"])]
    if document["best"]:
        best = document["best"]
        which = f"point {best['point']}" if best.get("runs") else f"trial {best['number']}"
        lines.append(f"best: {value_text(best['metric'])} in {which}: {params_text(best['params'])}")
    return "\n".join(lines)


def _ends(summary: SweepSummary, unfinished: Sequence[int]) -> list[_End]:
    """Return the attempts that did not finish, by number: also those of trials that finished at a later attempt."""
    trials = summary.view.trials
    found = []
    for number in sorted({trial.number for trial in trials.stories()}.union(unfinished)):
        for _, attempt in sorted(trials[number].attempts.items()):
            outcome, owner = attempt.outcome, attempt.owner
            if outcome and not outcome.is_done:
                node = (owner.node or owner.host) if owner else None
                found.append(_End(number, outcome.state, outcome.cause, node))
    return found


def _by_cause(ends: Sequence[_End]) -> list[dict[str, Any]]:
    """Return one row a state and cause, the most frequent first."""
    rows: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for end in ends:
        rows[end.state.value, end.cause].append(end.trial)
    found = [{"state": s, "cause": c, "attempts": len(n), "trials": sorted(set(n))} for (s, c), n in rows.items()]
    return sorted(found, key=lambda row: -row["attempts"])


def _unknown_words(document: Mapping[str, Any]) -> list[str]:
    lines = []
    if document["unknown"]:
        lines.append(f"  unknown   the cause of {document['unknown']} ends: the process was gone without a word")
    if document["unexplained"]:
        words = ", ".join(f"{n} {cause}" for cause, n in document["unexplained"].items())
        lines.append(f"  unknown   why these were made to end: {words}")
    if lines and document["accounting"] != "used":
        lines.append(f"            (the scheduler's accounting would tell: {printable(document['accounting'])})")
    return lines or ["  causes    all known"]


def _when(document: Mapping[str, Any]) -> list[str]:
    first, last = document["first_claim"], document["last_end"]
    if first is None:
        return []
    begin, end = (time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment)) for moment in (first, last))
    return [f"  from {begin} to {end}, {last - first:.0f} s"]
