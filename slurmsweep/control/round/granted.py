"""What a scheduler gives jobs where that is not what was asked for: a plugin of the site or a QOS may change it.

What is reckoned with afterwards (more time for what ran out of time, for example) is what the jobs have. It costs no
question: the first answer about a submission's live jobs is compared with its options, and what differs is recorded.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from slurmsweep.backends.keys import job_key
from slurmsweep.state.records import SubmitRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from slurmsweep.backends.base import JobStatus
    from slurmsweep.control.session import Session
    from slurmsweep.control.snapshot import Snapshot
    from slurmsweep.state.replay import Submission


def differences(session: Session, snapshot: Snapshot) -> dict[str, dict[str, str]]:
    """Return by name of the submission the options that its live jobs have otherwise than was asked for."""
    return {
        submission.name: changed
        for submission, status in _to_compare(snapshot)
        if (changed := dict(_changed(session, submission.asked or {}, status)))
    }


def words(snapshot: Snapshot, found: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return a line for each difference, for people."""
    submissions = snapshot.view.submissions
    return [
        f"job {submissions[name].job}: --{option} is {value}, and {(submissions[name].asked or {}).get(option)} was "
        "asked for: the site, a QOS or scontrol changed it"
        for name, changed in found.items()
        for option, value in changed.items()
    ]


def record(session: Session, snapshot: Snapshot, *, all_of_them: bool = False) -> tuple[str, ...]:
    """Record what differs, once for each submission, and return it in words.

    With ``all_of_them`` what does not differ is recorded as compared too: a command is about to change the jobs.

    Raises:
        StateError: nothing was recorded.
    """
    found = differences(session, snapshot)
    said = words(snapshot, found)
    names = {submission.name for submission, _ in _to_compare(snapshot)} if all_of_them else found.keys()
    if names:
        with session.transaction() as transaction:
            for name in sorted(names):
                known = session.view.submissions[name]
                asked = {**(known.asked or {}), **found.get(name, {})}
                stays = (known.template, known.wishes, known.agents)
                transaction.submit(
                    SubmitRecord(name, known.tasks, known.job, asked, *stays, cluster=known.cluster, compared=True)
                )
    return tuple(said)


def _to_compare(snapshot: Snapshot) -> Iterator[tuple[Submission, JobStatus]]:
    """Yield the submissions that were not compared yet, each with the first of its live jobs."""
    first = {ref.job: status for ref, status in sorted(snapshot.named.items(), reverse=True)}
    for submission in snapshot.view.submissions.values():
        key = job_key(submission.job or "", submission.cluster, snapshot.answer.cluster)
        if not submission.compared and submission.asked is not None and key in first:
            yield submission, first[key]


def _changed(session: Session, asked: Mapping[str, str | bool], status: JobStatus) -> Iterator[tuple[str, str]]:
    """Yield each option whose value is another one, with that value; a scheduler rounds times up to minutes."""
    wanted, partitions = session.scheduler.asked(asked).time, str(asked.get("partition") or "")
    if wanted and status.minutes and ceil(wanted) != ceil(status.minutes):
        yield "time", f"{status.minutes:g}"
    # of several that were asked for a job starts in one
    if partitions and status.partition and not set(status.partition.split(",")) <= set(partitions.split(",")):
        yield "partition", status.partition
