"""Say in which job of an AWS service a process runs: from its environment and what it is handed, asking for nothing.

Loaded only where a variable of such a service is set (:func:`slurmsweep.agents.identity.place_of`).

Sources: AWS Batch User Guide, "AWS Batch job environment variables"; Amazon SageMaker Developer Guide, "How Amazon
SageMaker Provides Training Information" (variables, ``resourceconfig.json``); Amazon ECS Developer Guide, "Amazon ECS
task metadata V4 JSON response"; AWS General Reference, "Amazon Resource Names (ARNs)".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from slurmsweep.errors import UsageError
from slurmsweep.state.assignment import (
    BATCH_INDEX,
    BATCH_JOB,
    BATCH_SIZE,
    EC2_INSTANCE,
    EC2_REGION,
    ECS_URI,
    SAGEMAKER_JOB,
    SUBMISSION,
    whole_number,
)
from slurmsweep.state.owner import JobPlace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_BATCH_ATTEMPT, _SAGEMAKER_ARN = "AWS_BATCH_JOB_ATTEMPT", "TRAINING_JOB_ARN"
_BATCH_NODE, _BATCH_MAIN_NODE = "AWS_BATCH_JOB_NODE_INDEX", "AWS_BATCH_JOB_MAIN_NODE_INDEX"

#: The first one that is set counts.
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")

#: In keys and names of jobs these have a meaning of their own: ``_``, ``@``, ``:``, and the end of a line.
JOB_ID = r"[A-Za-z0-9][A-Za-z0-9-]{0,127}"
REGION = r"[a-z][a-z0-9]*(?:-[a-z0-9]+)+"
_CLUSTER = r"[A-Za-z0-9_-]{1,255}"

_SUBMISSION = r"[A-Za-z0-9._-]{1,64}"

#: An element of an array is ``JOB:INDEX``, a machine of a multi-node parallel job ``JOB#NODE``.
_BATCH_ID = re.compile(rf"({JOB_ID})(?::([0-9]{{1,9}}))?(?:#[0-9]{{1,9}})?")
_TRAINING_JOB = re.compile(rf"arn:aws[a-z-]*:sagemaker:({REGION}):[0-9]+:training-job/({JOB_ID})")

#: Tasks of before 2018 have no cluster in their name.
_TASK = re.compile(rf"arn:aws[a-z-]*:ecs:({REGION}):[0-9]+:task/(?:({_CLUSTER})/)?({JOB_ID})")

#: The longest part of a wrong value that a message shows.
_SHOWN = 80


def in_service(environ: Mapping[str, str], task: Callable[[], Any], machines: Callable[[], Any]) -> JobPlace:
    """Return the job: of AWS Batch, SageMaker, EC2 (under ``slurmsweep listen``) or ECS, the first that variables tell.

    A job of AWS Batch is a task of ECS as well, and its own id is the one that Batch's requests take.

    Args:
        environ: of this process.
        task: returns what ECS says of its task. Called for ECS, and for Batch where no variable names the region.
        machines: returns what SageMaker says of the job's machines; None for nothing. Called for SageMaker.

    Raises:
        UsageError: a value is not of the kind that the service sets, or one is missing beside another.
        SchedulerUnavailableError: ``task`` could not ask.
    """
    if environ.get(BATCH_JOB) or environ.get(BATCH_INDEX):
        return _in_batch(environ, task)
    if environ.get(SAGEMAKER_JOB):
        return _in_sagemaker(environ, machines)
    if environ.get(EC2_INSTANCE) or environ.get(EC2_REGION):
        instance = _checked(JOB_ID, environ.get(EC2_INSTANCE, ""), EC2_INSTANCE, "the id of a machine of EC2")
        region = _checked(REGION, environ.get(EC2_REGION, ""), EC2_REGION, "a region of AWS")
        return JobPlace("ec2", f"ec2:{region}", instance)
    region, cluster, job = _parts_of_task(task())
    return JobPlace("ecs", f"ecs:{region}/{cluster}", job, submission=_submission(environ))


def stands_by(environ: Mapping[str, str], machines: Callable[[], Any]) -> str:
    """Return why this machine of a job of several takes no trial; empty where it takes one.

    A job is the permission to run one trial, and all its machines have one name: the first one runs the agent.
    Arguments and errors as :func:`in_service`.
    """
    if environ.get(BATCH_JOB):
        node, main = whole_number(environ, _BATCH_NODE), whole_number(environ, _BATCH_MAIN_NODE)
        if node is not None and node != (main or 0):
            return f"of this job's machines number {main or 0} runs the agent, and this is number {node}"
    elif environ.get(SAGEMAKER_JOB):
        this, hosts = _machines(machines())
        first = min(hosts, default=this)  # algo-1, however many there are
        if this != first:
            return f"of this job's {len(hosts)} machines {first} runs the agent, and this is {this}"
    return ""


def _in_batch(environ: Mapping[str, str], task: Callable[[], Any]) -> JobPlace:
    text, index = environ.get(BATCH_JOB, ""), whole_number(environ, BATCH_INDEX)
    if not text:
        raise UsageError(f"{BATCH_INDEX}={index} without {BATCH_JOB}: AWS Batch sets both; unset what is left of a job")
    found = _BATCH_ID.fullmatch(text)
    if found is None:
        raise _wrong(BATCH_JOB, text, "the id of a job of AWS Batch")
    element, tasks = int(found[2]) if found[2] else index, whole_number(environ, BATCH_SIZE)
    if index is not None and (index != element or index >= (tasks or index + 1)):
        beside = f"{BATCH_SIZE}={tasks}" if index == element else f"{BATCH_JOB}={text[:_SHOWN]!r}"
        raise UsageError(f"{BATCH_INDEX}={index} does not fit {beside}: AWS Batch sets both")
    attempt = whole_number(environ, _BATCH_ATTEMPT)
    if attempt == 0:
        raise UsageError(f"{_BATCH_ATTEMPT}=0: AWS Batch numbers the attempts of a job from 1 on")
    region = _region(environ)
    if not region and environ.get(ECS_URI):
        region = _parts_of_task(task())[0]
    if not region:
        raise _no_region(BATCH_JOB, "AWS Batch")
    idle = stands_by(environ, lambda: None)
    restart = (attempt or 1) - 1
    return JobPlace("batch", f"batch:{region}", found[1], element, element, tasks, restart, idle=idle)


def _in_sagemaker(environ: Mapping[str, str], machines: Callable[[], Any]) -> JobPlace:
    """Return the training job. Its own ARN says where it is; variables may name the region of the user's data."""
    job = _checked(JOB_ID, environ[SAGEMAKER_JOB], SAGEMAKER_JOB, "the name of a training job")
    arn = environ.get(_SAGEMAKER_ARN)
    found = _TRAINING_JOB.fullmatch(arn) if arn else None
    if arn and (found is None or found[2].lower() != job.lower()):
        raise _wrong(_SAGEMAKER_ARN, arn, f"the ARN of the training job {job}")
    region = found[1] if found else _region(environ)
    if not region:
        raise _no_region(SAGEMAKER_JOB, "SageMaker")
    said = machines()
    node, idle = _machines(said)[0] or None, stands_by(environ, lambda: said)
    return JobPlace(
        "sagemaker", f"sagemaker:{region}", job, restart=None, node=node, idle=idle, submission=_submission(environ)
    )


