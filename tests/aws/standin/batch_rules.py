"""Rules of AWS Batch that stand in its documentation and not in its model, for the stand-in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from aws.standin.model import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aws.standin.batch_jobs import Job

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_NOT_HERE = ("dependsOn", "nodeOverrides", "eksPropertiesOverride", "ecsPropertiesOverride")
_PATTERNS = {
    "onStatusReason": re.compile(r"[A-Za-z0-9.:\s]{0,511}[A-Za-z0-9.:\s*]"),
    "onReason": re.compile(r"[A-Za-z0-9.:\s]{0,511}[A-Za-z0-9.:\s*]"),
    "onExitCode": re.compile(r"[0-9]{0,511}[0-9*]"),
}


def refuse(message: str) -> RefusedError:
    """Return Batch's error for a wrong request."""
    return RefusedError("ClientException", f"Error executing request, Exception : {message}")


def check_submission(asked: dict[str, Any]) -> None:
    """Check a SubmitJob.

    Raises:
        RefusedError: a rule is broken, or it asks for what this stand-in does not know.
    """
    for word in _NOT_HERE:
        if asked.get(word):
            raise RefusedError("UnknownOperationException", f"this stand-in does not know {word}", 501)
    if not _NAME.fullmatch(asked["jobName"]):
        raise refuse(f"Job name should match valid pattern: {_NAME.pattern}")
    array = asked.get("arrayProperties")
    if array is not None and not 2 <= array.get("size", 0) <= 10_000:
        raise refuse("Array size must be between 2 and 10000")
    check_common(asked)
    check_environment(asked.get("containerOverrides", {}))


def check_definition(asked: dict[str, Any]) -> None:
    """Check a RegisterJobDefinition.

    Raises:
        RefusedError: a rule is broken, or it asks for what this stand-in does not know.
    """
    if not _NAME.fullmatch(asked["jobDefinitionName"]):
        raise refuse(f"jobDefinitionName should match valid pattern: {_NAME.pattern}")
    if asked["type"] != "container" or "containerProperties" not in asked:
        raise RefusedError("UnknownOperationException", "this stand-in knows containerProperties alone", 501)
    properties = asked["containerProperties"]
    if not properties.get("image"):
        raise refuse("Container properties must have an image")
    needed = {need["type"]: need["value"] for need in properties.get("resourceRequirements", [])}
    for word, old in (("VCPU", "vcpus"), ("MEMORY", "memory")):
        if word not in needed and old not in properties:
            raise refuse(f"resourceRequirements must have a value for {word}")
    for word, value in needed.items():
        if not re.fullmatch(r"\d+(\.\d+)?" if word == "VCPU" else r"\d+", value):
            raise refuse(f"{word} has the value {value!r}")
    if "FARGATE" in asked.get("platformCapabilities", []) and not properties.get("executionRoleArn"):
        raise refuse("executionRoleArn is required for FARGATE")
    check_common(asked)
    check_environment(properties)


def check_common(asked: dict[str, Any]) -> None:
    """Check what a job and its definition may both say.

    Raises:
        RefusedError: a rule is broken.
    """
    retry = asked.get("retryStrategy", {})
    if "attempts" in retry and not 1 <= retry["attempts"] <= 10:
        raise refuse("RetryStrategy attempts must be between 1 and 10")
    rules = retry.get("evaluateOnExit", [])
    if len(rules) > 5:
        raise refuse("evaluateOnExit must have at most 5 entries")
    if rules and "attempts" not in retry:
        raise refuse("evaluateOnExit needs attempts")
    for rule in rules:
        for word, pattern in _PATTERNS.items():
            if word in rule and not pattern.fullmatch(rule[word]):
                raise refuse(f"{word} has the value {rule[word]!r}, and must match {pattern.pattern}")
        if not rule.keys() & _PATTERNS.keys():
            raise refuse("a rule of evaluateOnExit needs a condition")
    if "timeout" in asked and asked["timeout"].get("attemptDurationSeconds", 0) < 60:
        raise refuse("Timeout attemptDurationSeconds must be at least 60")


def check_environment(properties: dict[str, Any]) -> None:
    """Check the variables of a container.

    Raises:
        RefusedError: one has a name that is Batch's own, or comes twice.
    """
    for pair in properties.get("environment", []):
        if pair.get("name", "").startswith("AWS_BATCH"):
            raise refuse(f"Environment variables must not start with AWS_BATCH: {pair['name']}")
        if "name" not in pair or "value" not in pair:
            raise refuse(f"an environment variable needs a name and a value: {pair}")


def overridden(properties: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Return the properties of a container with what a job says of its own."""
    merged = {**properties, **{word: overrides[word] for word in ("command",) if word in overrides}}
    for word, key in (("environment", "name"), ("resourceRequirements", "type")):
        pairs = {pair[key]: pair for pair in [*properties.get(word, []), *overrides.get(word, [])]}
        if pairs:
            merged[word] = list(pairs.values())
    return merged


def filtered(jobs: Iterable[Job], filters: list[dict[str, Any]]) -> list[Job]:
    """Return the jobs in any state that a filter of ListJobs lets pass.

    Raises:
        RefusedError: a filter that this stand-in does not know, or more than one.
    """
    if len(filters) != 1 or len(filters[0].get("values", [])) != 1:
        raise refuse("one filter with one value")
    if filters[0]["name"] != "JOB_NAME":
        raise RefusedError("UnknownOperationException", f"this stand-in does not know {filters[0]}", 501)
    value = filters[0]["values"][0].lower()
    if value.endswith("*"):
        return [job for job in jobs if job.name.lower().startswith(value[:-1])]
    return [job for job in jobs if job.name.lower() == value]
