"""A stand-in for SageMaker's training jobs: each is a real process, with the words of SageMaker.

It cannot show: several instances, channels and ``/opt/ml`` (so no failure file either), what the code inside AWS's own
images does, prices, and any text that AWS has changed since. A job without a ContainerEntrypoint runs ``train``, which
a test may put on PATH. Orders are called with a job's name::

    cloud.machines.slots = 0                   # all jobs stay InProgress / Starting
    cloud.sagemaker.interrupt(name)            # Spot: gone without a warning, and started again
    cloud.sagemaker.wait_for(name, "Completed")
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from aws.standin.batch_jobs import without_none
from aws.standin.jobs import CannotStartError
from aws.standin.model import RefusedError
from aws.standin.service import ACCOUNT, REGION, Service, page

if TYPE_CHECKING:
    from aws.standin.jobs import Machines
    from aws.standin.processes import Container

GROUP = "/aws/sagemaker/TrainingJobs"
GRACE = 120
NO_CAPACITY = (
    "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML instance type."
)
BROKEN = "InternalServerError: We encountered an internal error. Please try again."
_ENDED = {"Completed", "Failed", "Stopped"}


def _now() -> datetime:
    return datetime.fromtimestamp(round(time.time(), 3), timezone.utc)


@dataclass
class TrainingJob:
    """One training job.

    Attributes:
        marks: of its containers so far, each with a log stream of its own: a job that Spot or an internal error has
            interrupted has several.
        ends_as: the secondary status that an order has given to its end; empty where there was none.
    """

    request: dict[str, Any]
    created: datetime = field(default_factory=_now)
    changed: datetime = field(default_factory=_now)
    status: str = "InProgress"
    secondary: str = "Starting"
    transitions: list[dict[str, Any]] = field(default_factory=list)
    failure: str | None = None
    started: datetime | None = None
    ended: datetime | None = None
    seconds: float = 0.0
    retries: int = 0
    marks: list[str] = field(default_factory=list)
    ends_as: str = ""
    container: Container | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Return its name."""
        name: str = self.request["TrainingJobName"]
        return name

    @property
    def arn(self) -> str:
        """Return its ARN."""
        return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/{self.name.lower()}"

    def become(self, status: str, secondary: str, message: str = "") -> None:
        """Note a new state in the list of transitions."""
        self.status, self.secondary, self.changed = status, secondary, _now()
        if self.transitions:
            self.transitions[-1].setdefault("EndTime", self.changed)
        self.transitions.append({"Status": secondary, "StartTime": self.changed, "StatusMessage": message})
        if status in _ENDED:
            self.ended = self.changed
            self.transitions[-1]["EndTime"] = self.changed

    def summary(self) -> dict[str, Any]:
        """Return it as ListTrainingJobs tells it."""
        return without_none(
            {
                "TrainingJobName": self.name,
                "TrainingJobArn": self.arn,
                "CreationTime": self.created,
                "TrainingEndTime": self.ended,
                "LastModifiedTime": self.changed,
                "TrainingJobStatus": self.status,
                "SecondaryStatus": self.secondary,
            }
        )

    def detail(self) -> dict[str, Any]:
        """Return it as DescribeTrainingJob tells it."""
        asked = {word: value for word, value in self.request.items() if word != "Tags"}
        seconds = math.ceil(self.seconds)
        output = asked["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        return without_none(
            {
                "EnableNetworkIsolation": False,
                "EnableInterContainerTrafficEncryption": False,
                "EnableManagedSpotTraining": False,
                **asked,
                **self.summary(),
                "ModelArtifacts": {"S3ModelArtifacts": f"{output}/{self.name}/output/model.tar.gz"},
                "FailureReason": self.failure[:1024] if self.failure else None,
                "TrainingStartTime": self.started,
                "SecondaryStatusTransitions": self.transitions,
                "TrainingTimeInSeconds": seconds if self.ended and seconds else None,
                "BillableTimeInSeconds": seconds if self.ended and seconds else None,
            }
        )


