"""What AWS Batch is asked for: job definition and SubmitJob, of template and options. Pure but for values passed on."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from slurmsweep.backends.aws import container as container_parts
from slurmsweep.backends.aws import options as aws_options
from slurmsweep.backends.aws import templates
from slurmsweep.backends.aws.service import command, environment
from slurmsweep.errors import UsageError
from slurmsweep.state.assignment import VARIABLE, to_text

if TYPE_CHECKING:
    from slurmsweep.backends.base import JobRequest, Options

REGISTER = "RegisterJobDefinition"

#: In a template's command: the sweep of a submission.
SWEEP = "Ref::sweep"

#: Options that are filled into a template.
_OF_TEMPLATE = frozenset({"image", "role", "secret", "efs"})

#: A part of a CPU, such as 0.25 on Fargate: no option says it.
_PART = re.compile(r"[0-9]*\.[0-9]+")

#: Seconds that Batch lets an attempt run at least.
_LEAST_SECONDS = 60


def refuse_both(options: Options) -> None:
    """Refuse a definition in AWS beside options that only a template takes. Raises UsageError."""
    if ours := sorted(_OF_TEMPLATE & options.keys()):
        raise UsageError(
            f"definition: {options['definition']} is used as it is, and {', '.join(ours)} would mean nothing: leave "
            "out one or the other"
        )


def definition(request: JobRequest) -> dict[str, Any]:
    """Return the input of RegisterJobDefinition: the template with what the options say, and a tag with its digest.

    Raises UsageError where the template still lacks something.
    """
    where, options = f"job template {request.template}", request.options
    content: dict[str, Any] = json.loads(request.body)
    container = content["containerProperties"]
    container_parts.fill(container, container, request, where)
    if role := options.get("role"):
        container["jobRoleArn"] = str(role)
        if aws_options.secrets(options):
            container.setdefault("executionRoleArn", str(role))
    templates.check(content, "batch", REGISTER, where)
    return content | {"tags": {**content.get("tags", {}), container_parts.DIGEST_TAG: templates.digest(content)}}


def submission(request: JobRequest, definition_name: str, *, shown: bool) -> dict[str, Any]:
    """Return the input of SubmitJob; values of variables are left out where it is to be ``shown``.

    Raises:
        UsageError: an option lacks, or means nothing on Batch.
        NotFoundError: a variable that is passed on is not set any more.
    """
    options = request.options
    queue = options.get("queue")
    if not queue:
        raise UsageError("no queue of AWS Batch is named: say --queue NAME, or `aws: {queue: NAME}`")
    variables = environment(request, shown=shown)
    if request.attempt_ids:
        variables[VARIABLE] = to_text(request.attempt_ids)
    overrides: dict[str, Any] = {
        "environment": container_parts.named_values(variables),
        "resourceRequirements": _requirements(options),
    }
    content: dict[str, Any] = {
        "jobName": request.name,
        "jobQueue": str(queue),
        "jobDefinition": definition_name,
        "containerOverrides": {key: value for key, value in overrides.items() if value},
        "propagateTags": True,
        "tags": {container_parts.SWEEP_TAG: container_parts.sweep_of(request)},
    }
    if "definition" in options:
        content["containerOverrides"]["command"] = command(request.source)
    else:
        content["parameters"] = {"sweep": request.source.argument}
    if request.tasks > 1:
        content["arrayProperties"] = {"size": request.tasks}
    if seconds := aws_options.seconds(options):
        if seconds < _LEAST_SECONDS:
            raise UsageError(f"time {options['time']}: AWS Batch gives a job {_LEAST_SECONDS} seconds at least")
        content["timeout"] = {"attemptDurationSeconds": seconds}
    if retries := options.get("retries"):  # the rules of a submission replace all of a definition
        rules = json.loads(request.body).get("retryStrategy", {}).get("evaluateOnExit", [])
        content["retryStrategy"] = {"attempts": int(retries), "evaluateOnExit": rules}
    templates.check(content, "batch", "SubmitJob", "this submission")
    return content


def resources_of(content: dict[str, Any]) -> Options:
    """Return what a template asks for, as options."""
    container = content["containerProperties"]
    needs = {one.get("type"): one.get("value") for one in container.get("resourceRequirements", ())}
    vcpus = needs.get("VCPU", container.get("vcpus"))
    memory, gpus = needs.get("MEMORY", container.get("memory")), needs.get("GPU")
    seconds = content.get("timeout", {}).get("attemptDurationSeconds")
    asked = {
        "cpus-per-task": str(vcpus) if vcpus and not _PART.fullmatch(str(vcpus)) else None,
        "mem": f"{memory}M" if memory else None,
        "gpus": str(gpus) if gpus else None,
        "time": f"{seconds // 60}:{seconds % 60:02d}" if seconds else None,
    }
    return {name: value for name, value in asked.items() if value}


def _requirements(options: Options) -> list[dict[str, str]]:
    """Return what a job needs in Batch's words: CPUs, MiB, GPUs."""
    asked = aws_options.asked(options)
    needs = {
        "VCPU": str(asked.cpus) if asked.cpus else "",
        "MEMORY": str(round(asked.mem)) if asked.mem else "",
        "GPU": "" if options.get("gpus") == "0" else options.get("gpus", ""),
    }
    return [{"type": kind, "value": str(value)} for kind, value in needs.items() if value]
