"""Look at what jobs of AWS Batch need before any is submitted: queue, definition, logs, roles. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.backends.aws import batch_jobs, batch_requests, doctor
from slurmsweep.backends.aws.service import client
from slurmsweep.state.filesystem import Fitness, Opinion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from slurmsweep.backends.aws.client import Client
    from slurmsweep.backends.aws.doctor import Finding
    from slurmsweep.backends.base import JobRequest, Options


def look(options: Options, region: str, request: Callable[[], JobRequest]) -> list[Finding]:
    """Return what was looked at, and what was seen, for jobs with these options. Never raises.

    ``request`` returns a request for such a job; it is called, and may raise, where no definition in AWS is named.
    """
    batch = client("batch", region)
    queue, named = str(options.get("queue") or ""), str(options.get("definition") or "")
    queues = doctor.each(("queue", lambda: _queue(batch, queue))) if queue else [doctor.unnamed("queue")]
    if named:
        seen, container = doctor.definition_in_aws(lambda: _definition(batch, named))
    else:
        seen, content = doctor.definition_to_make(
            lambda: batch_requests.definition(request()), lambda content: batch_jobs.registered(batch, content)
        )
        container = content.get("containerProperties", {})
    settings = container.get("logConfiguration", {}).get("options", {})
    roles = {name: container.get(name, "") for name in ("jobRoleArn", "executionRoleArn")}
    return [*queues, *seen, *doctor.logs_and_roles(settings, roles, region, made_group=batch_jobs.LOG_GROUP)]


def _queue(batch: Client, name: str) -> list[Finding]:
    """Return what a queue is, and each compute environment of it."""
    found = batch.ask("describe_job_queues", jobQueues=[name])["jobQueues"]
    if not found:
        advice = "`aws batch describe-job-queues` lists them; --region may be another one"
        return [("queue", Opinion(Fitness.BAD, f"there is no queue {name} in {batch.region}", advice))]
    queue = found[0]
    orders = [one["computeEnvironment"] for one in queue.get("computeEnvironmentOrder", ())]
    seen = Opinion(Fitness.GOOD, f"{queue['jobQueueName']} is {queue['state']} and {queue.get('status', 'VALID')}")
    if trouble := batch_jobs.queue_trouble(queue):
        advice = "see its statusReason; `aws batch update-job-queue` mends it"
        if queue["state"] == "DISABLED":
            advice = f"aws batch update-job-queue --job-queue {queue['jobQueueName']} --state ENABLED"
        seen = Opinion(Fitness.BAD, f"{trouble[0]}: {trouble[1].why}", advice)
    return [("queue", seen), *_environments(batch, orders)]


def _environments(batch: Client, arns: Sequence[str]) -> Iterator[Finding]:
    known = batch.ask("describe_compute_environments", computeEnvironments=list(arns)) if arns else {}
    found = {one["computeEnvironmentArn"]: one for one in known.get("computeEnvironments", ())}
    for arn in arns:
        name, one = arn.rpartition("/")[2], found.get(arn)
        if one is None:
            yield "compute", Opinion(Fitness.BAD, f"there is no compute environment {name}", "give the queue another")
            continue
        state, status = one.get("state", ""), one.get("status", "")
        limits = one.get("computeResources", {})
        why = f"{name} is {state} and {status}" + (f": {one['statusReason']}" if one.get("statusReason") else "")
        if limits:
            why += f"; {limits.get('type', '')}, at most {limits.get('maxvCpus', '?')} vCPUs"
        if status == "INVALID" or state == "DISABLED" or limits.get("maxvCpus") == 0:
            advice = "jobs wait for ever here: mend it by `aws batch update-compute-environment`"
            yield "compute", Opinion(Fitness.BAD, why, advice)
        elif status not in ("VALID", ""):
            yield "compute", Opinion(Fitness.WARN, why, "it changes at this moment: look again")
        else:
            yield "compute", Opinion(Fitness.GOOD, why)


def _definition(batch: Client, name: str) -> tuple[Finding, Mapping[str, Any]]:
    """Return whether a definition that a person named can run jobs, and its container; by name, with revision, or ARN.

    Without a revision Batch takes the newest active one.
    """
    asked: dict[str, Any] = {"jobDefinitionName": name, "status": "ACTIVE"}
    if ":" in name:
        asked = {"jobDefinitions": [name]}
    known = batch.pages("describe_job_definitions", "jobDefinitions", **asked)
    active = [one for one in known if one.get("status", "ACTIVE") == "ACTIVE"]
    if not active:
        advice = "`aws batch describe-job-definitions --status ACTIVE` lists them"
        return ("definition", Opinion(Fitness.BAD, f"there is no active job definition {name}", advice)), {}
    newest = max(active, key=lambda one: one["revision"])
    container = newest.get("containerProperties", {})
    named = f"{newest['jobDefinitionName']}:{newest['revision']}"
    if not container:
        return ("definition", Opinion(Fitness.BAD, f"{named} has no container", "name one of type container")), {}
    return ("definition", Opinion(Fitness.GOOD, f"{named}, image {container.get('image', '?')}")), container
