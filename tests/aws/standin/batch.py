"""A stand-in for AWS Batch: jobs and arrays whose attempts are real processes, and whose words are those of Batch.

It cannot show: compute environments that grow, shares and priorities, dependencies, multi-node jobs, EKS, and any text
that AWS has changed since. ``STARTING`` lasts as long as a fork. Orders are called with a job's id; a child's is
``PARENT:INDEX``::

    cloud.machines.slots = 0                            # all jobs stay RUNNABLE
    cloud.batch.lose_host(job_id)                       # its attempt is gone, in one moment, with its host
    cloud.batch.wait_for(job_id, "SUCCEEDED", "FAILED")
"""

from __future__ import annotations

import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

from aws.standin import batch_rules as rules
from aws.standin.batch_definitions import Definitions
from aws.standin.batch_jobs import EXITED, GRACE, NOT_STARTED, OUT_OF_MEMORY, TIMED_OUT, Attempt, Job, now
from aws.standin.jobs import CannotStartError, random_hex, task_document, task_id
from aws.standin.model import RefusedError
from aws.standin.service import ACCOUNT, REGION, page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aws.standin.jobs import Machines
    from aws.standin.processes import Container

GROUP = "/aws/batch/job"


class Batch(Definitions):
    """The service.

    Attributes:
        jobs: all jobs and children that are not forgotten, by id.
        page_size: of ListJobs.
        filter_page_size: the same for a list with a filter.
        unseen: how many questions do not show a job that is submitted from now on.
        start_failures: reasons for which the next attempts do not start.
    """

    name = "batch"
    invalid = ("ClientException", 400)
    throttled = ("TooManyRequestsException", 429)

    def __init__(self, machines: Machines) -> None:
        super().__init__()
        self.jobs: dict[str, Job] = {}
        self.page_size = 1000
        self.filter_page_size = 100
        self.unseen = 0
        self.start_failures: list[str] = []
        self._machines = machines
        self._submitted = 0

    # -- orders of tests

    def lose_host(self, job_id: str) -> str:
        """Take the host away under a job that runs: no signal, no exit code. Returns the instance."""
        self._running(job_id).kill("lost")
        return self.jobs[job_id].attempts[-1].host

    def oom(self, job_id: str) -> None:
        """Have the kernel kill the job's biggest process, as for want of memory; its first one may live on."""
        self._running(job_id).kill_biggest()

    def kill_container(self, job_id: str) -> None:
        """Kill all processes of a job, and say nothing about memory."""
        self._running(job_id).kill()

    def expire(self, job_id: str) -> None:
        """Let the time limit of a job that runs pass now."""
        self._running(job_id).stop(GRACE * self._machines.grace_scale, "timeout")

    def forget(self, job_id: str) -> None:
        """Forget a job that has ended, and its children, as Batch does a week later."""
        with self.lock:
            job = self.jobs[job_id]
            assert job.over, f"{job_id} is {job.status}"
            for each in [job, *job.children]:
                del self.jobs[each.job_id]

    def explain(self, job_id: str, text: str) -> None:
        """Give a job that waits a statusReason, e.g. ``CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - ...``."""
        with self.lock:
            self.jobs[job_id].status_reason = text

    def wait_for(self, job_id: str, *statuses: str, seconds: float = 120) -> Job:
        """Return a job once it has one of these states.

        Raises:
            AssertionError: it has none of them after that time.
        """
        with self.changed:
            found = self._machines.wait(self.changed, lambda: self.jobs[job_id].status in statuses, seconds)
            assert found, f"{job_id} is {self.jobs[job_id].status}: {self.jobs[job_id].status_reason}"
            return self.jobs[job_id]

    def output(self, job_id: str, attempt: int = -1) -> str:
        """Return what an attempt wrote, by default the last one."""
        attempts = self.jobs[job_id].attempts
        return self._machines.output(task_id(attempts[attempt].task)) if attempts else ""

    def wait_for_output(self, job_id: str, text: str) -> None:
        """Return once the attempt that runs has written a text."""
        self._running(job_id)
        self._machines.wait_for_output(task_id(self.jobs[job_id].attempts[-1].task), text)

    def _running(self, job_id: str) -> Container:
        container = self.wait_for(job_id, "RUNNING").container
        assert container is not None
        return container

    # -- operations

    def submit_job(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Take a job or an array."""
        rules.check_submission(asked)
        queue = self.queue(asked["jobQueue"])
        definition = self.definition(asked["jobDefinition"])
        properties = rules.overridden(definition["containerProperties"], asked.get("containerOverrides", {}))
        retry = asked.get("retryStrategy") or definition.get("retryStrategy", {})
        timeout = asked.get("timeout") or definition.get("timeout", {})
        self._submitted += 1
        make = partial(
            Job,
            name=asked["jobName"],
            queue=queue["jobQueueArn"],
            definition=definition["jobDefinitionArn"],
            request=asked,
            container_properties=properties,
            parameters={**definition.get("parameters", {}), **asked.get("parameters", {})},
            tries=retry.get("attempts", 1),
            rules=retry.get("evaluateOnExit", []),
            timeout=timeout.get("attemptDurationSeconds"),
            tags=asked.get("tags", {}),
            serial=self._submitted,
            unseen=self.unseen,
        )
        job = make(str(uuid.uuid4()))
        size = asked.get("arrayProperties", {}).get("size", 0)
        job.children = [make(f"{job.job_id}:{index}", index=index, parent=job) for index in range(size)]
        job.left = size
        job.status = "PENDING" if size else "RUNNABLE"
        for each in [job, *job.children]:
            self.jobs[each.job_id] = each
        for each in job.with_children():
            each.status = "RUNNABLE"
            self._machines.add(partial(self._attempt, each))
        return {"jobArn": job.arn, "jobName": job.name, "jobId": job.job_id}

    def describe_jobs(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer with the jobs that are known; others are absent."""
        if len(asked["jobs"]) > 100:
            raise RefusedError("ClientException", "The jobs parameter must have at most 100 entries")
        words = dict.fromkeys(word.rsplit(":job/", 1)[-1] for word in asked["jobs"])
        found = self._seen(self.jobs[word] for word in words if word in self.jobs)
        return {"jobs": [job.detail() for job in found]}

    def list_jobs(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer with one page of a queue's jobs or an array's children: those that run, unless a state is named."""
        if sum(word in asked for word in ("jobQueue", "arrayJobId", "multiNodeJobId")) != 1:
            raise RefusedError("ClientException", "Exactly one of jobQueue, arrayJobId, multiNodeJobId is needed")
        status, size = asked.get("jobStatus", "RUNNING"), self.page_size
        jobs: Iterable[Job]
        if "arrayJobId" in asked:
            parent = self.jobs.get(asked["arrayJobId"])
            if parent is None or not parent.children:
                raise RefusedError("ClientException", f"Array job {asked['arrayJobId']} not found")
            jobs = [job for job in parent.children if job.status == status]
        else:
            queue = self.queue(asked["jobQueue"])["jobQueueArn"]
            jobs = [job for job in reversed(self.jobs.values()) if job.queue == queue and job.parent is None]
            if asked.get("filters"):
                jobs, size = rules.filtered(jobs, asked["filters"]), self.filter_page_size
            else:
                jobs = [job for job in jobs if job.status == status]
        size = min(size, asked.get("maxResults", size))
        found, following = page(self._seen(jobs), asked.get("nextToken"), max(1, size))
        return {"jobSummaryList": [job.summary() for job in found], "nextToken": following}

    def cancel_job(self, asked: dict[str, Any]) -> dict[str, Any]:
        """End a job that has not started; one that runs goes on."""
        job = self._known(asked["jobId"])
        if job.children and not job.over:
            job.order, job.cancelled = asked["reason"], True
        for each in job.with_children():
            if each.status == "RUNNABLE":
                self._cancel(each, asked["reason"])
        return {}

    def terminate_job(self, asked: dict[str, Any]) -> dict[str, Any]:
        """End a job, running or not; an array with all its children."""
        job = self._known(asked["jobId"])
        if not job.over:
            job.order, job.terminated = asked["reason"], True
        for each in job.with_children():
            if each.status == "RUNNABLE":
                self._cancel(each, asked["reason"])
            elif not each.over:
                each.order, each.terminated = asked["reason"], True
                if each.container is not None:
                    each.container.stop(GRACE * self._machines.grace_scale)
        return {}

    def terminate_jobs(self, asked: dict[str, Any]) -> dict[str, Any]:
        """End several jobs."""
        return self._each(asked, self.terminate_job)

    def cancel_jobs(self, asked: dict[str, Any]) -> dict[str, Any]:
        """End several jobs that have not started."""
        return self._each(asked, self.cancel_job)

    def _each(self, asked: dict[str, Any], order: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        if len(asked["jobs"]) > 50:
            raise RefusedError("ClientException", "At most 50 jobs in a request")
        known = [job_id for job_id in asked["jobs"] if job_id in self.jobs]
        for job_id in known:
            order({"jobId": job_id, "reason": asked["reason"]})
        errors = [
            {"jobId": job_id, "errorCode": "ClientException", "errorMessage": f"Job {job_id} not found"}
            for job_id in asked["jobs"]
            if job_id not in self.jobs
        ]
        return {"successful": known, "errors": errors}

    def _known(self, job_id: str) -> Job:
        job = self.jobs.get(job_id.rsplit(":job/", 1)[-1])
        if job is None:
            raise RefusedError("ClientException", f"Job {job_id} not found")
        return job

    def _cancel(self, job: Job, reason: str) -> None:
        job.order, job.cancelled = reason, True
        job.end("FAILED", reason)

    @staticmethod
    def _seen(jobs: Iterable[Job]) -> list[Job]:
        seen = []
        for job in jobs:
            if job.unseen:
                job.unseen -= 1
            else:
                seen.append(job)
        return seen

    def tags_of(self, arn: str) -> dict[str, str]:
        """Return the tags of a job, too."""
        job = self.jobs.get(arn.rsplit(":job/", 1)[-1])
        return super().tags_of(arn) if job is None else job.tags

    # -- the life of a job

    def _attempt(self, job: Job) -> None:
        with self.changed:
            if job.over:
                return
            task = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/AWSBatch-machines/{random_hex(32)}"
            attempt = Attempt(task, f"i-{random_hex(17)}")
            job.attempts.append(attempt)
            job.status, job.status_reason = "STARTING", None
            try:
                container = job.container = self._container(job, attempt)
            except CannotStartError as error:
                container = None
                attempt.reason = str(error)
            self.changed.notify_all()
        if container is not None:
            attempt.exit_code = container.run(partial(self._started, job, attempt))
        with self.changed:
            self._ended(job, attempt)
            self.changed.notify_all()

    def _container(self, job: Job, attempt: Attempt) -> Container:
        if self.start_failures:
            raise CannotStartError(self.start_failures.pop(0))
        family = job.definition.rsplit("/", 1)[-1].split(":", maxsplit=1)[0]
        task = task_id(attempt.task)
        attempt.stream = f"{family}/default/{task}"
        address = self._machines.metadata_address(
            task, task_document(attempt.task, "AWSBatch-machines", family, 1, "EC2")
        )
        region = {"AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION} if self._machines.region_told else {}
        environ = {
            **region,
            **self._machines.secret_values(job.container_properties.get("secrets", [])),
            **job.environ(),
            "ECS_CONTAINER_METADATA_URI_V4": address,
        }
        return self._machines.container(task, job.command(), environ, GROUP, attempt.stream)

    def _started(self, job: Job, attempt: Attempt) -> None:
        with self.changed:
            attempt.started = now()
            job.started = job.started or attempt.started
            job.status = "RUNNING"
            self.changed.notify_all()
        if job.timeout and job.container is not None:
            grace = GRACE * self._machines.grace_scale
            limit = partial(job.container.stop, grace, "timeout")
            job.container.later(job.timeout * self._machines.time_scale, limit)

    def _ended(self, job: Job, attempt: Attempt) -> None:
        container, job.container = job.container, None
        orders = container.orders if container else []
        attempt.stopped = now()
        attempt.status_reason = EXITED
        if container is None or container.error:
            attempt.status_reason = NOT_STARTED
            attempt.reason = (
                attempt.reason or f"CannotStartContainerError: Error response from daemon: {container.error}"
            )
        if "lost" in orders:
            attempt.status_reason, attempt.exit_code = f"Host EC2 (instance {attempt.host}) terminated.", None
        elif "oom" in orders:
            attempt.reason = OUT_OF_MEMORY
        elif orders[:1] == ["timeout"]:
            attempt.status_reason = TIMED_OUT
        if job.order:
            job.end("FAILED", job.order)
        elif attempt.exit_code == 0 and attempt.status_reason == EXITED:
            job.end("SUCCEEDED", EXITED)
        elif job.retried():
            job.status = "RUNNABLE"
            self._machines.add(partial(self._attempt, job))
        else:
            job.end("FAILED", attempt.status_reason)
