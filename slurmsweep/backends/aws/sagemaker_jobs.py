"""What SageMaker says of training jobs: those of submissions by lists, single ones by their descriptions.

A list of 100 jobs costs one question. It says how a job stands, and not why it failed: that is a question for each job,
once in the life of a process.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any

from slurmsweep.backends.aws import sagemaker_words
from slurmsweep.backends.aws.client import code_of
from slurmsweep.backends.base import Account, JobStatus
from slurmsweep.errors import NotFoundError, SchedulerError, SubmissionRefusedError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from slurmsweep.backends.aws.client import Client
    from slurmsweep.errors import SlurmsweepError

#: The group of CloudWatch Logs into which training jobs write.
LOG_GROUP = "/aws/sagemaker/TrainingJobs"

#: Jobs a page of ListTrainingJobs.
_PAGE = 100

#: Jobs whose accounts are asked for at once, one by one.
_MOST_ACCOUNTS = 200

#: Failed jobs whose reason is asked for in one look though no trial of theirs is in question: the newest.
_MOST_EXPLAINED = 20

#: A job's name: that of its submission, which ends with eight hexadecimal digits, and its number, which has fewer.
_JOB = re.compile(r"(.+-[0-9a-f]{8})-(\d{1,7})")

#: What ended jobs are, by region and name: an end is final, so it is asked for once in the life of a process.
_ended: dict[tuple[str, str], sagemaker_words.JobMeaning] = {}


def submission_of(job: str) -> str:
    """Return the name of the submission that a training job's name begins with; empty for a job made otherwise."""
    found = _JOB.fullmatch(job)
    return found[1] if found else ""


def look(
    sagemaker: Client, submissions: Collection[str], alone: Collection[str], *, explain: bool = True
) -> Iterator[tuple[str, sagemaker_words.JobMeaning]]:
    """Yield the jobs of submissions, and single jobs, each with what it means.

    Args:
        sagemaker: the client of the jobs' region.
        submissions: their names.
        alone: names of jobs that matter; one that SageMaker does not know is left out.
        explain: ask why failed jobs failed.
    """
    rows = {row["TrainingJobName"]: row for row in _rows(sagemaker, {*submissions, *map(submission_of, alone)})}
    explained = 0
    for name, row in rows.items():
        if name not in alone and submission_of(name) not in submissions:
            continue
        status, secondary = row["TrainingJobStatus"], row.get("SecondaryStatus", "")
        if secondary and status != "Failed":
            yield name, sagemaker_words.training_job(status, secondary)
            continue
        is_asked = explain and (name in alone or explained < _MOST_EXPLAINED)
        explained += is_asked and name not in alone
        found = _described(sagemaker, name) if is_asked else None
        yield name, found or sagemaker_words.training_job(status, secondary)
    for name in sorted(set(alone) - rows.keys()):
        if found := _described(sagemaker, name):  # of a person's own job, or not in the list yet
            yield name, found


def accounts(sagemaker: Client, ids: Collection[str]) -> Iterator[tuple[str, Account]]:
    """Yield what jobs have that are over: single ones, and all of submissions, the newest as far as is cheap."""
    alone = set(filter(submission_of, ids))
    wanted = (row for row in _rows(sagemaker, set(ids) - alone) if submission_of(row["TrainingJobName"]) in ids)
    over = (row["TrainingJobName"] for row in wanted if row.get("TrainingEndTime"))
    for name in islice(dict.fromkeys([*sorted(alone), *over]), _MOST_ACCOUNTS):
        try:
            said = sagemaker.ask("describe_training_job", TrainingJobName=name)
        except (NotFoundError, SubmissionRefusedError):
            continue
        seconds, limits = said.get("BillableTimeInSeconds"), said.get("StoppingCondition", {})
        if seconds is not None:
            limit = limits.get("MaxRuntimeInSeconds")
            yield name, Account(limit / 60 if limit else None, None, None, float(seconds), None, None)


def _rows(sagemaker: Client, submissions: Collection[str]) -> Iterator[dict[str, Any]]:
    """Yield the list's rows of all jobs of submissions: one list for each sweep that has several."""
    by_sweep: dict[str, list[str]] = {}
    for name in sorted(filter(None, submissions)):
        by_sweep.setdefault(name[:-8], []).append(name)
    for beginning, names in by_sweep.items():
        yield from listed(sagemaker, names[0] if len(names) == 1 else beginning)


def _described(sagemaker: Client, name: str) -> sagemaker_words.JobMeaning | None:
    """Return what a job is by its description; None where SageMaker knows none of that name."""
    key = (sagemaker.region, name)
    if key in _ended:
        return _ended[key]
    try:
        said = sagemaker.ask("describe_training_job", TrainingJobName=name)
    except (NotFoundError, SubmissionRefusedError) as error:
        if not _is_unknown(error):
            raise
        return None
    status, secondary = said["TrainingJobStatus"], said.get("SecondaryStatus", "")
    found = sagemaker_words.training_job(status, secondary, said.get("FailureReason", ""))
    if not found.said.alive:
        _ended[key] = found
    return found


def listed(sagemaker: Client, beginning: str) -> Iterator[dict[str, Any]]:
    """Yield what the list says of the jobs whose names begin so, the newest first."""
    asked = {"NameContains": beginning, "MaxResults": _PAGE, "SortBy": "CreationTime", "SortOrder": "Descending"}
    rows = sagemaker.pages("list_training_jobs", "TrainingJobSummaries", **asked)
    return (row for row in rows if row["TrainingJobName"].startswith(beginning))


def status_of(name: str, found: sagemaker_words.JobMeaning) -> JobStatus:
    """Return the status of a job by its name and what it means."""
    return JobStatus(
        word=found.word,
        exit_code=found.exit_code,
        node="",
        source=sagemaker_words.SOURCE,
        reason=found.reason,
        name=submission_of(name) or name,
        wait=found.wait,
        **found.said._asdict(),
    )


def _is_unknown(error: SlurmsweepError) -> bool:
    """Return whether there is no job of that name: AWS was seen to call it a ValidationException, too."""
    return isinstance(error, NotFoundError) or (code_of(error) == "ValidationException" and "not found" in str(error))


def is_over(error: SchedulerError) -> bool:
    """Return whether a job was not stopped because it has ended, is being stopped, or is not known."""
    return _is_unknown(error) or (code_of(error) == "ValidationException" and "status" in str(error))