def _machines(said: Any) -> tuple[str, list[str]]:
    """Return the name of this machine and those of all machines of its job; none where SageMaker says nothing."""
    if said is None:
        return "", []
    this, hosts = (said.get("current_host"), said.get("hosts")) if isinstance(said, dict) else (None, None)
    names = [host for host in hosts if isinstance(host, str)] if isinstance(hosts, list) else []
    if not isinstance(this, str) or this not in names or names != hosts:
        raise UsageError(f"resourceconfig.json of this job names no current_host among its hosts: {str(said)[:_SHOWN]}")
    return this, names


def _parts_of_task(said: Any) -> tuple[str, str, str]:
    """Return region, cluster and id of a task, as ECS says of it."""
    arn = said.get("TaskARN") if isinstance(said, dict) else None
    found = _TASK.fullmatch(arn) if isinstance(arn, str) else None
    if found is None:
        raise UsageError(f"what ECS says of this task has no TaskARN that names one: {str(arn)[:_SHOWN]!r}")
    cluster = found[2] or str(said.get("Cluster")).rpartition("/")[2]
    return found[1], _checked(_CLUSTER, cluster, "Cluster", "the name of a cluster of ECS"), found[3]


def _submission(environ: Mapping[str, str]) -> str | None:
    """Return the name of the submission that made the job; None where none is told, as of a job started by hand."""
    name = environ.get(SUBMISSION)
    return _checked(_SUBMISSION, name, SUBMISSION, "the name of a submission") if name else None


def _region(environ: Mapping[str, str]) -> str:
    """Return the region that a variable names; empty where none does."""
    name = next((name for name in _REGIONS if environ.get(name)), "")
    return _checked(REGION, environ[name], name, "a region of AWS, such as eu-west-1") if name else ""


def _checked(pattern: str, text: str, name: str, what: str) -> str:
    if not re.fullmatch(pattern, text):
        raise _wrong(name, text, what)
    return text


def _wrong(name: str, text: str, what: str) -> UsageError:
    return UsageError(f"{name}={text[:_SHOWN]!r} is not {what}: give the one that AWS set, or unset the variable")


def _no_region(name: str, service: str) -> UsageError:
    return UsageError(
        f"{name} is set, as in a job of {service}, and neither {' nor '.join(_REGIONS)}: without its region nothing "
        f"can be asked about the job later. Set AWS_REGION in the job's environment; outside such a job unset {name}"
    )
