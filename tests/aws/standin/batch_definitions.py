"""The part of the stand-in for AWS Batch that holds no jobs: definitions, queues, compute environments, tags."""

from __future__ import annotations

from typing import Any

from aws.standin import batch_rules as rules
from aws.standin.model import RefusedError
from aws.standin.service import ACCOUNT, REGION, Service, page

_ARN = f"arn:aws:batch:{REGION}:{ACCOUNT}"


class Definitions(Service):
    """Definitions by name and revision, and queues by name.

    Attributes:
        definitions: as DescribeJobDefinitions tells them, by ARN.
        queues: as DescribeJobQueues tells them, by name: change their ``state`` and ``status`` as a test needs.
        environments: the same for compute environments.
    """

    def __init__(self) -> None:
        super().__init__()
        self.definitions: dict[str, dict[str, Any]] = {}
        self.queues: dict[str, dict[str, Any]] = {}
        self.environments: dict[str, dict[str, Any]] = {}
        self.add_environment("machines")
        self.add_queue("sweeps", "machines")

    def add_environment(self, name: str, **more: Any) -> None:
        """Make a compute environment; further words go to its description."""
        resources = {
            "type": "EC2",
            "minvCpus": 0,
            "maxvCpus": 64,
            "desiredvCpus": 0,
            "instanceTypes": ["optimal"],
            "subnets": ["subnet-0123456789abcdef0"],
            "instanceRole": "ecsInstanceRole",
        }
        self.environments[name] = {
            "computeEnvironmentName": name,
            "computeEnvironmentArn": f"{_ARN}:compute-environment/{name}",
            "ecsClusterArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/AWSBatch-{name}",
            "type": "MANAGED",
            "state": "ENABLED",
            "status": "VALID",
            "statusReason": "ComputeEnvironment Healthy",
            "computeResources": resources,
            **more,
        }

    def add_queue(self, name: str, *environments: str, **more: Any) -> None:
        """Make a queue on compute environments; further words go to its description."""
        self.queues[name] = {
            "jobQueueName": name,
            "jobQueueArn": f"{_ARN}:job-queue/{name}",
            "state": "ENABLED",
            "status": "VALID",
            "statusReason": "JobQueue Healthy",
            "priority": 1,
            "computeEnvironmentOrder": [
                {"order": place, "computeEnvironment": self.environments[word]["computeEnvironmentArn"]}
                for place, word in enumerate(environments, 1)
            ],
            "tags": {},
            **more,
        }

    def queue(self, word: str) -> dict[str, Any]:
        """Return a queue by name or ARN.

        Raises:
            RefusedError: there is none, or it takes no jobs.
        """
        found = self.queues.get(word.rsplit("job-queue/", 1)[-1])
        if found is None:
            raise rules.refuse(f"JobQueue {word} not found.")
        if found["state"] != "ENABLED" or found["status"] != "VALID":
            raise rules.refuse(f"JobQueue {found['jobQueueArn']} is not in a valid state: {found['state']}")
        return found

    def definition(self, word: str) -> dict[str, Any]:
        """Return an active definition by name, name and revision, or ARN; without a revision the newest.

        Raises:
            RefusedError: there is none.
        """
        name = word.rsplit("job-definition/", 1)[-1]
        found = [
            definition
            for definition in self.definitions.values()
            if definition["status"] == "ACTIVE"
            and name in {definition["jobDefinitionName"], f"{definition['jobDefinitionName']}:{definition['revision']}"}
        ]
        if not found:
            raise rules.refuse(f"JobDefinition {word} not found or not active")
        return found[-1]

    def register_job_definition(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Make the next revision of a definition."""
        rules.check_definition(asked)
        name = asked["jobDefinitionName"]
        revision = 1 + max(
            (known["revision"] for known in self.definitions.values() if known["jobDefinitionName"] == name), default=0
        )
        arn = f"{_ARN}:job-definition/{name}:{revision}"
        numbers = {"jobDefinitionName": name, "jobDefinitionArn": arn, "revision": revision}
        self.definitions[arn] = {"tags": {}, **asked, **numbers, "status": "ACTIVE"}
        return numbers

    def deregister_job_definition(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Take a revision out of use."""
        self.definition(asked["jobDefinition"])["status"] = "INACTIVE"
        return {}

    def describe_job_definitions(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer with definitions by their ARNs or names, or by a name and a status."""
        wanted = [word.rsplit("job-definition/", 1)[-1] for word in asked.get("jobDefinitions", [])]
        found = [
            definition
            for definition in self.definitions.values()
            if asked.get("jobDefinitionName") in {None, definition["jobDefinitionName"]}
            and asked.get("status") in {None, definition["status"]}
            and (
                not wanted
                or definition["jobDefinitionName"] in wanted
                or f"{definition['jobDefinitionName']}:{definition['revision']}" in wanted
            )
        ]
        found, following = page(found, asked.get("nextToken"), asked.get("maxResults", 100))
        return {"jobDefinitions": found, "nextToken": following}

    def describe_job_queues(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer with the queues that are asked for and known, or with all."""
        wanted = [word.rsplit("job-queue/", 1)[-1] for word in asked.get("jobQueues", self.queues)]
        return {"jobQueues": [self.queues[name] for name in wanted if name in self.queues]}

    def describe_compute_environments(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer with the compute environments that are asked for and known, or with all."""
        wanted = [
            word.rsplit("compute-environment/", 1)[-1] for word in asked.get("computeEnvironments", self.environments)
        ]
        return {"computeEnvironments": [self.environments[name] for name in wanted if name in self.environments]}

    def tags_of(self, arn: str) -> dict[str, str]:
        """Return the tags of a definition or a queue, to be read or changed.

        Raises:
            RefusedError: there is none.
        """
        found = self.definitions.get(arn) or self.queues.get(arn.rsplit("job-queue/", 1)[-1])
        if found is None:
            raise RefusedError("ClientException", f"Resource {arn} not found")
        tags: dict[str, str] = found["tags"]
        return tags

    def list_tags_for_resource(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer with the tags of a resource."""
        return {"tags": dict(self.tags_of(asked["resourceArn"]))}

    def tag_resource(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Add tags to a resource."""
        tags = self.tags_of(asked["resourceArn"])
        if len(tags | asked["tags"]) > 50:
            raise rules.refuse("a resource has at most 50 tags")
        tags.update(asked["tags"])
        return {}

    def untag_resource(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Take tags from a resource."""
        for key in asked["tagKeys"]:
            self.tags_of(asked["resourceArn"]).pop(key, None)
        return {}
