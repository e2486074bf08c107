"""AWS Batch: an array of jobs for a submission, each of which runs one agent in a container."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

from slurmsweep.backends.aws import batch_jobs, batch_requests, batch_words, words
from slurmsweep.backends.aws import container as container_parts
from slurmsweep.backends.aws import options as aws_options
from slurmsweep.backends.aws.client import region_of
from slurmsweep.backends.aws.service import AwsBackend, answers, by_cluster, client, client_of, in_parts
from slurmsweep.backends.base import Answer, JobRestarts, JobSource, JobStatus, SubmitOptions
from slurmsweep.backends.keys import JobRef, key_on, parts_of
from slurmsweep.errors import SubmissionRefusedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from slurmsweep.backends.aws.client import Client
    from slurmsweep.backends.base import Account, JobRequest, Options
    from slurmsweep.state.filesystem import Opinion

#: Jobs that one order takes.
_MOST_ORDERED = 50

#: A job that this process submitted, and that no answer has yet.
_UNSEEN_JOB = JobStatus("SUBMITTED", True, None, "", None, "", batch_words.SOURCE, waits=True)

#: Seconds between two looks for jobs by their name, where none is found: lists lag behind submissions.
_SEARCHES = (1.0, 2.0, 3.0)

_TARGET = re.compile(r"([^_]+)(?:_\[?([0-9,-]+)\]?)?")


class BatchBackend(AwsBackend):
    """AWS Batch. A submission is one SubmitJob: an array of 2 to 10,000 jobs, or a plain job."""

    name: ClassVar[str] = "batch"
    operation: ClassVar[str] = batch_requests.REGISTER
    most_tasks: ClassVar[int] = 10_000
    known: ClassVar[frozenset[str]] = frozenset(aws_options.RESOURCES) | {
        "definition", "efs", "env", "image", "plain-env", "queue", "region", "retries", "role", "secret"
    }  # fmt: skip

    # Before anything is submitted

    def refuse_template(self, content: dict[str, Any], where: str) -> None:
        """Refuse a template without a container, or whose command does not name the sweep."""
        container, sweep = content.get("containerProperties"), batch_requests.SWEEP
        if container is None:
            raise UsageError(f"{where}: it has no containerProperties; other kinds of jobs run no agent")
        if sweep not in container.get("command", ()):
            raise UsageError(
                f'{where}: containerProperties.command has no element "{sweep}", which stands for the sweep'
            )

    def options_of_template(self, content: dict[str, Any]) -> Options:
        """Return what a template asks for, as options."""
        return batch_requests.resources_of(content)

    def requests(self, request: JobRequest) -> list[tuple[str, dict[str, Any]]]:
        """Return RegisterJobDefinition, which is sent where no definition has this content yet, and SubmitJob."""
        if name := request.options.get("definition"):
            batch_requests.refuse_both(request.options)
            return [("SubmitJob", batch_requests.submission(request, str(name), shown=True))]
        content = batch_requests.definition(request)
        revision = f"{content['jobDefinitionName']}:<its revision>"
        return [(self.operation, content), ("SubmitJob", batch_requests.submission(request, revision, shown=True))]

    def doubts(self, request: JobRequest) -> Iterable[str]:
        """Refuse what lacks; return what most likely lacks, where that cannot be known here."""
        definition = dict(self.requests(request)).get(self.operation)
        if definition is None:  # it is in AWS
            return ()
        return container_parts.doubts(definition["containerProperties"], request, "job", "name or ARN")

    def examine(self, options: Options) -> list[tuple[str, Opinion]]:
        """Return who asks, and whether queue, compute environments, definition, log group and roles are there."""
        from slurmsweep.backends.aws import batch_doctor, doctor

        def requested() -> JobRequest:
            return self.request(JobSource("slurmsweep-doctor", "", "", ""), 1, SubmitOptions(options=options))

        return doctor.in_region(options, lambda region: batch_doctor.look(options, region, requested))

    # Submitting

    def send(self, request: JobRequest) -> str:
        """Register the job definition where none has this content, then submit once. Raises as the base's."""
        region = region_of(request.options.get("region"))
        batch = client("batch", region)
        definition = str(request.options.get("definition") or "")
        if not definition:
            content = batch_requests.definition(request)
            definition = batch_jobs.registered(batch, content)
            definition = definition or batch.ask("register_job_definition", **content)["jobDefinitionArn"]
        submission = batch_requests.submission(request, definition, shown=False)
        job = batch.submit("submit_job", **submission)["jobId"]
        key = key_on(job, f"{self.name}:{region}")
        self.note_submitted(key, [job])
        return key

    def find(self, name: str, cluster: str = "") -> str:
        """Return the key of the job with that name, in whichever queue of the region it is; empty for none (yet)."""
        cluster = cluster or f"{self.name}:{region_of()}"
        batch = client_of(cluster)
        by_name = [{"name": "JOB_NAME", "values": [name]}]
        for delay in (*_SEARCHES, 0.0):
            for queue in batch.pages("describe_job_queues", "jobQueues"):
                jobs = batch.pages("list_jobs", "jobSummaryList", jobQueue=queue["jobQueueArn"], filters=by_name)
                found = next((job["jobId"] for job in jobs if job["jobName"] == name), "")
                if found:
                    return key_on(found, cluster)
            time.sleep(delay)
        return ""

    # Looking

    def poll(self, jobs: Iterable[str], wanted: Collection[JobRef] = ()) -> Answer:
        """Ask about jobs: their counts, then lists of those elements that live or failed, and the wanted ones."""
        tasks: dict[JobRef, JobStatus] = {}
        for cluster, ids in by_cluster([*jobs, *(ref.job for ref in wanted)]).items():
            known, missing = batch_jobs.look(client_of(cluster), cluster, ids, wanted)
            tasks |= known
            keys = (key_on(job, cluster) for job in missing)
            tasks |= {JobRef(key): _UNSEEN_JOB for key in keys if self.just_submitted(key)}
        return Answer(tasks, "not needed")

    def accounts(self, jobs: Collection[str]) -> tuple[Mapping[JobRef, Account], str]:
        """Return what jobs that are over asked for, and how long they ran."""
        found, said = answers(jobs, lambda cluster, ids: batch_jobs.accounts(client_of(cluster), cluster, ids))
        return dict(found), said

    def restarts(self, jobs: Collection[str]) -> JobRestarts:
        """Return how jobs ended that did not succeed, by cause. Of attempts that Batch repeated the last one counts."""
        causes, said = answers(jobs, lambda cluster, ids: batch_jobs.unsuccessful(client_of(cluster), ids))
        return JobRestarts(Counter(causes), said)

    def output_place(self, jobs_dir: str) -> str:
        """Return the group of logs of CloudWatch, unless the job definition names another one."""
        del jobs_dir
        return f"CloudWatch Logs, group {batch_jobs.LOG_GROUP}, a stream for each attempt of a job"

    def stream(self, ref: JobRef) -> tuple[str, str, str] | None:
        """Return region, group and stream of what a job wrote in its last attempt."""
        job, cluster = parts_of(ref.job)
        name = job if ref.task is None else f"{job}:{ref.task}"
        batch = client_of(cluster)
        container = batch_jobs.described(batch, [name]).get(name, {}).get("container", {})
        settings = container.get("logConfiguration", {}).get("options", {})
        if not container.get("logStreamName"):
            return None
        region = settings.get("awslogs-region") or batch.region
        return region, settings.get("awslogs-group", batch_jobs.LOG_GROUP), container["logStreamName"]

    # Ordering

    def cancel(self, targets: Sequence[str], *, only_waiting: bool = False) -> None:
        """End jobs, or only those that wait: an order to an array is one to all its elements."""
        operation = "cancel_job" if only_waiting else "terminate_job"
        for cluster, ids in by_cluster(targets).items():
            orders = [job for target in ids for job in _jobs_of(target)]
            _order(client_of(cluster), operation, orders)


