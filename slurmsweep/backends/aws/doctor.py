"""Look at what jobs in AWS need before any is submitted: who asks, roles, log groups, and what each service has.

Each look is one or two questions that change nothing. What may not be asked is a warning, never an error: who submits
jobs need not be allowed to read roles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.backends.aws.batch_jobs import queue_trouble
from slurmsweep.backends.aws.client import LOG_IN, region_of
from slurmsweep.backends.aws.service import client
from slurmsweep.errors import NotFoundError, SlurmsweepError, UsageError
from slurmsweep.state.filesystem import Fitness, Opinion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from slurmsweep.backends.base import Options

    #: What was looked at, and what was seen.
    Finding = tuple[str, Opinion]


def identity(region: str) -> Finding:
    """Return in which account this process asks; never a key, nor who."""
    said = client("sts", region).ask("get_caller_identity")
    return "identity", Opinion(Fitness.GOOD, f"account {said['Account']}, region {region}")


def role(name_or_arn: str, subject: str, region: str, service: str = "ecs-tasks.amazonaws.com") -> Finding:
    """Return whether there is such a role, and whether a service may have it: by default ECS, for jobs of Batch too."""
    name = name_or_arn.rpartition("/")[2]
    found = client("iam", region).ask("get_role", RoleName=name)["Role"]
    trust = str(found.get("AssumeRolePolicyDocument") or "")
    if trust and service not in trust:
        advice = f'let "Service": "{service}" assume it'
        return subject, Opinion(Fitness.BAD, f"no container may have the role {name}", advice)
    return subject, Opinion(Fitness.GOOD, f"there is a role {name}")


def log_group(name: str, region: str, *, is_made: bool) -> Finding:
    """Return whether a group of logs is there; ``is_made``: the service makes it with the first job."""
    groups = client("logs", region).pages("describe_log_groups", "logGroups", logGroupNamePrefix=name)
    if any(group["logGroupName"] == name for group in groups):
        return "logs", Opinion(Fitness.GOOD, f"log group {name}")
    if is_made:
        return "logs", Opinion(Fitness.GOOD, f"log group {name} comes with the first job")
    advice = f"aws logs create-log-group --log-group-name {name} --region {region}"
    return "logs", Opinion(Fitness.BAD, f"there is no log group {name}", advice)


def batch_queue(name: str, region: str) -> list[Finding]:
    """Return what a queue of Batch is, and each compute environment of it."""
    batch = client("batch", region)
    found = batch.ask("describe_job_queues", jobQueues=[name])["jobQueues"]
    if not found:
        advice = "`aws batch describe-job-queues` lists them; --region may be another one"
        return [("queue", Opinion(Fitness.BAD, f"there is no queue {name} in {region}", advice))]
    queue = found[0]
    orders = [one["computeEnvironment"] for one in queue.get("computeEnvironmentOrder", ())]
    return [("queue", _of_queue(queue)), *_environments(batch.ask, orders)]


def _of_queue(queue: Mapping[str, Any]) -> Opinion:
    trouble = queue_trouble(queue)
    if trouble is None:
        return Opinion(Fitness.GOOD, f"{queue['jobQueueName']} is {queue['state']} and {queue.get('status', 'VALID')}")
    advice = "see its statusReason; `aws batch update-job-queue` mends it"
    if queue["state"] == "DISABLED":
        advice = f"aws batch update-job-queue --job-queue {queue['jobQueueName']} --state ENABLED"
    return Opinion(Fitness.BAD, f"{trouble[0]}: {trouble[1].why}", advice)


def _environments(ask: Callable[..., Mapping[str, Any]], arns: Sequence[str]) -> Iterator[Finding]:
    known = ask("describe_compute_environments", computeEnvironments=list(arns)) if arns else {}
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


def sqs_queue(url: str, name: str, region: str) -> Finding:
    """Return whether a queue of SQS is there, how many messages wait in it, and whether it keeps those refused."""
    wanted = ["ApproximateNumberOfMessages", "RedrivePolicy"]
    found = client("sqs", region).ask("get_queue_attributes", QueueUrl=url, AttributeNames=wanted)["Attributes"]
    if "RedrivePolicy" not in found:
        why = f"{name} has no redrive policy: a message that no machine may run comes for ever"
        return "queue", Opinion(Fitness.WARN, why, "give it a queue for dead letters, with maxReceiveCount 5")
    return "queue", Opinion(Fitness.GOOD, f"about {found['ApproximateNumberOfMessages']} messages wait in {name}")


def batch_definition(name: str, region: str) -> tuple[Finding, Mapping[str, Any]]:
    """Return whether a definition that a person named can run jobs, and its container; by name, with revision, or ARN.

    Without a revision Batch takes the newest active one.
    """
    batch = client("batch", region)
    if ":" in name:
        known = list(batch.pages("describe_job_definitions", "jobDefinitions", jobDefinitions=[name]))
    else:
        known = list(batch.pages("describe_job_definitions", "jobDefinitions", jobDefinitionName=name, status="ACTIVE"))
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


def each(*looks: tuple[str, Callable[[], Finding | list[Finding]]]) -> list[Finding]:
    """Return what each look saw; one that AWS refuses, or does not answer, is a finding under its own subject."""
    findings: list[Finding] = []
    for subject, look in looks:
        try:
            seen = look()
        except NotFoundError as error:  # noqa: PERF203 - a few questions
            findings.append((subject, Opinion(Fitness.BAD, str(error), "is its name right?")))
        except SlurmsweepError as error:
            findings.append((subject, Opinion(Fitness.WARN, f"could not be asked: {error}")))
        else:
            findings += seen if isinstance(seen, list) else [seen]
    return findings


def unnamed(option: str, value: str = "NAME") -> Finding:
    """Return that a user names no queue, or no cluster, and where to write it."""
    advice = f"--{option} {value}, or `aws: {{{option}: {value}}}` in .slurmsweep.yaml or the sweep file"
    return option, Opinion(Fitness.WARN, f"no {option} is named", advice)


def after_identity(region: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    """Return who asks, and what ``look`` sees; without an answer nothing else can be asked, and the finding is bad."""
    try:
        findings = [identity(region)]
    except SlurmsweepError as error:
        why = str(error)
        return [("identity", Opinion(Fitness.BAD, why, "" if LOG_IN in why else LOG_IN))]
    return [*findings, *look()]


def in_region(options: Options, look: Callable[[str], list[Finding]]) -> list[Finding]:
    """Return the same for the region that options name; one that is none is a bad finding."""
    try:
        region = region_of(options.get("region"))
    except UsageError as error:
        return [("region", Opinion(Fitness.BAD, str(error), "name one"))]
    return after_identity(region, lambda: look(region))
