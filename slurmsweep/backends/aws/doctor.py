"""Look at what jobs of all services of AWS need before any is submitted: who asks, roles, log groups, definitions.

Each look is one or two questions that change nothing. What may not be asked is a warning, never an error: who submits
jobs need not be allowed to read roles.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from slurmsweep.backends.aws.client import LOG_IN, region_of
from slurmsweep.backends.aws.service import client
from slurmsweep.errors import NotFoundError, SlurmsweepError, UsageError
from slurmsweep.state.filesystem import Fitness, Opinion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slurmsweep.backends.base import Options

    #: What was looked at, and what was seen.
    Finding = tuple[str, Opinion]

    #: What is to be looked at, and the function that does it.
    Look = tuple[str, Callable[[], Finding | list[Finding]]]


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


def logs_and_roles(
    settings: Mapping[str, str], roles: Mapping[str, str], region: str, *, made_group: str = ""
) -> list[Finding]:
    """Return whether the group of logs and the roles of a container are there.

    Args:
        settings: options of its log driver ``awslogs``.
        roles: their names or ARNs, by what they are for; empty for none.
        region: of the jobs.
        made_group: where it writes if the settings name no group; the service makes this one. Empty for nowhere.
    """
    group, there = settings.get("awslogs-group", made_group), settings.get("awslogs-region", region)
    is_made = group == made_group or settings.get("awslogs-create-group") == "true"
    looks: list[Look] = [("logs", partial(log_group, group, there, is_made=is_made))] if group else []
    looks += [(name, partial(role, arn, name, region)) for name, arn in roles.items() if arn]
    return each(*looks)


def definition_in_aws(look: Callable[[], tuple[Finding, Mapping[str, Any]]]) -> tuple[list[Finding], Mapping[str, Any]]:
    """Return what ``look`` sees of a definition that a user named, and what it returns of the content, if it can."""
    known: dict[str, Any] = {}

    def finding() -> Finding:
        seen, content = look()
        known.update(content)
        return seen

    return each(("definition", finding)), known


def definition_to_make(
    make: Callable[[], dict[str, Any]], registered: Callable[[dict[str, Any]], str]
) -> tuple[list[Finding], Mapping[str, Any]]:
    """Return what is to be said of a definition that is made from a template, and its content as far as it is known.

    Args:
        make: returns the content.
        registered: returns the ARN of a definition in AWS that has this content; empty where there is none.
    """
    try:
        content = make()
        arn = registered(content)
    except SlurmsweepError as error:
        return [("definition", Opinion(Fitness.WARN, str(error)))], {}
    why = f"registered as {arn.rpartition('/')[2]}" if arn else "the first submission makes it"
    return [("definition", Opinion(Fitness.GOOD, why))], content


def each(*looks: Look) -> list[Finding]:
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
    """Return who asks, and what ``look`` sees in the region that options name; a region that is none is a finding."""
    try:
        region = region_of(options.get("region"))
    except UsageError as error:
        return [("region", Opinion(Fitness.BAD, str(error), "name one"))]
    return after_identity(region, lambda: look(region))
