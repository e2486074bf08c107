"""The input of CreateTrainingJob for each job of a request: the template, filled in. Pure but for variables passed on.

The template's own words start the agent: ``SWEEP`` in its entrypoint or arguments stands for the sweep. A template
with the hyperparameter ``sagemaker_program`` is for SageMaker's training toolkit (script mode), whose program gets the
sweep as the hyperparameter ``sweep``.

Sources: CreateTrainingJob in the model of botocore 1.44, whose upper limits botocore itself does not check; sagemaker
SDK 2.257 for hyperparameters, which are JSON each.
"""

from __future__ import annotations

import json
import posixpath
import re
from typing import TYPE_CHECKING, Any

from slurmsweep.backends.aws import options as aws_options
from slurmsweep.backends.aws import templates
from slurmsweep.backends.aws.client import region_of
from slurmsweep.backends.aws.service import environment
from slurmsweep.errors import UsageError
from slurmsweep.state.assignment import SUBMISSION, to_text
from slurmsweep.state.assignment import VARIABLE as SLOTS
from slurmsweep.sweepfile.secrets import is_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slurmsweep.backends.base import JobRequest, JobSource

OPERATION = "CreateTrainingJob"

#: Stands for the sweep in a template's words.
SWEEP = "SWEEP"

#: In the built-in template: what a person has to say.
_ROLE, _IMAGE, _OUTPUT = "arn:aws:iam::ACCOUNT:role/ROLE", "IMAGE", "s3://BUCKET/slurmsweep"

#: In script mode the program of the training toolkit, and what it is told.
_PROGRAM, _SWEEP_PARAMETER = "sagemaker_program", "sweep"

#: Without it wandb puts SageMaker's own variables and hyperparameters into the configuration of each run.
_PLAIN_RUNS = "WANDB_SAGEMAKER_DISABLE"

#: Where SageMaker mounts file systems and data, by channel.
_CHANNELS = "/opt/ml/input/data"

#: Seconds that a job waits for a Spot machine, beside the time that it may run, where the template does not say.
_WAITS = 24 * 3600

#: Of the model: variables at most, characters of a name and value, and of each word of a command.
_MOST_VARIABLES, _LONGEST_VALUE, _LONGEST_WORD = 100, 512, 256


def documents(request: JobRequest, *, shown: bool) -> list[dict[str, Any]]:
    """Return the input of CreateTrainingJob for each job, in order.

    Args:
        request: made from a template of this kind.
        shown: for people: without the values of variables that are passed on.

    Raises:
        UsageError: the template's words do not name the sweep, or no region is named.
        NotFoundError: a variable that is passed on is not set any more.
    """
    common = json.loads(request.body)
    options = request.options
    _set_command(common, request.source.argument)
    _set_machine(common, options)
    _set_limits(common, options)
    region = region_of(options.get("region"))
    account = re.fullmatch(r"arn:[a-z-]+:iam::(\d{12}):.*", common["RoleArn"])
    if common["OutputDataConfig"]["S3OutputPath"] == _OUTPUT and account:  # the bucket that SageMaker's own SDK uses
        common["OutputDataConfig"]["S3OutputPath"] = f"s3://sagemaker-{region}-{account[1]}/slurmsweep"
    common["Environment"] = {
        "AWS_REGION": region,
        _PLAIN_RUNS: "true",
        **common.get("Environment", {}),
        **environment(request, shown=shown),
        SUBMISSION: request.name,
    }
    contents = []
    for number in range(request.tasks):
        slots = {SLOTS: to_text([request.attempt_ids[number]])} if request.attempt_ids else {}
        variables = {**common["Environment"], **slots}
        contents.append({**common, "TrainingJobName": f"{request.name}-{number}", "Environment": variables})
    return contents


def own_words(content: dict[str, Any]) -> str:
    """Return what a job of a submission has that the others have not, in a line."""
    slots = content["Environment"].get(SLOTS)
    return f"TrainingJobName {content['TrainingJobName']}" + (f", Environment.{SLOTS} {slots}" if slots else "")


def refuse(content: dict[str, Any], request: JobRequest) -> None:
    """Refuse a job that SageMaker would refuse, or that would show a secret.

    Raises:
        UsageError: what is wrong, with the path of each key.
    """
    where, template = f"job template {request.template}", json.loads(request.body)
    wrong = [*_placeholders(content), *_secrets(content, template), *_beyond_limits(content)]
    if wrong:
        raise UsageError("\n".join([f"{where} makes no training job:", *(f"  - {line}" for line in wrong)]))
    templates.check(content, "sagemaker", OPERATION, where)


def notices(content: dict[str, Any], source: JobSource) -> tuple[str, ...]:
    """Return what jobs will not find of the sweep's folder, in words.

    Raises:
        UsageError: the folder is on a channel that the template does not mount, or not for writing.
    """
    if not source.argument.startswith("/"):  # W&B holds the sweep
        return ()
    folder = posixpath.normpath(source.argument)
    channel = _channel_of(folder)
    if not channel:
        notice = (
            f"SageMaker mounts file systems below {_CHANNELS}/CHANNEL and nowhere else, and the sweep's folder is "
            f"{folder}: jobs find it only where the image has a link there. Mount the file system at "
            f"{_CHANNELS}/CHANNEL here too, and make the sweep there; or let W&B hold the sweep"
        )
        return (notice,)
    mounted = {one.get("ChannelName"): one for one in content.get("InputDataConfig", ())}
    system = mounted.get(channel, {}).get("DataSource", {}).get("FileSystemDataSource")
    if system is None or system.get("FileSystemAccessMode") != "rw":
        raise UsageError(
            f"the sweep's folder is on channel {channel}, and InputDataConfig has no FileSystemDataSource with "
            f"ChannelName {channel} and FileSystemAccessMode rw: say --aws efs=fs-0123:{_CHANNELS}/{channel}, or write "
            "one into a copy of the template"
        )
    if "VpcConfig" not in content:
        raise UsageError(
            "file systems need a network: say --aws subnets=ID and --aws security-groups=ID, or VpcConfig in a template"
        )
    return ()


