"""What AWS Batch says of jobs: parents of arrays by their counts, and elements by lists of one state.

An array of 10,000 costs one question, and one more for each thousand elements in the states that matter. A job that was
submitted a moment ago may be missing in an answer; so may an element that changes its state between two lists, which is
why lists are asked for in the order of a job's life, and an element that a caller wants is described where no list had
it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from slurmsweep.backends.aws import batch_words, words
from slurmsweep.backends.aws.container import DIGEST_TAG
from slurmsweep.backends.aws.service import in_parts
from slurmsweep.backends.base import Account, JobStatus, Wait
from slurmsweep.backends.keys import JobRef, key_on

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from slurmsweep.backends.aws.client import Client
    from slurmsweep.backends.aws.words import Said

#: The group of CloudWatch Logs into which jobs write where their definition names none.
LOG_GROUP = "/aws/batch/job"

#: Jobs that DescribeJobs takes.
_MOST_DESCRIBED = 100

#: Seconds to a second look at jobs that are missing, of which some may have been submitted a moment ago.
_SECOND_LOOK = 1.0

#: Wanted elements that no list has had, of which each is described; of more the list of those that succeeded is read.
_MOST_MISSING = 200


def look(
    batch: Client, cluster: str, ids: Collection[str], wanted: Iterable[JobRef] = ()
) -> tuple[dict[JobRef, JobStatus], set[str]]:
    """Return what is known of jobs, and the ids that Batch does not know (any more, or yet).

    Of an array: each element that lives or has failed, and the ``wanted`` ones.

    Args:
        batch: the client of the jobs' region.
        cluster: of the jobs' keys.
        ids: of arrays and plain jobs.
        wanted: elements whose end is to be known, too.
    """
    wanted_of: dict[str, set[int]] = defaultdict(set)
    for ref in wanted:
        if ref.task is not None:
            wanted_of[ref.job].add(ref.task)
    details = described(batch, ids)
    missing = set(ids) - details.keys()
    if missing:
        time.sleep(_SECOND_LOOK)
        details |= described(batch, missing)
    found: dict[JobRef, JobStatus] = {}
    for job_id, job in details.items():
        key = key_on(job_id, cluster)
        if _is_array(job):
            found |= _elements(batch, key, job, wanted_of[key])
        else:
            found[JobRef(key)] = status_of(job, job)
    return _with_queues(batch, details, found, cluster), set(ids) - details.keys()


def described(batch: Client, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return what DescribeJobs says, by id; a job that Batch does not know is absent."""
    return {
        job["jobId"]: job
        for part in in_parts(sorted(set(ids)), _MOST_DESCRIBED)
        for job in batch.ask("describe_jobs", jobs=list(part))["jobs"]
    }


def listed(batch: Client, array: str, status: str) -> Iterable[dict[str, Any]]:
    """Yield the summaries of an array's elements in a state."""
    return batch.pages("list_jobs", "jobSummaryList", arrayJobId=array, jobStatus=status)


def said_of(job: Mapping[str, Any]) -> Said:
    """Return what a detail, or a summary, says of a job. Raises SchedulerError for an unknown state."""
    container = job.get("container", {})
    return batch_words.batch_job(
        job["status"],
        job.get("statusReason", ""),
        container.get("reason", ""),
        container.get("exitCode"),
        by_order=bool(job.get("isTerminated") or job.get("isCancelled")),
    )


def status_of(job: Mapping[str, Any], whole: Mapping[str, Any]) -> JobStatus:
    """Return the status of a job.

    Args:
        job: its detail or summary.
        whole: the detail of the job, or of its array.
    """
    said = said_of(job)
    container, reason = job.get("container", {}), job.get("statusReason", "")
    texts = [text for text in (reason, container.get("reason", "")) if text]
    seconds = whole.get("timeout", {}).get("attemptDurationSeconds")
    return JobStatus(
        word=job["status"],
        exit_code=None if said.alive else container.get("exitCode"),
        node=words.instance_in(*texts),
        source=batch_words.SOURCE,
        reason=": ".join(texts) if not said.alive or said.waits else "",
        name=job["jobName"],
        minutes=seconds / 60 if said.alive and seconds else None,
        wait=batch_words.wait_for(reason) if said.waits else None,
        **said._asdict(),
    )


def _is_array(job: Mapping[str, Any]) -> bool:
    """Return whether a job is the parent of an array: an element has an index in the same place."""
    return bool(job.get("arrayProperties", {}).get("size"))


