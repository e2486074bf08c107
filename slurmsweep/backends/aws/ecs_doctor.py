"""Look at what tasks of Amazon ECS need before any is started: cluster, definition, logs, roles. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.backends.aws import doctor, ecs_requests, ecs_tasks
from slurmsweep.backends.aws.service import client
from slurmsweep.state.filesystem import Fitness, Opinion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slurmsweep.backends.aws.client import Client
    from slurmsweep.backends.aws.doctor import Finding
    from slurmsweep.backends.base import JobRequest


def look(request: JobRequest, region: str) -> list[Finding]:
    """Return what was looked at, and what was seen, for tasks of a request. Never raises."""
    options, ecs = request.options, client("ecs", region)
    cluster, named = ecs_requests.cluster_in(options), str(options.get("definition") or "")
    clusters = doctor.each(("cluster", lambda: _cluster(ecs, cluster))) if cluster else [doctor.unnamed("cluster")]
    if named:
        seen, content = doctor.definition_in_aws(lambda: _definition(ecs, named))
    else:
        seen, content = doctor.definition_to_make(
            lambda: ecs_requests.definition(request), lambda content: ecs_tasks.registered(ecs, content)
        )
    [container, *_] = content.get("containerDefinitions") or [{}]
    roles = {"executionRoleArn": content.get("executionRoleArn", ""), "role": str(options.get("role") or "")}
    return [*clusters, *seen, *doctor.logs_and_roles(ecs_tasks.log_settings(container), roles, region)]


def _cluster(ecs: Client, name: str) -> Finding:
    found = ecs.ask("describe_clusters", clusters=[name])["clusters"]
    if not found:
        advice = "`aws ecs list-clusters` lists them; --region may be another one"
        return "cluster", Opinion(Fitness.BAD, f"there is no cluster {name} in {ecs.region}", advice)
    one = found[0]
    status, machines = one.get("status", ""), one.get("registeredContainerInstancesCount", 0)
    providers = ", ".join(one.get("capacityProviders", ())) or "none"
    why = f"{name} is {status}; {machines} machines of EC2, capacity providers: {providers}"
    if status != "ACTIVE":
        return "cluster", Opinion(Fitness.BAD, why, "it starts no tasks: name another one")
    return "cluster", Opinion(Fitness.GOOD, why)


def _definition(ecs: Client, name: str) -> tuple[Finding, Mapping[str, Any]]:
    known = ecs.ask("describe_task_definition", taskDefinition=name)["taskDefinition"]
    container = known["containerDefinitions"][0]
    words = f"{known['family']}:{known['revision']}, container {container['name']}, image {container['image']}"
    return ("definition", Opinion(Fitness.GOOD, words)), known
