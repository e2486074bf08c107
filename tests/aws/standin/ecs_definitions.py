"""The part of the stand-in for Amazon ECS that holds no tasks: task definitions, clusters, tags."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any

from aws.standin.model import RefusedError
from aws.standin.service import ACCOUNT, REGION, Service, page

_ARN = f"arn:aws:ecs:{REGION}:{ACCOUNT}"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")


def now() -> datetime:
    """Return the time, to the second."""
    return datetime.now(timezone.utc).replace(microsecond=0)


def refuse(message: str) -> RefusedError:
    """Return ECS's error for wrong parameters."""
    return RefusedError("InvalidParameterException", message)


class Definitions(Service):
    """Task definitions by family and revision, and clusters by name.

    Attributes:
        definitions: as DescribeTaskDefinition tells them, by ARN.
        clusters: as DescribeClusters tells them, by name.
        tags: by ARN.
    """

    def __init__(self) -> None:
        super().__init__()
        self.definitions: dict[str, dict[str, Any]] = {}
        self.clusters: dict[str, dict[str, Any]] = {}
        self.tags: dict[str, list[dict[str, str]]] = {}
        self.add_cluster("default")
        self.add_cluster("sweeps")

    def add_cluster(self, name: str, **more: Any) -> None:
        """Make a cluster; further words go to its description."""
        self.clusters[name] = {
            "clusterArn": f"{_ARN}:cluster/{name}",
            "clusterName": name,
            "status": "ACTIVE",
            "registeredContainerInstancesCount": 2,
            "capacityProviders": ["FARGATE", "FARGATE_SPOT"],
            "defaultCapacityProviderStrategy": [],
            **more,
        }

    def cluster(self, word: str) -> str:
        """Return the name of a cluster, from its name or ARN.

        Raises:
            RefusedError: there is none that is active.
        """
        name = word.rsplit("cluster/", 1)[-1]
        if self.clusters.get(name, {}).get("status") != "ACTIVE":
            raise RefusedError("ClusterNotFoundException", "Cluster not found.")
        return name

    def definition(self, word: str, *, active: bool = True) -> dict[str, Any]:
        """Return a definition by family, family and revision, or ARN; without a revision the newest.

        Raises:
            RefusedError: there is none.
        """
        name = word.rsplit("task-definition/", 1)[-1]
        found = [
            definition
            for definition in self.definitions.values()
            if (definition["status"] == "ACTIVE" or (not active and ":" in name))
            and name in {definition["family"], f"{definition['family']}:{definition['revision']}"}
        ]
        if not found:
            raise RefusedError(
                "ClientException", "Unable to describe task definition." if not active else "TaskDefinition not found."
            )
        return found[-1]

    def register_task_definition(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Make the next revision of a family."""
        check_definition(asked)
        family = asked["family"]
        revision = 1 + max(
            (known["revision"] for known in self.definitions.values() if known["family"] == family), default=0
        )
        arn = f"{_ARN}:task-definition/{family}:{revision}"
        tags = asked.get("tags", [])
        told = {word: value for word, value in asked.items() if word != "tags"}
        containers = [
            {"cpu": 0, "essential": True, "environment": [], **each} for each in asked["containerDefinitions"]
        ]
        self.definitions[arn] = {
            "volumes": [],
            "placementConstraints": [],
            "compatibilities": ["EC2", *({"FARGATE"} & set(asked.get("requiresCompatibilities", [])))],
            **told,
            "containerDefinitions": containers,
            "taskDefinitionArn": arn,
            "revision": revision,
            "status": "ACTIVE",
            "registeredAt": now(),
        }
        self.tags[arn] = tags
        return {"taskDefinition": self.definitions[arn], "tags": tags}

    def deregister_task_definition(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Take a revision out of use."""
        if ":" not in asked["taskDefinition"]:
            raise refuse("Invalid revision number.")
        found = self.definition(asked["taskDefinition"])
        found |= {"status": "INACTIVE", "deregisteredAt": now()}
        return {"taskDefinition": found}

    def describe_task_definition(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer with a definition, and its tags where they are asked for."""
        found = self.definition(asked["taskDefinition"], active=False)
        with_tags = "TAGS" in asked.get("include", [])
        return {"taskDefinition": found, "tags": self.tags[found["taskDefinitionArn"]] if with_tags else None}

    def list_task_definitions(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer with ARNs of a family."""
        found = [
            arn
            for arn, definition in self.definitions.items()
            if asked.get("familyPrefix") in {None, definition["family"]}
            and definition["status"] == asked.get("status", "ACTIVE")
        ]
        if asked.get("sort") == "DESC":
            found.reverse()
        found, following = page(found, asked.get("nextToken"), asked.get("maxResults", 100))
        return {"taskDefinitionArns": found, "nextToken": following}

    def describe_clusters(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer with the clusters that are asked for, ``default`` without a word; unknown ones are failures."""
        names = [word.rsplit("cluster/", 1)[-1] for word in asked.get("clusters", ["default"])]
        return {
            "clusters": [self.clusters[name] for name in names if name in self.clusters],
            "failures": [
                {"arn": f"{_ARN}:cluster/{name}", "reason": "MISSING"} for name in names if name not in self.clusters
            ],
        }

    def tag_resource(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Add tags to a resource."""
        new = {tag["key"]: tag for tag in [*self._tags(asked["resourceArn"]), *asked["tags"]]}
        self.tags[asked["resourceArn"]] = list(new.values())
        return {}

    def list_tags_for_resource(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer with the tags of a resource."""
        return {"tags": self._tags(asked["resourceArn"])}

    def _tags(self, arn: str) -> list[dict[str, str]]:
        if arn not in self.tags:
            raise RefusedError("InvalidParameterException", "The specified resource is not found.")
        return self.tags[arn]


def check_definition(asked: dict[str, Any]) -> None:
    """Check a RegisterTaskDefinition by the rules of the documentation.

    Raises:
        RefusedError: a rule is broken, or there is more than one container.
    """
    if not _NAME.fullmatch(asked["family"]):
        raise RefusedError("ClientException", f"Family contains invalid characters: {asked['family']}")
    if len(asked["containerDefinitions"]) != 1:
        raise RefusedError("UnknownOperationException", "this stand-in knows tasks of one container alone", 501)
    [container] = asked["containerDefinitions"]
    name = container.get("name", "")
    if not _NAME.fullmatch(name) or not container.get("image"):
        raise RefusedError("ClientException", "Container.name and Container.image should not be null or empty.")
    fargate = "FARGATE" in asked.get("requiresCompatibilities", [])
    if not asked.get("memory") and not container.get("memory") and not container.get("memoryReservation"):
        raise RefusedError(
            "ClientException",
            f"Invalid setting for container '{name}'. At least one of 'memory' or 'memoryReservation' must be specified.",
        )
    if fargate:
        _check_fargate(asked, container)
    logs = container.get("logConfiguration", {})
    if logs.get("logDriver") == "awslogs":
        for word in ("awslogs-group", "awslogs-region", *(["awslogs-stream-prefix"] if fargate else [])):
            if word not in logs.get("options", {}):
                raise RefusedError("ClientException", f"Log driver awslogs requires options: {word}")


def _check_fargate(asked: dict[str, Any], container: dict[str, Any]) -> None:
    for word in ("cpu", "memory"):
        if not asked.get(word):
            raise RefusedError("ClientException", f"Fargate requires that '{word}' be defined at the task level.")
    if asked.get("networkMode") != "awsvpc":
        raise RefusedError("ClientException", "Fargate only supports network mode 'awsvpc'.")
    if container.get("stopTimeout", 0) > 120:
        raise RefusedError("ClientException", "Fargate supports a stopTimeout of at most 120 seconds.")
    role = asked.get("executionRoleArn")
    if not role and (container.get("secrets") or container.get("logConfiguration", {}).get("logDriver") == "awslogs"):
        raise RefusedError(
            "ClientException",
            "Fargate requires task definition to have execution role ARN to support log driver awslogs and secrets.",
        )
    if any(need["type"] == "GPU" for need in container.get("resourceRequirements", [])):
        raise RefusedError(
            "ClientException", "Tasks using the Fargate launch type do not support GPU resource requirements."
        )