class SageMaker(Service):
    """The service.

    Attributes:
        jobs: by name.
        page_size: of ListTrainingJobs where the request has no MaxResults.
        start_failures: reasons for which the next jobs fail before they start, e.g. :data:`NO_CAPACITY`.
        missing: code and text for a job that is unknown. AWS was seen to say ValidationException, its model has
            ResourceNotFound.
    """

    name = "sagemaker"

    def __init__(self, machines: Machines) -> None:
        super().__init__()
        self.jobs: dict[str, TrainingJob] = {}
        self.page_size = 10
        self.start_failures: list[str] = []
        self.missing = ("ValidationException", "Requested resource not found.")
        self._machines = machines
        self._tags: dict[str, list[dict[str, str]]] = {}

    # -- orders of tests

    def interrupt(self, name: str) -> None:
        """Take the Spot instance away without a warning; the same job starts again once a slot is free."""
        job = self.jobs[name]
        assert job.request.get("EnableManagedSpotTraining"), "not a Spot job"
        self._running(name).kill("interrupted")

    def break_down(self, name: str) -> None:
        """Have the service fail under a job that runs; RetryStrategy of the request is for this."""
        self._running(name).kill("broken")

    def oom(self, name: str) -> None:
        """Have the kernel kill the job's biggest process; SageMaker says no word about memory."""
        self._running(name).kill_biggest()

    def kill_container(self, name: str) -> None:
        """Kill all processes of a job."""
        self._running(name).kill()

    def expire(self, name: str) -> None:
        """Let MaxRuntimeInSeconds of a job that runs pass now."""
        self._running(name)
        self._expire(self.jobs[name])

    def give_up(self, name: str) -> None:
        """Let MaxWaitTimeInSeconds of a job that waits for Spot capacity pass now."""
        with self.changed:
            job = self.jobs[name]
            assert job.secondary in {"Starting", "Interrupted"}, job
            job.become("Stopped", "MaxWaitTimeExceeded")
            self.changed.notify_all()

    def exceed_limit(self, requests: int = 1) -> None:
        """Refuse so many CreateTrainingJob for a quota."""
        message = (
            "The account-level service limit 'ml.m5.large for training job usage' is 0 Instances, with current "
            "utilization of 0 Instances and a request delta of 1 Instances."
        )
        self.refuse(requests, "CreateTrainingJob", code="ResourceLimitExceeded", message=message, status=400)

    def wait_for(self, name: str, *statuses: str, seconds: float = 120) -> TrainingJob:
        """Return a job once its status or its secondary status is one of these.

        Raises:
            AssertionError: it is none of them after that time.
        """
        with self.changed:
            job = self.jobs[name]
            found = self._machines.wait(self.changed, lambda: {job.status, job.secondary} & set(statuses), seconds)
            assert found, job
            return job

    def output(self, name: str, start: int = -1) -> str:
        """Return what one start of a job wrote, by default the last one."""
        marks = self.jobs[name].marks
        return self._machines.output(marks[start]) if marks else ""

    def wait_for_output(self, name: str, text: str) -> None:
        """Return once the job, which runs, has written a text."""
        self._running(name)
        self._machines.wait_for_output(self.jobs[name].marks[-1], text)

    def _running(self, name: str) -> Container:
        container = self.wait_for(name, "Training").container
        assert container is not None
        return container

    # -- operations

    def create_training_job(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Take a job whose name is new."""
        _check(asked)
        name = asked["TrainingJobName"]
        if name in self.jobs:
            raise RefusedError(
                "ResourceInUse",
                "Training job names must be unique within an AWS account and region, and a training job with this name "
                f"already exists ({self.jobs[name].arn})",
            )
        job = self.jobs[name] = TrainingJob(asked)
        job.become("InProgress", "Starting", "Starting the training job")
        self._tags[job.arn] = asked.get("Tags", [])
        self._machines.add(partial(self._run, job))
        return {"TrainingJobArn": job.arn}

    def describe_training_job(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer with a job."""
        return self._known(asked["TrainingJobName"]).detail()

    def list_training_jobs(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer with one page of jobs, the newest first unless another order is asked for."""
        words = {"Name": "name", "Status": "status"}
        jobs = [
            job
            for job in self.jobs.values()
            if asked.get("NameContains", "") in job.name
            and asked.get("StatusEquals") in {None, job.status}
            and asked.get("CreationTimeAfter", job.created)
            <= job.created
            <= asked.get("CreationTimeBefore", job.created)
        ]
        word = words.get(asked.get("SortBy", "CreationTime"), "created")
        jobs.sort(key=lambda job: getattr(job, word), reverse=asked.get("SortOrder", "Descending") == "Descending")
        found, following = page(jobs, asked.get("NextToken"), asked.get("MaxResults", self.page_size))
        return {"TrainingJobSummaries": [job.summary() for job in found], "NextToken": following}

    def stop_training_job(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Stop a job: SIGTERM, and SIGKILL two minutes later."""
        job = self._known(asked["TrainingJobName"])
        if job.status != "InProgress":
            message = f"The request was rejected because the training job is in status {job.status}."
            raise RefusedError("ValidationException", message)
        job.ends_as = "Stopped"
        job.become("Stopping", "Stopping", "Stopping the training job")
        if job.container is not None:
            job.container.stop(GRACE * self._machines.grace_scale)
        else:
            job.become("Stopped", "Stopped", "Training job stopped")
        return {}

    def list_tags(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer with the tags of a job."""
        return {"Tags": self._tags.get(asked["ResourceArn"], [])}

    def add_tags(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Add tags to a job."""
        before = self._tags.get(asked["ResourceArn"], [])
        self._tags[asked["ResourceArn"]] = list({tag["Key"]: tag for tag in [*before, *asked["Tags"]]}.values())
        return {"Tags": self._tags[asked["ResourceArn"]]}

    def _known(self, name: str) -> TrainingJob:
        if name not in self.jobs:
            raise RefusedError(*self.missing)
        return self.jobs[name]

    # -- the life of a job

    def _run(self, job: TrainingJob) -> None:
        with self.changed:
            if job.ended is not None:
                return
            if job.secondary != "Starting":
                job.become("InProgress", "Starting", "Starting the training job")
            try:
                container = job.container = self._container(job)
            except CannotStartError as error:
                job.failure = str(error)
                job.become("Failed", "Failed", job.failure)
                return
            finally:
                self.changed.notify_all()
        began = time.monotonic()
        code = container.run(partial(self._started, job))
        with self.changed:
            job.container = None
            job.seconds += time.monotonic() - began
            self._ended(job, container, code)
            self.changed.notify_all()

    def _container(self, job: TrainingJob) -> Container:
        if self.start_failures:
            raise CannotStartError(self.start_failures.pop(0))
        algorithm = job.request["AlgorithmSpecification"]
        command = [*algorithm.get("ContainerEntrypoint", ["train"]), *algorithm.get("ContainerArguments", [])]
        environ = {
            **job.request.get("Environment", {}),
            "TRAINING_JOB_NAME": job.name,
            "TRAINING_JOB_ARN": job.arn,
            "AWS_REGION": REGION,
        }
        stream = f"{job.name}/algo-1-{int(time.time()) + len(job.marks)}"
        mark = f"{job.name}-{len(job.marks)}"
        job.marks.append(mark)
        return self._machines.container(mark, command, environ, GROUP, stream)

    def _started(self, job: TrainingJob) -> None:
        with self.changed:
            job.started = job.started or _now()
            if not job.ends_as:
                job.become("InProgress", "Training", "Training in-progress")
            self.changed.notify_all()
            if job.container is not None:
                limit = job.request["StoppingCondition"].get("MaxRuntimeInSeconds", 86_400)
                job.container.later(limit * self._machines.time_scale, partial(self._expire, job))

    def _expire(self, job: TrainingJob) -> None:
        with self.changed:
            if job.status == "InProgress" and job.container is not None:
                job.ends_as = "MaxRuntimeExceeded"
                job.become("Stopping", "Stopping", "Stopping the training job")
                job.container.stop(GRACE * self._machines.grace_scale)
                self.changed.notify_all()

    def _ended(self, job: TrainingJob, container: Container, code: int | None) -> None:
        retries = job.request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0)
        if job.ends_as:
            job.become("Stopped", job.ends_as, "Training job stopped")
        elif "interrupted" in container.orders:
            job.become("InProgress", "Interrupted", "Training job interrupted")
            self._machines.add(partial(self._run, job))
        elif "broken" in container.orders and job.retries < retries:
            job.retries += 1
            job.become("InProgress", "Restarting", "Restarting the training job")
            self._machines.add(partial(self._run, job))
        elif "broken" in container.orders:
            self._fail(job, BROKEN)
        elif code is None:
            self._fail(job, f"ClientError: Cannot start the training container: {container.error}")
        elif code:
            self._fail(job, f"AlgorithmError: , exit code: {code}")
        else:
            job.become("InProgress", "Uploading", "Uploading generated training model")
            job.become("Completed", "Completed", "Training job completed")

    @staticmethod
    def _fail(job: TrainingJob, reason: str) -> None:
        job.failure = reason
        job.become("Failed", "Failed", reason)


def _check(asked: dict[str, Any]) -> None:
    """Check a CreateTrainingJob by the rules of the documentation.

    Raises:
        RefusedError: a rule is broken, or it asks for what this stand-in does not know.
    """
    for word in ("AlgorithmSpecification", "ResourceConfig", "StoppingCondition"):
        if word not in asked:
            raise RefusedError("ValidationException", f"{word} is required")
    algorithm, limits = asked["AlgorithmSpecification"], asked["StoppingCondition"]
    if ("TrainingImage" in algorithm) == ("AlgorithmName" in algorithm):
        raise RefusedError("ValidationException", "Exactly one of TrainingImage and AlgorithmName must be given")
    if asked["ResourceConfig"].get("InstanceCount", 0) != 1:
        raise RefusedError("UnknownOperationException", "this stand-in knows jobs on one instance alone", 501)
    if "InstanceType" not in asked["ResourceConfig"] or "VolumeSizeInGB" not in asked["ResourceConfig"]:
        raise RefusedError("ValidationException", "ResourceConfig needs InstanceType and VolumeSizeInGB")
    runtime, wait = limits.get("MaxRuntimeInSeconds", 86_400), limits.get("MaxWaitTimeInSeconds")
    if asked.get("EnableManagedSpotTraining"):
        if wait is None or wait < runtime:
            raise RefusedError(
                "ValidationException",
                "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds",
            )
    elif wait is not None:
        raise RefusedError("ValidationException", "MaxWaitTimeInSeconds is for managed Spot training alone")
    if not asked["OutputDataConfig"]["S3OutputPath"].startswith("s3://"):
        raise RefusedError("ValidationException", "S3OutputPath must begin with s3://")