def _channel_of(folder: str) -> str:
    """Return the channel that a folder is on; empty for none."""
    return folder.removeprefix(f"{_CHANNELS}/").partition("/")[0] if folder.startswith(f"{_CHANNELS}/") else ""


def _set_command(content: dict[str, Any], sweep: str) -> None:
    """Put the sweep where the template wants it. Raises UsageError."""
    hyperparameters = content.get("HyperParameters", {})
    if _PROGRAM in hyperparameters:
        content["HyperParameters"] = {**hyperparameters, _SWEEP_PARAMETER: json.dumps(sweep)}
        return
    how = content["AlgorithmSpecification"]
    named = False
    for key in ("ContainerEntrypoint", "ContainerArguments"):
        if key in how:
            named = named or SWEEP in how[key]
            how[key] = [sweep if word == SWEEP else word for word in how[key]]
    if not named:
        raise UsageError(
            f"this job template does not say where the sweep stands: write {SWEEP} as a word of "
            'AlgorithmSpecification.ContainerArguments, as in ["agent", "--count", "1", "SWEEP"]; or the '
            f"hyperparameter {_PROGRAM} for a script of SageMaker's training toolkit"
        )


def _set_machine(content: dict[str, Any], options: Any) -> None:
    """Put role, image, machine and network into a job where options name them."""
    if options.get("role"):
        content["RoleArn"] = str(options["role"])
    if options.get("image"):
        content["AlgorithmSpecification"]["TrainingImage"] = str(options["image"])
    if options.get("instance-type"):
        content.setdefault("ResourceConfig", {})["InstanceType"] = str(options["instance-type"])
    for option, key in (("subnets", "Subnets"), ("security-groups", "SecurityGroupIds")):
        if options.get(option):
            content.setdefault("VpcConfig", {})[key] = aws_options.names_in(options[option])
    if kept := aws_options.filesystem(options):
        channel = _channel_of(kept[1])
        if not channel or kept[1] != f"{_CHANNELS}/{channel}":
            raise UsageError(f"efs {kept[0]}:{kept[1]}: SageMaker mounts it as a channel, {_CHANNELS}/NAME")
        others = [one for one in content.get("InputDataConfig", ()) if one.get("ChannelName") != channel]
        system = {"FileSystemId": kept[0], "FileSystemType": "EFS", "FileSystemAccessMode": "rw", "DirectoryPath": "/"}
        content["InputDataConfig"] = [*others, {"ChannelName": channel, "DataSource": {"FileSystemDataSource": system}}]


def _set_limits(content: dict[str, Any], options: Any) -> None:
    """Put time limit and Spot into a job. A job on Spot machines may wait for one beyond the time that it runs."""
    limits = content.setdefault("StoppingCondition", {})
    seconds = aws_options.seconds(options)
    if seconds:
        limits["MaxRuntimeInSeconds"] = seconds
    if options.get("spot"):
        content["EnableManagedSpotTraining"] = True
    if content.get("EnableManagedSpotTraining") and "MaxRuntimeInSeconds" in limits:
        runs = limits["MaxRuntimeInSeconds"]
        if limits.get("MaxWaitTimeInSeconds", 0) < runs:
            limits["MaxWaitTimeInSeconds"] = runs + _WAITS


def _placeholders(content: dict[str, Any]) -> Iterator[str]:
    """Yield what the template leaves to a person."""
    if content["RoleArn"] == _ROLE:
        yield "RoleArn: say --role ARN, the role that SageMaker takes for the jobs"
    elif content["OutputDataConfig"]["S3OutputPath"] == _OUTPUT:
        yield "OutputDataConfig.S3OutputPath: name a bucket in a copy of the template; or say --role by its whole ARN"
    if content["AlgorithmSpecification"].get("TrainingImage") == _IMAGE:
        yield "AlgorithmSpecification.TrainingImage: say --image URI, an image in ECR with slurmsweep and your program"


def _secrets(content: dict[str, Any], template: dict[str, Any]) -> Iterator[str]:
    """Yield the variables of a template and the hyperparameters that hold secrets.

    A variable that is passed on by plain-env was wished so.
    """
    for name in content.get("HyperParameters", {}):
        if is_secret(name.upper()):
            yield f"HyperParameters.{name}: a secret, which every DescribeTrainingJob shows"
    for name in template.get("Environment", {}):
        if is_secret(name):
            yield f"Environment.{name}: a secret, which every DescribeTrainingJob shows; plain-env: {name} is for that"


def _beyond_limits(content: dict[str, Any]) -> Iterator[str]:
    """Yield what is above upper limits of the model that botocore does not check."""
    variables = content["Environment"]
    if len(variables) > _MOST_VARIABLES - 1:  # one more says which attempt a job is for
        yield f"Environment: {len(variables)} variables, and SageMaker takes {_MOST_VARIABLES}, one of them ours"
    for name, value in variables.items():
        if len(value) > _LONGEST_VALUE or len(name) > _LONGEST_VALUE:
            yield f"Environment.{name}: longer than {_LONGEST_VALUE} characters"
    for key in ("ContainerEntrypoint", "ContainerArguments"):
        for number, word in enumerate(content["AlgorithmSpecification"].get(key, ())):
            if len(word) > _LONGEST_WORD:
                yield f"AlgorithmSpecification.{key}[{number}]: longer than {_LONGEST_WORD} characters"