def _elements(batch: Client, key: str, array: Mapping[str, Any], wanted: set[int]) -> dict[JobRef, JobStatus]:
    """Return the elements of an array that live or failed, and those that are wanted. Raises as :func:`said_of`."""
    counts = {word: n for word, n in array["arrayProperties"].get("statusSummary", {}).items() if n}
    for word in (array["status"], *counts):
        batch_words.batch_job(word)  # elements in a state that is not known are not elements that are over
    if not counts and array["status"] in batch_words.LIVE:  # its elements are not made yet
        early = status_of(array, array)
        return {JobRef(key, task): early for task in range(array["arrayProperties"]["size"])}
    found: dict[JobRef, JobStatus] = {}

    def read(status: str) -> None:
        for job in listed(batch, array["jobId"], status):
            found[JobRef(key, job["arrayProperties"]["index"])] = status_of(job, array)

    for status in _states_to_list(counts):
        read(status)
    if sum(JobRef(key, task) not in found for task in wanted) > _MOST_MISSING:
        read("SUCCEEDED")
    missing = {task for task in wanted if JobRef(key, task) not in found}
    # a person's own reason for ending a job stands in no table, and only a detail says that it was an order
    unclear = {task for task in wanted if (one := found.get(JobRef(key, task))) and one.cause == words.LOST.cause}
    for job in described(batch, (f"{array['jobId']}:{task}" for task in missing | unclear)).values():
        found[JobRef(key, job["arrayProperties"]["index"])] = status_of(job, array)
    return found


def _states_to_list(counts: Mapping[str, int]) -> list[str]:
    """Return the states whose elements are listed, in the order of a job's life, so that none slips through."""
    first = next((place for place, word in enumerate(batch_words.LIVE) if counts.get(word)), None)
    live = [] if first is None else list(batch_words.LIVE[first:])
    return [*live, *(["FAILED"] if live or counts.get("FAILED") else [])]


def _with_queues(
    batch: Client, details: Mapping[str, Mapping[str, Any]], found: dict[JobRef, JobStatus], cluster: str
) -> dict[JobRef, JobStatus]:
    """Return ``found``; jobs that wait without a reason of Batch get as reason what is wrong with their queue."""
    silent = {ref for ref, status in found.items() if status.waits and not status.reason}
    queues = {key_on(job_id, cluster): job["jobQueue"] for job_id, job in details.items()}
    named = sorted({queues[ref.job] for ref in silent})
    said: dict[str, tuple[str, Wait]] = {}
    for part in in_parts(named, _MOST_DESCRIBED):
        for queue in batch.ask("describe_job_queues", jobQueues=list(part))["jobQueues"]:
            if trouble := queue_trouble(queue):
                said[queue["jobQueueArn"]] = trouble
    for ref in silent:
        if trouble := said.get(queues[ref.job]):
            found[ref] = found[ref]._replace(reason=trouble[0], wait=trouble[1])
    return found


def queue_trouble(queue: Mapping[str, Any]) -> tuple[str, Wait] | None:
    """Return what is wrong with a queue in Batch's words, and what that means for jobs in it; None for nothing."""
    name, help_text = queue["jobQueueName"], "`slurmsweep doctor --backend batch` says more"
    status = queue.get("status", "VALID")
    if status in ("INVALID", "DELETING", "DELETED"):
        reason = f"queue {name} is {status}" + (f": {queue['statusReason']}" if queue.get("statusReason") else "")
        return reason, Wait("the queue cannot run jobs", help_text, is_stuck=True)
    if queue["state"] == "DISABLED":
        return f"queue {name} is DISABLED", Wait("the queue takes no new jobs; those in it may still run", help_text)
    return None


def accounts(batch: Client, cluster: str, ids: Sequence[str]) -> Iterator[tuple[JobRef, Account]]:
    """Yield what jobs that are over asked for, and how long they ran; what they used is not known to Batch."""
    for job_id, whole in described(batch, ids).items():
        key, is_array = key_on(job_id, cluster), _is_array(whole)
        jobs = (job for status in batch_words.OVER for job in listed(batch, job_id, status)) if is_array else [whole]
        for job in jobs:
            if job.get("startedAt") and job.get("stoppedAt"):
                yield JobRef(key, job.get("arrayProperties", {}).get("index")), _account(job, whole)


def _account(job: Mapping[str, Any], whole: Mapping[str, Any]) -> Account:
    needs = {one["type"]: one["value"] for one in whole.get("container", {}).get("resourceRequirements", ())}
    seconds = whole.get("timeout", {}).get("attemptDurationSeconds")
    return Account(
        minutes=seconds / 60 if seconds else None,
        mem=float(needs["MEMORY"]) if "MEMORY" in needs else None,
        cpus=max(1, round(float(needs.get("VCPU", 1)))),
        elapsed=(job["stoppedAt"] - job["startedAt"]) / 1000,
        max_rss=None,
        cpu_seconds=None,
    )


def unsuccessful(batch: Client, ids: Sequence[str]) -> Iterator[str]:
    """Yield the cause of each job that ended without success; of attempts that Batch repeated, the last counts."""
    for job_id, whole in described(batch, ids).items():
        jobs = listed(batch, job_id, "FAILED") if _is_array(whole) else [whole]
        yield from words.unsuccessful(map(said_of, jobs))


def registered(batch: Client, content: Mapping[str, Any]) -> str:
    """Return the ARN of the newest active definition with this content, the input of RegisterJobDefinition; else ""."""
    name, digest = content["jobDefinitionName"], content["tags"][DIGEST_TAG]
    active = batch.pages("describe_job_definitions", "jobDefinitions", jobDefinitionName=name, status="ACTIVE")
    same = [one for one in active if one.get("tags", {}).get(DIGEST_TAG) == digest]
    return str(max(same, key=lambda one: one["revision"])["jobDefinitionArn"]) if same else ""
