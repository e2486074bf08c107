"""A stand-in for Amazon ECS: tasks of one container each, which is a real process, with the words of ECS.

It cannot show: services, placement, capacity providers, several containers in a task, volumes, networks, and any text
that AWS has changed since. Orders are called with a task's ARN or its last part::

    cloud.machines.slots = 0                   # all tasks stay PENDING
    cloud.ecs.lose_host(task)                  # gone in one moment, with its instance
    cloud.ecs.wait_for(task, "STOPPED")
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from aws.standin.batch_jobs import OUT_OF_MEMORY, without_none
from aws.standin.ecs_definitions import Definitions, now, refuse
from aws.standin.jobs import CannotStartError, random_hex, task_document, task_id
from aws.standin.model import RefusedError
from aws.standin.service import ACCOUNT, REGION, page

if TYPE_CHECKING:
    from datetime import datetime

    from aws.standin.jobs import Machines
    from aws.standin.processes import Container

GRACE = 30
_EXITED = "Essential container in task exited"


@dataclass
class Task:
    """One task.

    Attributes:
        unseen: how many of the next questions do not show it.
        stop: code and reason of the order that ends it; None where there was none.
    """

    arn: str
    cluster: str
    definition: dict[str, Any]
    launch_type: str
    started_by: str
    overrides: dict[str, Any]
    tags: list[dict[str, str]]
    created: datetime
    host: str
    unseen: int = 0
    last_status: str = "PENDING"
    desired_status: str = "RUNNING"
    stop: tuple[str, str] | None = None
    stop_code: str | None = None
    stopped_reason: str | None = None
    started: datetime | None = None
    stopped: datetime | None = None
    exit_code: int | None = None
    reason: str | None = None
    container: Container | None = field(default=None, repr=False)

    @property
    def settings(self) -> dict[str, Any]:
        """Return the definition of its container with what the request says of its own."""
        [defined] = self.definition["containerDefinitions"]
        found = dict(defined)
        for override in self.overrides.get("containerOverrides", []):
            variables = {pair["name"]: pair for pair in [*found["environment"], *override.get("environment", [])]}
            found |= {**override, "environment": list(variables.values())}
        return found

    @property
    def grace(self) -> int:
        """Return its seconds between SIGTERM and SIGKILL."""
        seconds: int = self.settings.get("stopTimeout", GRACE)
        return seconds

    def told(self, *, with_tags: bool) -> dict[str, Any]:
        """Return it as DescribeTasks tells it."""
        settings = self.settings
        container = without_none(
            {
                "containerArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:container/{self.cluster}/{task_id(self.arn)}/0",
                "taskArn": self.arn,
                "name": settings["name"],
                "image": settings["image"],
                "lastStatus": self.last_status,
                "exitCode": self.exit_code,
                "reason": self.reason,
            }
        )
        on_ec2 = self.launch_type == "EC2"
        host = f"arn:aws:ecs:{REGION}:{ACCOUNT}:container-instance/{self.cluster}/{self.host}"
        return without_none(
            {
                "taskArn": self.arn,
                "clusterArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{self.cluster}",
                "taskDefinitionArn": self.definition["taskDefinitionArn"],
                "group": f"family:{self.definition['family']}",
                "launchType": self.launch_type,
                "containerInstanceArn": host if on_ec2 and self.started else None,
                "overrides": self.overrides,
                "lastStatus": self.last_status,
                "desiredStatus": self.desired_status,
                "containers": [container],
                "startedBy": self.started_by or None,
                "createdAt": self.created,
                "startedAt": self.started,
                "stoppedAt": self.stopped,
                "stopCode": self.stop_code,
                "stoppedReason": self.stopped_reason,
                "tags": self.tags if with_tags else [],
                "version": 1,
            }
        )


class Ecs(Definitions):
    """The service; it has clusters ``default`` and ``sweeps``.

    Attributes:
        tasks: all that are not forgotten, by the last part of their ARNs.
        page_size: of ListTasks.
        unseen: how many questions do not show a task that is started from now on.
        start_failures: reasons for which the next tasks do not start.
        placement_failures: reasons for which the next tasks are in ``failures`` of RunTask, e.g. ``RESOURCE:MEMORY``.
    """

    name = "ecs"
    invalid = ("InvalidParameterException", 400)

    def __init__(self, machines: Machines) -> None:
        super().__init__()
        self.tasks: dict[str, Task] = {}
        self.page_size = 100
        self.unseen = 0
        self.start_failures: list[str] = []
        self.placement_failures: list[str] = []
        self._machines = machines
        self._answered: dict[str, tuple[dict[str, Any], list[str], list[dict[str, str]]]] = {}

    # -- orders of tests

    def lose_host(self, task: str) -> str:
        """Take the instance away under a task that runs: no signal, no exit code. Returns the instance."""
        found = self._running(task)
        found.stop = ("TerminationNotice", f"Host EC2 (instance {found.host}) terminated.")
        self._order(found).kill("lost")
        return found.host

    def interrupt(self, task: str) -> None:
        """Take the Spot capacity away: SIGTERM, and SIGKILL after the task's stopTimeout."""
        found = self._running(task)
        found.stop = ("SpotInterruption", "Your Spot Task was interrupted.")
        found.desired_status = "STOPPED"
        self._order(found).stop(found.grace * self._machines.grace_scale)

    def oom(self, task: str) -> None:
        """Have the kernel kill the task's biggest process, as for want of memory; its first one may live on."""
        self._order(self._running(task)).kill_biggest()

    def kill_container(self, task: str) -> None:
        """Kill all processes of a task, and say nothing about memory."""
        self._order(self._running(task)).kill()

    def forget(self, task: str) -> None:
        """Forget a task that has stopped, as ECS does an hour later."""
        with self.lock:
            found = self.tasks[task_id(task)]
            assert found.last_status == "STOPPED", found
            del self.tasks[task_id(task)]

    def wait_for(self, task: str, *statuses: str, seconds: float = 120) -> Task:
        """Return a task once it has one of these states.

        Raises:
            AssertionError: it has none of them after that time.
        """
        found = self.tasks[task_id(task)]
        with self.changed:
            assert self._machines.wait(self.changed, lambda: found.last_status in statuses, seconds), found
            return found

    def output(self, task: str) -> str:
        """Return what a task wrote, whether it has a log configuration or not."""
        return self._machines.output(task_id(task))

    def wait_for_output(self, task: str, text: str) -> None:
        """Return once a task has written a text."""
        self._machines.wait_for_output(task_id(task), text)

    def _running(self, task: str) -> Task:
        return self.wait_for(task, "RUNNING")

    @staticmethod
    def _order(task: Task) -> Container:
        assert task.container is not None, task
        return task.container

    # -- operations

    def run_task(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Start tasks; the same client token gives the same tasks again."""
        count, token = asked.get("count", 1), asked.get("clientToken", "")
        definition, cluster, launch_type = self._checked(asked, count, token)
        if token in self._answered:
            before, arns, failures = self._answered[token]
            if before != asked:
                message = "The provided clientToken is already in use with a different RunTask request."
                raise RefusedError("ConflictException", message, resourceIds=arns)
            known = [self.tasks[task_id(arn)] for arn in arns if task_id(arn) in self.tasks]
            return {"tasks": [task.told(with_tags=True) for task in known], "failures": failures}
        failures = [
            {"arn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:container-instance/{cluster}/{random_hex(32)}", "reason": reason}
            for reason in self.placement_failures[:count]
        ]
        del self.placement_failures[:count]
        tasks = [
            Task(
                arn=f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/{cluster}/{random_hex(32)}",
                cluster=cluster,
                definition=definition,
                launch_type=launch_type,
                started_by=asked.get("startedBy", ""),
                overrides=asked.get("overrides", {}),
                tags=asked.get("tags", []),
                created=now(),
                host=f"i-{random_hex(17)}",
                unseen=self.unseen,
            )
            for _ in range(count - len(failures))
        ]
        for task in tasks:
            self.tasks[task_id(task.arn)] = task
            self.tags[task.arn] = task.tags
            self._machines.add(partial(self._run, task))
        if token:
            self._answered[token] = (asked, [task.arn for task in tasks], failures)
        return {"tasks": [task.told(with_tags=True) for task in tasks], "failures": failures}

    def _checked(self, asked: dict[str, Any], count: int, token: str) -> tuple[dict[str, Any], str, str]:
        cluster = self.cluster(asked.get("cluster", "default"))
        definition = self.definition(asked["taskDefinition"])
        if not 1 <= count <= 10:
            raise refuse("Count should be between 1 and 10.")
        if len(token) > 64 or not all("!" <= letter <= "~" for letter in token):
            raise refuse("clientToken should have at most 64 characters in the range 33-126.")
        if not re.fullmatch(r"[A-Za-z0-9/_-]{0,128}", asked.get("startedBy", "")):
            raise refuse("startedBy should have at most 128 letters, numbers, hyphens, slashes and underscores.")
        strategy = asked.get("capacityProviderStrategy", [])
        if strategy and "launchType" in asked:
            raise refuse("Specifying both a launch type and capacity provider strategy is not supported.")
        names = {provider["capacityProvider"] for provider in strategy}
        launch_type = "FARGATE" if names & {"FARGATE", "FARGATE_SPOT"} else asked.get("launchType", "EC2")
        if launch_type == "FARGATE" and "FARGATE" not in definition["compatibilities"]:
            raise refuse("Task definition does not support launch_type FARGATE.")
        if definition.get("networkMode") == "awsvpc" and "awsvpcConfiguration" not in asked.get(
            "networkConfiguration", {}
        ):
            raise refuse("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
        names = {override.get("name") for override in asked.get("overrides", {}).get("containerOverrides", [])}
        for name in names - {definition["containerDefinitions"][0]["name"]}:
            raise refuse(f"Override for container named {name} is not a container in the TaskDefinition.")
        return definition, cluster, launch_type

    def stop_task(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Stop a task; one that has stopped stays as it is."""
        cluster = self.cluster(asked.get("cluster", "default"))
        task = self.tasks.get(task_id(asked["task"]))
        if task is None or task.cluster != cluster:
            raise refuse("The referenced task was not found.")
        if task.stop is None and task.last_status != "STOPPED":
            task.stop = ("UserInitiated", asked.get("reason", "Task stopped by user"))
            task.desired_status = "STOPPED"
            task.stop_code, task.stopped_reason = task.stop
            if task.container is not None:
                task.container.stop(task.grace * self._machines.grace_scale)
            elif task.last_status == "PENDING":
                self._end(task)
        return {"task": task.told(with_tags=False)}

    def describe_tasks(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer with tasks of a cluster; unknown ones are failures."""
        cluster = self.cluster(asked.get("cluster", "default"))
        if len(asked["tasks"]) > 100:
            raise refuse("Tasks should have at most 100 entries.")
        found, failures = [], []
        for word in dict.fromkeys(task_id(word) for word in asked["tasks"]):
            task = self.tasks.get(word)
            if task is None or task.cluster != cluster or self._hidden(task):
                arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/{cluster}/{word}"
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                found.append(task.told(with_tags="TAGS" in asked.get("include", [])))
        return {"tasks": found, "failures": failures}

    def list_tasks(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer with one page of ARNs: of those that are to run, unless the stopped ones are asked for."""
        cluster = self.cluster(asked.get("cluster", "default"))
        if "startedBy" in asked and asked.keys() & {"family", "serviceName", "containerInstance", "launchType"}:
            raise refuse("startedBy must be the only filter.")
        if not 1 <= asked.get("maxResults", 100) <= 100:
            raise refuse("maxResults should be between 1 and 100.")
        wanted = asked.get("desiredStatus", "RUNNING")
        found = [
            task.arn
            for task in self.tasks.values()
            if task.cluster == cluster
            and task.desired_status == wanted
            and asked.get("startedBy") in {None, task.started_by}
            and asked.get("family") in {None, task.definition["family"]}
            and not self._hidden(task)
        ]
        size = min(self.page_size, asked.get("maxResults", self.page_size))
        arns, following = page(found, asked.get("nextToken"), size)
        return {"taskArns": arns, "nextToken": following}

    @staticmethod
    def _hidden(task: Task) -> bool:
        hidden = task.unseen > 0
        task.unseen -= hidden
        return hidden

    # -- the life of a task

    def _run(self, task: Task) -> None:
        with self.changed:
            if task.last_status == "STOPPED":
                return
            try:
                container = task.container = self._container(task)
            except CannotStartError as error:
                container = None
                task.reason = str(error)
            self.changed.notify_all()
        if container is not None:
            task.exit_code = container.run(partial(self._started, task))
        with self.changed:
            self._judge(task, container)
            self._end(task)
            self.changed.notify_all()

    def _container(self, task: Task) -> Container:
        if self.start_failures:
            raise CannotStartError(self.start_failures.pop(0))
        settings, name = task.settings, task_id(task.arn)
        logs = settings.get("logConfiguration", {})
        options = logs.get("options", {}) if logs.get("logDriver") == "awslogs" else {}
        group = options.get("awslogs-group")
        if group is not None and group not in self._machines.logs.events and not options.get("awslogs-create-group"):
            raise CannotStartError(
                "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: "
                "failed to create Cloudwatch log stream: ResourceNotFoundException: The specified log group does not "
                "exist."
            )
        document = task_document(
            task.arn,
            task.cluster,
            task.definition["family"],
            task.definition["revision"],
            task.launch_type,
            settings["name"],
        )
        region = {"AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION} if task.launch_type == "FARGATE" else {}
        environ = {
            **{pair["name"]: pair["value"] for pair in settings["environment"]},
            **self._machines.secret_values(settings.get("secrets", [])),
            **region,
            "AWS_EXECUTION_ENV": f"AWS_ECS_{task.launch_type}",
            "ECS_CONTAINER_METADATA_URI_V4": self._machines.metadata_address(name, document),
        }
        command = [*settings.get("entryPoint", []), *settings.get("command", [])]
        stream = "/".join(filter(None, [options.get("awslogs-stream-prefix"), settings["name"], name]))
        return self._machines.container(name, command, environ, group, stream)

    def _started(self, task: Task) -> None:
        with self.changed:
            task.started = now()
            task.last_status = "RUNNING"
            self.changed.notify_all()

    @staticmethod
    def _judge(task: Task, container: Container | None) -> None:
        orders = container.orders if container else []
        task.container = None
        if container is None or container.error:
            task.reason = task.reason or f"CannotStartContainerError: Error response from daemon: {container.error}"
            task.stop = task.stop or ("TaskFailedToStart", task.reason)
        elif "oom" in orders:
            task.reason = OUT_OF_MEMORY
        if "lost" in orders:
            task.exit_code = None

    @staticmethod
    def _end(task: Task) -> None:
        task.stop_code, task.stopped_reason = task.stop or ("EssentialContainerExited", _EXITED)
        task.last_status = task.desired_status = "STOPPED"
        task.stopped = now()
