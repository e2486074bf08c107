"""The machines of the stand-ins: where jobs run, where their output goes, and what a container reads about itself."""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING, Any

from aws.standin.processes import Container, Slots
from aws.standin.service import ACCOUNT, REGION, Reply

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence

    from aws.standin.logs import Logs


class CannotStartError(Exception):
    """A container that cannot be started; the reason in the words of ECS."""


class Machines:
    """Runs containers of all services.

    Attributes:
        environ: what each container finds beside its service's variables.
        secrets: values by what stands in ``valueFrom``.
        time_scale: seconds here for a second of a time limit.
        grace_scale: seconds here for a second between SIGTERM and SIGKILL.
        region_told: whether AWS_REGION and AWS_DEFAULT_REGION are set in containers of Batch, whose documentation does
            not promise them.
    """

    def __init__(self, folder: str, environ: dict[str, str], slots: int, logs: Logs, url: str) -> None:
        self.environ = environ
        self.secrets: dict[str, str] = {}
        self.time_scale = 1.0
        self.grace_scale = 1.0
        self.region_told = True
        self.logs = logs
        self._folder = folder
        self._url = url
        self._slots = Slots(slots)
        self._closed = False
        self._containers: dict[str, Container] = {}
        self._documents: dict[str, dict[str, Any]] = {}
        self._outputs: dict[str, list[str]] = {}

    @property
    def slots(self) -> int:
        """Return how many containers run at a time, of all services; 0 keeps all jobs waiting."""
        return self._slots.number

    @slots.setter
    def slots(self, number: int) -> None:
        self._slots.number = number

    @property
    def failures(self) -> list[BaseException]:
        """Return what went wrong in the stand-ins' own threads."""
        return self._slots.failures

    def add(self, run: Callable[[], None]) -> None:
        """Have a function called once a slot is free."""
        self._slots.add(run)

    def wait(self, changed: threading.Condition, happened: Callable[[], object], seconds: float) -> bool:
        """Wait for an event of a service and tell whether it has come by then.

        Raises:
            AssertionError: a thread of the stand-ins has failed, so that it may never come.
        """
        deadline = time.monotonic() + seconds
        while not happened():
            assert not self.failures, self.failures
            if time.monotonic() > deadline:
                return False
            changed.wait(1)
        return True

    def container(
        self,
        mark: str,
        command: Sequence[str],
        environ: Mapping[str, str],
        group: str | None = None,
        stream: str = "",
    ) -> Container:
        """Return a container that has not started; what it writes goes to that log stream, if one is named.

        Raises:
            CannotStartError: there is no command.
        """
        if not command:
            raise CannotStartError("CannotStartContainerError: Error response from daemon: no command specified")
        if group is not None:
            self.logs.begin(group, stream)
        lines = self._outputs.setdefault(mark, [])

        def told(line: str) -> None:
            lines.append(line)
            if group is not None:
                self.logs.write(group, stream, line)

        container = Container(mark, command, {**self.environ, **environ}, self._folder, told)
        self._containers[mark] = container
        if self._closed:
            container.kill("closed")
        return container

    def output(self, mark: str) -> str:
        """Return what a container has written so far, whether its service keeps it or not."""
        return "".join(f"{line}\n" for line in list(self._outputs.get(mark, [])))

    def wait_for_output(self, mark: str, text: str, seconds: float = 120) -> None:
        """Return once a container has written a text.

        Raises:
            AssertionError: it has not after that time.
        """
        deadline = time.monotonic() + seconds
        while text not in self.output(mark):
            assert time.monotonic() < deadline, self.output(mark)
            time.sleep(0.02)

    def secret_values(self, secrets: Sequence[Mapping[str, str]]) -> dict[str, str]:
        """Return the variables that a job gets by the names of secrets.

        Raises:
            CannotStartError: one of them is unknown.
        """
        for secret in secrets:
            if secret["valueFrom"] not in self.secrets:
                raise CannotStartError(
                    "ResourceInitializationError: unable to pull secrets or registry auth: execution resource "
                    f"retrieval failed: unable to retrieve secret from asm: {secret['valueFrom']}: "
                    "ResourceNotFoundException: Secrets Manager can't find the specified secret."
                )
        return {secret["name"]: self.secrets[secret["valueFrom"]] for secret in secrets}

    def metadata_address(self, task: str, document: dict[str, Any]) -> str:
        """Serve ECS's document of a task and return the address for ECS_CONTAINER_METADATA_URI_V4."""
        self._documents[task] = document
        return f"{self._url}/v4/{task}"

    def metadata(self, target: str) -> Reply:
        """Answer a container that asks about itself."""
        task, _, what = target.removeprefix("/v4/").partition("/")
        document = self._documents.get(task)
        if document is None or what not in {"", "task"}:
            return Reply(404, "application/json", b"{}")
        found = document if what else document["Containers"][0]
        return Reply(200, "application/json", json.dumps(found).encode())

    def close(self) -> None:
        """Kill all containers and wait for their end."""
        self._closed = True
        self._slots.number = 0
        for container in list(self._containers.values()):
            container.kill("closed")
        self._slots.close()


def task_document(
    arn: str, cluster: str, family: str, revision: int, launch_type: str, name: str = "default"
) -> dict[str, Any]:
    """Return what ECS's metadata of version 4 tells about a task; on Fargate the cluster is an ARN, on EC2 a name."""
    whole = f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{cluster}"
    container = {
        "DockerId": random_hex(64),
        "Name": name,
        "DockerName": f"ecs-{family}-{revision}-{name}",
        "Labels": {"com.amazonaws.ecs.cluster": cluster, "com.amazonaws.ecs.task-arn": arn},
        "DesiredStatus": "RUNNING",
        "KnownStatus": "RUNNING",
        "Type": "NORMAL",
    }
    return {
        "Cluster": whole if launch_type == "FARGATE" else cluster,
        "TaskARN": arn,
        "Family": family,
        "Revision": str(revision),
        "DesiredStatus": "RUNNING",
        "KnownStatus": "RUNNING",
        "LaunchType": launch_type,
        "AvailabilityZone": f"{REGION}a",
        "Containers": [container],
    }


def random_hex(length: int) -> str:
    """Return a new identifier, as AWS gives for tasks and instances."""
    return f"{random.getrandbits(4 * length):0{length}x}"  # an identifier, no secret


def task_id(arn: str) -> str:
    """Return the last part of a task's ARN, or the id that it was given."""
    return arn.rsplit("/", 1)[-1]
