"""The life of one job of the stand-in for AWS Batch: its attempts, what retries it, and what is told about it."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from aws.standin.service import ACCOUNT, REGION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aws.standin.processes import Container

STATES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")

#: What AWS writes; see the table in section 5 of its sources: documentation of EvaluateOnExit, and public issues.
EXITED = "Essential container in task exited"
TIMED_OUT = "Job attempt duration exceeded timeout"
NOT_STARTED = "Task failed to start"
OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
CHILD_FAILED = "Array Child Job failed"

GRACE = 30


def now() -> int:
    """Return the time as Batch gives it, in milliseconds."""
    return int(time.time() * 1000)


@dataclass
class Attempt:
    """One attempt that has ended, or the one that is at work."""

    task: str
    host: str
    stream: str | None = None
    started: int | None = None
    stopped: int | None = None
    exit_code: int | None = None
    reason: str | None = None
    status_reason: str | None = None

    def told(self) -> dict[str, Any]:
        """Return it as DescribeJobs tells it."""
        return without_none(
            {
                "container": without_none(
                    {
                        "containerInstanceArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:container-instance/batch/{self.host}",
                        "taskArn": self.task,
                        "exitCode": self.exit_code,
                        "reason": self.reason,
                        "logStreamName": self.stream,
                    }
                ),
                "startedAt": self.started,
                "stoppedAt": self.stopped,
                "statusReason": self.status_reason,
            }
        )


@dataclass
class Job:
    """One job, an array's parent, or one of its children.

    Attributes:
        order: the reason that a TerminateJob or CancelJob gave; empty where there was none.
        unseen: how many of the next questions do not show it.
        attempts: in their order; the last one may be at work.
        rules: evaluateOnExit.
        left: how many children have not ended.
    """

    job_id: str
    name: str
    queue: str
    definition: str
    request: dict[str, Any]
    container_properties: dict[str, Any]
    parameters: dict[str, str]
    tries: int
    rules: list[dict[str, str]]
    timeout: int | None
    tags: dict[str, str]
    serial: int
    index: int | None = None
    parent: Job | None = None
    children: list[Job] = field(default_factory=list)
    left: int = 0
    status: str = "SUBMITTED"
    status_reason: str | None = None
    created: int = field(default_factory=now)
    started: int | None = None
    stopped: int | None = None
    attempts: list[Attempt] = field(default_factory=list)
    order: str = ""
    terminated: bool = False
    cancelled: bool = False
    container: Container | None = None
    unseen: int = 0

    @property
    def arn(self) -> str:
        """Return its ARN."""
        return f"arn:aws:batch:{REGION}:{ACCOUNT}:job/{self.job_id}"

    @property
    def over(self) -> bool:
        """Tell whether it has ended for good."""
        return self.status in {"SUCCEEDED", "FAILED"}

    def with_children(self) -> Iterator[Job]:
        """Give the jobs that run something: itself, or its children."""
        yield from self.children or [self]

    def end(self, status: str, reason: str | None) -> None:
        """Note its end, and that of its parent where it was the last child."""
        self.status, self.status_reason, self.stopped = status, reason, now()
        parent = self.parent
        if parent is None:
            return
        parent.left -= 1
        if not parent.left:
            failed = any(child.status == "FAILED" for child in parent.children)
            parent.end("FAILED" if failed else "SUCCEEDED", parent.order or (CHILD_FAILED if failed else None))

    def summary(self) -> dict[str, Any]:
        """Return it as ListJobs tells it."""
        last = self.attempts[-1] if self.attempts else None
        container = without_none({"exitCode": last.exit_code, "reason": last.reason}) if last else None
        return without_none(
            {
                "jobArn": self.arn,
                "jobId": self.job_id,
                "jobName": self.name,
                "createdAt": self.created,
                "status": self.status,
                "statusReason": self.status_reason,
                "startedAt": self.started,
                "stoppedAt": self.stopped,
                "container": container or None,
                "arrayProperties": self._array(),
                "jobDefinition": self.definition,
            }
        )

    def detail(self) -> dict[str, Any]:
        """Return it as DescribeJobs tells it. The model wants ``startedAt`` always: it is 0 before the first start."""
        ended = [attempt for attempt in self.attempts if attempt.stopped is not None]
        last = self.attempts[-1].told()["container"] if self.attempts else {}
        return without_none(
            {
                "jobArn": self.arn,
                "jobName": self.name,
                "jobId": self.job_id,
                "jobQueue": self.queue,
                "status": self.status,
                "attempts": [attempt.told() for attempt in ended],
                "statusReason": self.status_reason,
                "createdAt": self.created,
                "retryStrategy": {"attempts": self.tries, "evaluateOnExit": self.rules},
                "startedAt": self.started or 0,
                "stoppedAt": self.stopped,
                "dependsOn": [],
                "jobDefinition": self.definition,
                "parameters": self.parameters,
                "container": {**self.container_properties, **last},
                "arrayProperties": self._array(),
                "timeout": {"attemptDurationSeconds": self.timeout} if self.timeout else None,
                "tags": self.tags,
                "isCancelled": self.cancelled,
                "isTerminated": self.terminated,
            }
        )

    def _array(self) -> dict[str, Any] | None:
        if self.index is not None:
            return {"index": self.index}
        if not self.children:
            return None
        count = dict.fromkeys(STATES, 0)
        for child in self.children:
            count[child.status] += 1
        return {"size": len(self.children), "statusSummary": count, "statusSummaryLastUpdatedAt": now()}

    def command(self) -> list[str]:
        """Return the command with the values of its parameters; a word without one stays as it is, as in AWS."""

        def value(word: str) -> str:
            return self.parameters.get(word.removeprefix("Ref::"), word) if word.startswith("Ref::") else word

        return [value(word) for word in self.container_properties.get("command", [])]

    def environ(self) -> dict[str, str]:
        """Return the variables that Batch sets, after those of the definition and the request."""
        given = {pair["name"]: pair["value"] for pair in self.container_properties.get("environment", [])}
        own = {
            "AWS_BATCH_JOB_ID": self.job_id,
            "AWS_BATCH_JOB_ATTEMPT": str(len(self.attempts)),
            "AWS_BATCH_JQ_NAME": self.queue.rsplit("/", 1)[-1],
            "AWS_BATCH_CE_NAME": "machines",
            "AWS_EXECUTION_ENV": "AWS_ECS_EC2",
        }
        if self.parent is not None:
            own["AWS_BATCH_JOB_ARRAY_INDEX"] = str(self.index)
            own["AWS_BATCH_JOB_ARRAY_SIZE"] = str(len(self.parent.children))
        return given | own

    def retried(self) -> bool:
        """Tell whether its last attempt, which failed, is tried again: by the first rule that matches, else yes."""
        last = self.attempts[-1]
        if self.order or last.status_reason == TIMED_OUT or len(self.attempts) >= self.tries:
            return False
        for rule in self.rules:
            if all(
                fnmatchcase(text, _glob(rule[word]))
                for word, text in (
                    ("onStatusReason", last.status_reason or ""),
                    ("onReason", last.reason or ""),
                    ("onExitCode", "" if last.exit_code is None else str(last.exit_code)),
                )
                if word in rule
            ):
                return rule["action"] == "RETRY"
        return True


def _glob(pattern: str) -> str:
    """Return a pattern of AWS, where a star at the end alone is special, as one of fnmatch."""
    return re.sub(r"[\[\]?]", "[\\g<0>]", pattern)


def without_none(answer: dict[str, Any]) -> dict[str, Any]:
    """Return it without the fields that have no value: AWS leaves them out."""
    return {word: value for word, value in answer.items() if value is not None}
