"""What Amazon ECS is asked to start: the task definition and each RunTask, from a template and options. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.backends.aws import container as container_parts
from slurmsweep.backends.aws import fargate, templates
from slurmsweep.backends.aws import options as aws_options
from slurmsweep.backends.aws.client import region_of
from slurmsweep.backends.aws.ecs_tasks import TIME_LIMIT
from slurmsweep.backends.aws.service import command, environment, in_parts
from slurmsweep.errors import SubmissionRefusedError, UsageError
from slurmsweep.state.assignment import SUBMISSION, VARIABLE, to_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from slurmsweep.backends.base import JobRequest, Options

REGISTER = "RegisterTaskDefinition"

#: In the built-in template: stands for the region.
_REGION = "REGION"

#: Tasks that one RunTask starts.
_MOST_STARTED = 10

#: Characters that the overrides of one RunTask may have, as JSON.
_MOST_OVERRIDES = 8192

#: In a definition's ``cpu`` and ``memory``: the word for 1024 units or MiB, and examples for people.
_LARGE_UNITS = {"cpu": ("vcpu", "1024, or 1 vCPU"), "memory": ("gb", "2048, or 2 GB")}

#: Options that are filled into a template.
_OF_TEMPLATE = frozenset({"image", "secret", "efs"})


class TaskPlacement(NamedTuple):
    """Where tasks run.

    Attributes:
        key, value: of RunTask's input.
        is_fargate: sizes are those of Fargate.
    """

    key: str
    value: Any
    is_fargate: bool = False


class Target(NamedTuple):
    """The task definition of a submission.

    Attributes:
        definition: its name or ARN.
        container: the name of the agent's container, its first one.
        launch: where tasks run.
        content: the definition, where it is made from our template; empty for one that is in AWS already.
    """

    definition: str
    container: str
    launch: TaskPlacement
    content: Mapping[str, Any] = {}


def cluster_in(options: Options) -> str:
    """Return the name of the cluster that options name, also by its ARN; empty for none."""
    return str(options.get("cluster") or "").rpartition("/")[2]


def definition(request: JobRequest) -> dict[str, Any]:
    """Return the input of RegisterTaskDefinition: the template with what the options say.

    Its last tag is the digest of the content. Raises UsageError where the template still lacks something.
    """
    where, options = f"job template {request.template}", request.options
    content: dict[str, Any] = json.loads(request.body)
    container = content["containerDefinitions"][0]
    container_parts.fill(container, content, request, where)
    logs = container.get("logConfiguration", {}).get("options", {})
    if logs.get("awslogs-region") == _REGION:
        logs["awslogs-region"] = region_of(options.get("region"))
    templates.check(content, "ecs", REGISTER, where)
    digest = {"key": container_parts.DIGEST_TAG, "value": templates.digest(content)}
    return content | {"tags": [*content.get("tags", ()), digest]}


def target(name: str, content: Mapping[str, Any], options: Options) -> Target:
    """Return what a definition says of its tasks: one of ours, or as DescribeTaskDefinition shows it.

    Raises UsageError where the options contradict it.
    """
    needs = content.get("requiresCompatibilities") or content.get("compatibilities") or ("EC2",)
    launch = _launch(options) or TaskPlacement("launchType", needs[0], needs[0] == "FARGATE")
    if launch.key == "launchType" and launch.value not in needs:
        raise UsageError(f"the task definition is for {' and '.join(needs)}, and gpus and instance-type need EC2")
    return Target(name, str(content["containerDefinitions"][0].get("name")), launch, content)


def unseen_target(name: str, options: Options) -> Target:
    """Return what is known of a definition in AWS without asking AWS, for a request that is only shown.

    Raises UsageError where the options contradict it.
    """
    ours = sorted(_OF_TEMPLATE & options.keys())
    if ours:
        raise UsageError(f"definition: {name} is used as it is, so {', '.join(ours)} would mean nothing: leave out one")
    launch = _launch(options) or TaskPlacement("launchType", f"<what {name} is for: FARGATE or EC2>")
    return Target(name, f"<first container of {name}>", launch)


def calls(request: JobRequest, start: Target, *, shown: bool) -> list[dict[str, Any]]:
    """Return the input of each RunTask, a token in each.

    Args:
        request: for the tasks. Where it names attempts, each task has a RunTask with its own.
        start: what is started.
        shown: the values of variables that are passed on are left out.

    Raises:
        UsageError: an option lacks, or means nothing on ECS.
        SubmissionRefusedError: what tasks have otherwise than their definition is too long.
    """
    options = request.options
    cluster = cluster_in(options)
    if not cluster:
        raise UsageError("no cluster of ECS is named: say --cluster NAME, or `aws: {cluster: NAME}`")
    variables = {**environment(request, shown=shown), SUBMISSION: request.name}
    if seconds := aws_options.seconds(options):
        variables[TIME_LIMIT] = str(seconds)
    common: dict[str, Any] = {
        "cluster": cluster,
        "taskDefinition": start.definition,
        start.launch.key: start.launch.value,
        **_placement(options, is_awsvpc=start.content.get("networkMode") == "awsvpc"),
        "startedBy": request.name,
        "tags": [{"key": container_parts.SWEEP_TAG, "value": container_parts.sweep_of(request)}],
    }
    own = [{VARIABLE: to_text([one])} for one in request.attempt_ids]
    counts = [1] * len(own) or [len(part) for part in in_parts(range(request.tasks), _MOST_STARTED)]
    found = [
        {
            **common,
            "count": count,
            "clientToken": f"{request.name[-48:]}-{number}",  # of 64 characters at most, with what later tries add
            "overrides": _overrides(request, start, {**variables, **(own[number] if own else {})}),
        }
        for number, count in enumerate(counts)
    ]
    templates.check(found[0], "ecs", "RunTask", "this submission")
    return found


def doubts(request: JobRequest, content: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a definition most likely lacks, where that cannot be known here, and what differs from the wish."""
    options = request.options
    yield from container_parts.doubts(content["containerDefinitions"][0], request, "task", "ARN")
    asked, size = aws_options.asked(options).mem, _size(options, target("", content, options))
    if asked and int(size["memory"]) != round(asked):
        yield f"Fargate gives each task {size['memory']} MiB: it has no size with {asked:g}"


