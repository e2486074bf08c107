"""Look at what tasks of Amazon ECS need before any is started: cluster, definition, logs, roles. Changes nothing."""

from __future__ import annotations

from functools import partial
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
            lambda: ecs_requests.definition(request),
            lambda content: ecs_tasks.registered(ecs, content).rpartition("/")[2],
        )
    [container, *_] = content.get("containerDefinitions") or [{}]
    settings = ecs_tasks.log_settings(container)
    looks = []
    if "awslogs-group" in settings:
        is_made, there = settings.get("awslogs-create-group") == "true", settings.get("awslogs-region", region)
        looks.append(("logs", partial(doctor.log_group, settings["awslogs-group"], there, is_made=is_made)))
    roles = {"executionRoleArn": content.get("executionRoleArn"), "role": options.get("role")}
    looks += [(name, partial(doctor.role, str(arn), name, region)) for name, arn in roles.items() if arn]
    return [*clusters, *seen, *doctor.each(*looks)]


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