def _jobs_of(target: str) -> Iterator[str]:
    """Yield the ids of ``ID`` (an array as a whole), ``ID_4`` or ``ID_[0-3,5]``. Raises UsageError."""
    found = _TARGET.fullmatch(parts_of(target)[0])
    if found is None:
        raise UsageError(f"{target!r} is no job of AWS Batch")
    if not found[2]:
        yield found[1]
        return
    for part in found[2].split(","):
        first, _, last = part.partition("-")
        yield from (f"{found[1]}:{index}" for index in range(int(first), int(last or first) + 1))


def _order(batch: Client, operation: str, ids: Sequence[str]) -> None:
    """Give an order to jobs, many at once where this boto3 can; one that Batch does not know any more is over."""
    several = f"{operation}s"
    problems: dict[str, str] = {}
    if len(ids) > 1 and batch.knows(several):
        for part in in_parts(ids, _MOST_ORDERED):
            answer = batch.ask(several, jobs=list(part), reason=words.OUR_ORDER)
            problems |= {one["jobId"]: one.get("errorMessage", "") for one in answer.get("errors", ())}
    else:
        for job in ids:
            try:
                batch.ask(operation, jobId=job, reason=words.OUR_ORDER)
            except SubmissionRefusedError as error:  # noqa: PERF203 - a request each
                problems[job] = str(error)
    left = batch_jobs.described(batch, problems) if problems else {}
    for name, detail in left.items():
        if detail["status"] in batch_words.LIVE:
            raise SubmissionRefusedError(f"{batch_words.SOURCE} does not end job {name}: {problems[name]}")