def resources_of(content: Mapping[str, Any]) -> Options:
    """Return what a template asks for, as options; parts of a CPU are none. Raises UsageError."""
    units, mib = _amount(content, "cpu"), _amount(content, "memory")
    asked = {"cpus-per-task": str(units // 1024) if units and not units % 1024 else "", "mem": f"{mib}M" if mib else ""}
    return {name: value for name, value in asked.items() if value}


def _overrides(request: JobRequest, start: Target, variables: Mapping[str, str]) -> dict[str, Any]:
    """Return what a task has otherwise than its definition. Raises SubmissionRefusedError where it is too long."""
    agent: dict[str, Any] = {"name": start.container, "command": command(request.source)}
    agent["environment"] = container_parts.named_values(variables)
    if gpus := _gpus(request.options):
        agent["resourceRequirements"] = [{"type": "GPU", "value": gpus}]
    overrides: dict[str, Any] = {"containerOverrides": [agent], **_size(request.options, start)}
    if role := request.options.get("role"):
        overrides["taskRoleArn"] = str(role)
    length = len(json.dumps(overrides))
    if length > _MOST_OVERRIDES:
        raise SubmissionRefusedError(
            f"Amazon ECS takes {_MOST_OVERRIDES} characters of overrides for a task, and these have {length}: pass on "
            "fewer or shorter variables by env"
        )
    return overrides


def _size(options: Options, start: Target) -> dict[str, str]:
    """Return CPU units and MiB of a task, where the options say them. Raises UsageError for what Fargate lacks."""
    asked = aws_options.asked(options)
    cpu, mib = asked.cpus and asked.cpus * 1024, asked.mem and round(asked.mem)
    if start.launch.is_fargate:
        wanted = fargate.Size(cpu or _amount(start.content, "cpu"), mib or _amount(start.content, "memory"))
        found = fargate.fitting(wanted)
        if found is None:
            larger = fargate.next_size(wanted)
            help_text = f"the next size is {larger}" if larger else "take machines of EC2 by --aws instance-type=TYPE"
            raise UsageError(f"Fargate has no tasks with {wanted}: {help_text}")
        cpu, mib = cpu and found.cpu, mib and found.mib
    sizes = {"cpu": cpu, "memory": mib}
    return {key: str(value) for key, value in sizes.items() if value}


def _gpus(options: Options) -> str:
    """Return how many GPUs options ask for; empty for none."""
    return str(options.get("gpus", "0")).removeprefix("0")


def _launch(options: Options) -> TaskPlacement | None:
    """Return where tasks run, as far as the options say it. Raises UsageError where they contradict each other."""
    spot, on_ec2 = options.get("spot"), bool(_gpus(options)) or "instance-type" in options
    if not spot:
        return TaskPlacement("launchType", "EC2") if on_ec2 else None
    provider = "FARGATE_SPOT" if spot is True else str(spot)
    is_fargate = provider in ("FARGATE", "FARGATE_SPOT")
    if is_fargate and on_ec2:
        raise UsageError(
            f"spot: {provider} has no GPUs and no types of machines; name a capacity provider of your cluster's "
            "machines of EC2"
        )
    return TaskPlacement("capacityProviderStrategy", [{"capacityProvider": provider, "weight": 1}], is_fargate)


def _placement(options: Options, *, is_awsvpc: bool) -> dict[str, Any]:
    """Return network and machines of tasks. Raises UsageError where the network lacks."""
    subnets, groups = (aws_options.names_in(options.get(name)) for name in ("subnets", "security-groups"))
    public = options.get("public-ip")
    if public not in (None, True):
        raise UsageError(f"public-ip {public!a}: it is a flag, without a value")
    if not subnets and (is_awsvpc or groups or public):
        raise UsageError("no subnet is named: say --aws subnets=subnet-1,subnet-2, or `aws: {subnets: subnet-1}`")
    found: dict[str, Any] = {}
    if subnets:
        vpc: dict[str, Any] = {"subnets": subnets, **({"securityGroups": groups} if groups else {})}
        if public:  # in a subnet without NAT nothing else lets Fargate pull an image
            vpc["assignPublicIp"] = "ENABLED"
        found["networkConfiguration"] = {"awsvpcConfiguration": vpc}
    if machine := options.get("instance-type"):
        expression = f"attribute:ecs.instance-type =~ {machine}"
        found["placementConstraints"] = [{"type": "memberOf", "expression": expression}]
    return found


def _amount(content: Mapping[str, Any], key: str) -> int:
    """Return the CPU units (``cpu``) or the MiB (``memory``) that a definition names; 0 for none. Raises UsageError."""
    unit, example = _LARGE_UNITS[key]
    text = str(content.get(key) or "0").lower()
    try:
        return round(float(text.removesuffix(unit)) * (1024 if text.endswith(unit) else 1))
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{key} {content[key]!a} of the task definition is none: write {example}") from error
