"""What Amazon ECS says of tasks: those that a submission started, by its name, and single ones by their ids.

ECS is eventually consistent: a task that was started a moment ago may be missing in an answer. An hour after its end it
forgets a task: then it is absent.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.backends.aws import ecs_words, words
from slurmsweep.backends.aws.service import in_parts
from slurmsweep.backends.base import Account, JobStatus
from slurmsweep.errors import NotFoundError, SchedulerUnavailableError, SubmissionRefusedError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from slurmsweep.backends.aws.client import Client
    from slurmsweep.backends.aws.words import Said

#: The variable by which an agent keeps its time limit: ECS keeps none.
TIME_LIMIT = "SLURMSWEEP_TIME_LIMIT_SECONDS"

#: Tasks that DescribeTasks takes.
_MOST_DESCRIBED = 100

#: What a task is to be; ListTasks answers for one of them.
_DESIRED = ("RUNNING", "STOPPED")

#: Ids of tasks, of today and of before 2018. Names of submissions are longer, and no hexadecimal numbers.
_TASK = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Cluster(NamedTuple):
    """A cluster, and the client of its region."""

    ecs: Client
    name: str


def _is_task(word: str) -> bool:
    """Return whether a word is the id of a task, and not the name of a submission."""
    return _TASK.fullmatch(word) is not None


def id_of(arn: str) -> str:
    """Return the id of a task: the last part of its ARN."""
    return arn.rpartition("/")[2]


def look(cluster: Cluster, ids: Collection[str], also: Iterable[str] = ()) -> dict[str, dict[str, Any]]:
    """Return what DescribeTasks says, by id; tasks that ECS does not know (any more, or yet) are absent.

    Args:
        cluster: of the tasks.
        ids: of tasks, and names of submissions, of which all tasks are meant.
        also: further tasks.

    Raises:
        SchedulerUnavailableError: ECS did not answer, or this account has no such cluster.
    """
    tasks = {*also, *filter(_is_task, ids)}
    try:
        for name in ids:
            if not _is_task(name):
                tasks |= started_by(cluster, name)
        return {
            id_of(task["taskArn"]): task
            for part in in_parts(sorted(tasks), _MOST_DESCRIBED)
            for task in cluster.ecs.ask("describe_tasks", cluster=cluster.name, tasks=list(part))["tasks"]
        }
    except NotFoundError as error:
        # clusters are not deleted while tasks run in them: more likely these are the keys of another account
        raise SchedulerUnavailableError(f"{error}: cluster {cluster.name!a} is not in this account") from error


def started_by(cluster: Cluster, name: str) -> set[str]:
    """Return the ids of the tasks of a submission that run, wait, or stopped within the hour. Raises as an answer."""
    return {
        id_of(arn)
        for desired in _DESIRED
        for arn in cluster.ecs.pages(
            "list_tasks", "taskArns", cluster=cluster.name, startedBy=name, desiredStatus=desired
        )
    }


def registered(ecs: Client, content: Mapping[str, Any]) -> str:
    """Return the ARN of the family's newest definition if it has this content; else nothing.

    ``content`` is the input of RegisterTaskDefinition; its last tag says from which content it is.
    """
    try:
        known = ecs.ask("describe_task_definition", taskDefinition=content["family"], include=["TAGS"])
    except (SubmissionRefusedError, NotFoundError):  # there is no such family; what else is wrong, the next one says
        return ""
    is_same = content["tags"][-1] in known.get("tags", ())
    return str(known["taskDefinition"]["taskDefinitionArn"]) if is_same else ""


def container_of(task: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the container of the agent: the one that our request names, else the first."""
    named = {one.get("name") for one in task.get("overrides", {}).get("containerOverrides", ())}
    containers: list[Mapping[str, Any]] = task.get("containers", [])
    return next((one for one in containers if one.get("name") in named), containers[0] if containers else {})


def said_of(task: Mapping[str, Any]) -> Said:
    """Return what ECS says of a task. Raises SchedulerError for a state or code that is not known."""
    container = container_of(task)
    return ecs_words.ecs_task(
        task["lastStatus"],
        task.get("stopCode", ""),
        task.get("stoppedReason", ""),
        container.get("reason", ""),
        container.get("exitCode"),
    )


def status_of(task: Mapping[str, Any]) -> JobStatus:
    """Return the status of a task. Raises as :func:`said_of`."""
    said, container = said_of(task), container_of(task)
    reason, more = task.get("stoppedReason", ""), container.get("reason", "")
    texts = [text for text in dict.fromkeys((reason, more)) if text]
    seconds = _seconds(task)
    return JobStatus(
        word=task["lastStatus"] if said.alive else task.get("stopCode") or task["lastStatus"],
        exit_code=None if said.alive else container.get("exitCode"),
        node=words.instance_in(*texts) or id_of(task.get("containerInstanceArn", "")),
        source=ecs_words.SOURCE,
        reason="" if said.alive else ": ".join(texts),
        name=task.get("startedBy", ""),
        minutes=seconds / 60 if said.alive and seconds else None,
        partition=task.get("capacityProviderName") or task.get("launchType", ""),
        **said._asdict(),
    )


def account_of(task: Mapping[str, Any]) -> Account | None:
    """Return what a task that has stopped asked for, and how long it ran; None where it never ran, or still does."""
    if "startedAt" not in task or "stoppedAt" not in task:
        return None
    overrides, seconds = task.get("overrides", {}), _seconds(task)
    cpu, memory = (str(task.get(key) or overrides.get(key) or "") for key in ("cpu", "memory"))
    return Account(
        minutes=seconds / 60 if seconds else None,
        mem=float(memory) if memory.isdecimal() else None,
        cpus=max(1, round(int(cpu) / 1024)) if cpu.isdecimal() else 1,
        elapsed=(task["stoppedAt"] - task["startedAt"]).total_seconds(),
        max_rss=None,
        cpu_seconds=None,
    )


def log_settings(container: Mapping[str, Any]) -> dict[str, str]:
    """Return the options of the log driver where a container's definition has it write to CloudWatch Logs."""
    logs = container.get("logConfiguration", {})
    return dict(logs.get("options", {})) if logs.get("logDriver") == "awslogs" else {}


def stream_of(ecs: Client, task: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Return region, group and stream of what the agent of a task wrote; None where it writes to none.

    Source: Amazon ECS Developer Guide, "Send Amazon ECS logs to CloudWatch" (``prefix/container/task``).
    """
    container = container_of(task).get("name", "")
    known = ecs.ask("describe_task_definition", taskDefinition=task["taskDefinitionArn"])["taskDefinition"]
    defined: Mapping[str, Any] = next(
        (one for one in known["containerDefinitions"] if one.get("name") == container), {}
    )
    settings = log_settings(defined)
    if "awslogs-group" not in settings or "awslogs-stream-prefix" not in settings:
        return None
    stream = f"{settings['awslogs-stream-prefix']}/{container}/{id_of(task['taskArn'])}"
    return settings.get("awslogs-region", ecs.region), settings["awslogs-group"], stream


def _seconds(task: Mapping[str, Any]) -> float | None:
    """Return the time limit that a request gave the agent of a task; None for none."""
    variables = {
        pair.get("name"): pair.get("value", "")
        for one in task.get("overrides", {}).get("containerOverrides", ())
        for pair in one.get("environment", ())
    }
    text = variables.get(TIME_LIMIT, "")
    return float(text) if text.isdecimal() else None
