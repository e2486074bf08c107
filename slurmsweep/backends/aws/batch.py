"""AWS Batch: an array of jobs for a submission, each of which runs one agent in a container."""

from __future__ import annotations

import json
import re
import time
from collections import ChainMap, Counter
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from slurmsweep.backends.aws import batch_jobs, logs, templates, words
from slurmsweep.backends.aws import container as container_parts
from slurmsweep.backends.aws import options as aws_options
from slurmsweep.backends.aws.client import region_of
from slurmsweep.backends.aws.service import AwsBackend, answers, by_cluster, client, command, environment, in_parts
from slurmsweep.backends.base import Answer, JobRestarts, JobSource, JobStatus, SubmitOptions
from slurmsweep.backends.keys import JobRef, key_on, parts_of
from slurmsweep.errors import SchedulerUnavailableError, SlurmsweepError, SubmissionRefusedError, UsageError
from slurmsweep.state.assignment import VARIABLE, to_text
from slurmsweep.state.filesystem import Fitness, Opinion

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from slurmsweep.backends.aws.client import Client
    from slurmsweep.backends.aws.templates import Document
    from slurmsweep.backends.base import Account, JobRequest, Options

#: The tag of a job definition that says from which content it was registered, and that of a job with its sweep.
_DIGEST_TAG, _SWEEP_TAG = "slurmsweep-digest", "slurmsweep-sweep"

#: In a template's command: the sweep of a submission.
_SWEEP = "Ref::sweep"

#: Options that are filled into a template.
_OF_TEMPLATE = frozenset({"image", "role", "secret", "efs"})

#: Seconds that Batch lets an attempt run at least.
_LEAST_SECONDS = 60

#: Jobs that one order takes.
_MOST_ORDERED = 50

#: Seconds between two looks for jobs by their name, where none is found: lists lag behind submissions.
_SEARCHES = (1.0, 2.0, 3.0)

#: Seconds for which a job that this process submitted counts as waiting though no answer has it yet.
_UNSEEN = 60.0

_TARGET = re.compile(r"([^_]+)(?:_\[?([0-9,-]+)\]?)?")


class BatchBackend(AwsBackend):
    """AWS Batch. A submission is one SubmitJob: an array of 2 to 10,000 jobs, or a plain job."""

    name: ClassVar[str] = "batch"
    most_tasks: ClassVar[int] = 10_000
    known: ClassVar[frozenset[str]] = frozenset(aws_options.RESOURCES) | {
        "definition", "efs", "env", "image", "plain-env", "queue", "region", "retries", "role", "secret"
    }  # fmt: skip

    #: When this process submitted each job, by id.
    _submitted: ClassVar[dict[str, float]] = {}

    # Before anything is submitted

    def template(self, wish: SubmitOptions) -> Document:
        """Return the template of job definitions that a wish names, by default the built-in one. Raises UsageError."""
        found = templates.load(self.template_name(wish, "batch"), "batch", "RegisterJobDefinition")
        where, container = f"job template {found.path}", found.content.get("containerProperties")
        if container is None:
            raise UsageError(f"{where}: it has no containerProperties; other kinds of jobs run no agent")
        if _SWEEP not in container.get("command", ()):
            raise UsageError(
                f'{where}: containerProperties.command has no element "{_SWEEP}", which stands for the sweep'
            )
        return found

    def asks(self, template: Document) -> Options:
        """Return what a template asks for, as options."""
        content, container = template.content, template.content["containerProperties"]
        needs = {one.get("type"): one.get("value") for one in container.get("resourceRequirements", ())}
        vcpus = needs.get("VCPU", container.get("vcpus"))
        memory, gpus = needs.get("MEMORY", container.get("memory")), needs.get("GPU")
        seconds = content.get("timeout", {}).get("attemptDurationSeconds")
        asked = {
            "cpus-per-task": str(vcpus) if vcpus and float(vcpus).is_integer() else None,  # Fargate has 0.25 and 0.5
            "mem": f"{memory}M" if memory else None,
            "gpus": str(gpus) if gpus else None,
            "time": f"{seconds // 60}:{seconds % 60:02d}" if seconds else None,
        }
        return {name: value for name, value in asked.items() if value}

    def requests(self, request: JobRequest) -> list[tuple[str, dict[str, Any]]]:
        """Return RegisterJobDefinition, which is sent where no definition has this content yet, and SubmitJob."""
        name = request.options.get("definition")
        if name:
            ours = sorted(_OF_TEMPLATE & request.options.keys())
            if ours:
                raise UsageError(
                    f"definition: {name} is used as it is, and {', '.join(ours)} would mean nothing: leave out one "
                    "or the other"
                )
            return [("SubmitJob", self._submission(request, str(name), shown=True))]
        content = self._definition(request)
        revision = f"{content['jobDefinitionName']}:<its revision>"
        return [
            ("RegisterJobDefinition", content),
            ("SubmitJob", self._submission(request, revision, shown=True)),
        ]

    def _definition(self, request: JobRequest) -> dict[str, Any]:
        """Return the template with what the options say. Raises UsageError where it still lacks something."""
        where, options = f"job template {request.template}", request.options
        content: dict[str, Any] = json.loads(request.body)
        container = content["containerProperties"]
        container_parts.fill(container, container, request, where)
        if role := options.get("role"):
            container["jobRoleArn"] = str(role)
            if aws_options.secrets(options):
                container.setdefault("executionRoleArn", str(role))
        templates.check(content, "batch", "RegisterJobDefinition", where)
        return content | {"tags": {**content.get("tags", {}), _DIGEST_TAG: templates.digest(content)}}

    def _submission(self, request: JobRequest, definition: str, *, shown: bool) -> dict[str, Any]:
        """Return the input of SubmitJob; values of variables are left out where it is to be ``shown``."""
        options, source = request.options, request.source
        queue = options.get("queue")
        if not queue:
            raise UsageError("no queue of AWS Batch is named: say --queue NAME, or `aws: {queue: NAME}`")
        variables = environment(request, shown=shown)
        if request.attempt_ids:
            variables[VARIABLE] = to_text(request.attempt_ids)
        overrides: dict[str, Any] = {
            "environment": [{"name": name, "value": value} for name, value in variables.items()],
            "resourceRequirements": _requirements(options),
        }
        content: dict[str, Any] = {
            "jobName": request.name,
            "jobQueue": str(queue),
            "jobDefinition": definition,
            "containerOverrides": {key: value for key, value in overrides.items() if value},
            "propagateTags": True,
            "tags": {_SWEEP_TAG: source.name.removeprefix("slurmsweep-")},
        }
        if "definition" in options:
            content["containerOverrides"]["command"] = command(source)
        else:
            content["parameters"] = {"sweep": source.argument}
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

    def looks(self, request: JobRequest) -> Iterable[str]:
        """Refuse what lacks; return what most likely lacks, where that cannot be known here."""
        definition = dict(self.requests(request)).get("RegisterJobDefinition")
        if definition is None:  # it is in AWS
            return ()
        return container_parts.doubts(definition["containerProperties"], request, "job", "name or ARN")

    def examine(self, options: Options) -> list[tuple[str, Opinion]]:
        """Return who asks, and whether queue, compute environments, definition, log group and roles are there."""
        from slurmsweep.backends.aws import doctor

        return doctor.in_region(options, lambda region: self._examined(options, region))

    def _examined(self, options: Options, region: str) -> list[tuple[str, Opinion]]:
        """Return the same without who asks."""
        from slurmsweep.backends.aws import doctor

        queue = str(options.get("queue") or "")
        queues = doctor.each(("queue", lambda: doctor.batch_queue(queue, region))) if queue else []
        seen, container = self._examined_definition(options, region)
        settings = container.get("logConfiguration", {}).get("options", {})
        group = settings.get("awslogs-group", logs.BATCH_GROUP)
        is_made = group == logs.BATCH_GROUP or settings.get("awslogs-create-group") == "true"
        there = settings.get("awslogs-region", region)
        roles = {name: container[name] for name in ("jobRoleArn", "executionRoleArn") if name in container}
        return [
            *(queues or [doctor.unnamed("queue")]),
            *seen,
            *doctor.each(
                ("logs", lambda: doctor.log_group(group, there, is_made=is_made)),
                *((name, partial(doctor.role, arn, name, region)) for name, arn in roles.items()),
            ),
        ]

    def _examined_definition(
        self, options: Options, region: str
    ) -> tuple[list[tuple[str, Opinion]], Mapping[str, Any]]:
        """Return what is to be said of the job definition, and its container."""
        from slurmsweep.backends.aws import doctor

        if named := options.get("definition"):
            known: dict[str, Any] = {}

            def look() -> tuple[str, Opinion]:
                finding, container = doctor.batch_definition(str(named), region)
                known.update(container)
                return finding

            return doctor.each(("definition", look)), known
        wish = SubmitOptions(options=options)
        try:
            content = self._definition(self.request(JobSource("slurmsweep-doctor", "", "", ""), 1, wish))
            same = _with_same_content(client("batch", region), content)
        except SlurmsweepError as error:
            return [("definition", Opinion(Fitness.WARN, str(error)))], {}
        why = (
            f"registered as {same['jobDefinitionName']}:{same['revision']}" if same else "the first submission makes it"
        )
        return [("definition", Opinion(Fitness.GOOD, why))], content["containerProperties"]

    # Submitting

    def send(self, request: JobRequest) -> str:
        """Register the job definition where none has this content, then submit once. Raises as the base's."""
        region = region_of(request.options.get("region"))
        batch = client("batch", region)
        definition = str(request.options.get("definition") or _registered(batch, self._definition(request)))
        submission = self._submission(request, definition, shown=False)
        job: str = batch.submit("submit_job", **submission)["jobId"]
        self._submitted[job] = time.monotonic()
        return key_on(job, f"{self.name}:{region}")

    def find(self, name: str, cluster: str = "") -> str:
        """Return the key of the job with that name, in whichever queue of the region it is; empty for none (yet)."""
        region = region_of(cluster.partition(":")[2])
        batch = _of(f"{self.name}:{region}")
        by_name = [{"name": "JOB_NAME", "values": [name]}]
        for delay in (*_SEARCHES, 0.0):
            for queue in batch.pages("describe_job_queues", "jobQueues"):
                jobs = batch.pages("list_jobs", "jobSummaryList", jobQueue=queue["jobQueueArn"], filters=by_name)
                found = next((job["jobId"] for job in jobs if job["jobName"] == name), "")
                if found:
                    return key_on(found, f"{self.name}:{region}")
            time.sleep(delay)
        return ""

    # Looking

    def poll(self, jobs: Iterable[str], wanted: Collection[JobRef] = ()) -> Answer:
        """Ask about jobs: their counts, then lists of those elements that live or failed, and the wanted ones."""
        tasks: dict[JobRef, JobStatus] = {}
        for cluster, ids in by_cluster([*jobs, *(ref.job for ref in wanted)]).items():
            known, missing = batch_jobs.look(_of(cluster), cluster, ids, wanted)
            tasks |= known
            for job in missing:
                if time.monotonic() - self._submitted.get(job, -_UNSEEN) < _UNSEEN:
                    tasks[JobRef(key_on(job, cluster))] = _UNSEEN_JOB
        return Answer(tasks, "not needed")

    def accounts(self, jobs: Collection[str]) -> tuple[Mapping[JobRef, Account], str]:
        """Return what jobs that are over asked for, and how long they ran."""
        found, said = answers(jobs, lambda cluster, ids: batch_jobs.accounts(_of(cluster), cluster, ids))
        return dict(ChainMap(*found)), said

    def restarts(self, jobs: Collection[str]) -> JobRestarts:
        """Return how jobs ended that did not succeed, by cause. Of attempts that Batch repeated the last one counts."""
        found, said = answers(jobs, lambda cluster, ids: batch_jobs.ends(_of(cluster), ids))
        return JobRestarts(dict(sum(map(Counter, found), Counter())), said)

    def output_place(self, jobs_dir: str) -> str:
        """Return the group of logs of CloudWatch, unless the job definition names another one."""
        del jobs_dir
        return f"CloudWatch Logs, group {logs.BATCH_GROUP}, a stream for each attempt of a job"

    def last_words(self, ref: JobRef, lines: int = 5) -> tuple[str, ...]:
        """Return the last lines that a job wrote into its log stream. Never raises: without a log there are none."""
        job, cluster = parts_of(ref.job)
        name = job if ref.task is None else f"{job}:{ref.task}"
        with suppress(SlurmsweepError):
            detail = batch_jobs.described(_of(cluster), [name]).get(name, {}).get("container", {})
            settings = detail.get("logConfiguration", {}).get("options", {})
            if stream := detail.get("logStreamName"):
                there = client("logs", settings.get("awslogs-region") or region_of(cluster.partition(":")[2]))
                return tuple(logs.tail(there, settings.get("awslogs-group", logs.BATCH_GROUP), stream, lines))
        return ()

    # Ordering

    def cancel(self, targets: Sequence[str], *, only_waiting: bool = False) -> None:
        """End jobs, or only those that wait: an order to an array is one to all its elements."""
        operation = "cancel_job" if only_waiting else "terminate_job"
        for cluster, ids in by_cluster(targets).items():
            orders = [job for target in ids for job in _jobs_of(target)]
            _order(_of(cluster), operation, orders)


#: A job that this process submitted, and that no answer has yet.
_UNSEEN_JOB = JobStatus("SUBMITTED", True, None, "", None, "", batch_jobs.SOURCE, waits=True)


def _of(cluster: str) -> Client:
    """Return the client for jobs of ``batch:<region>``.

    Raises:
        SchedulerUnavailableError: it cannot be had here, because boto3 is not installed for example: nothing is known.
    """
    try:
        return client("batch", region_of(cluster.partition(":")[2]))
    except UsageError as error:
        raise SchedulerUnavailableError(f"jobs of {cluster} could not be asked about: {error}") from error


def _registered(batch: Client, content: dict[str, Any]) -> str:
    """Return the ARN of the newest active definition with this content, registered now if there is none."""
    known = _with_same_content(batch, content) or batch.ask("register_job_definition", **content)
    return str(known["jobDefinitionArn"])


def _with_same_content(batch: Client, content: dict[str, Any]) -> Mapping[str, Any] | None:
    """Return the newest active definition with this content; None where there is none."""
    name, digest = content["jobDefinitionName"], content["tags"][_DIGEST_TAG]
    active = batch.pages("describe_job_definitions", "jobDefinitions", jobDefinitionName=name, status="ACTIVE")
    same = [one for one in active if one.get("tags", {}).get(_DIGEST_TAG) == digest]
    return max(same, key=lambda one: one["revision"], default=None)


def _requirements(options: Options) -> list[dict[str, str]]:
    """Return what a job needs in Batch's words: CPUs, MiB, GPUs."""
    asked = aws_options.asked(options)
    needs = {
        "VCPU": str(asked.cpus) if asked.cpus else "",
        "MEMORY": str(round(asked.mem)) if asked.mem else "",
        "GPU": "" if options.get("gpus") == "0" else options.get("gpus", ""),
    }
    return [{"type": kind, "value": str(value)} for kind, value in needs.items() if value]


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
        if detail["status"] in words.BATCH_LIVE:
            raise SubmissionRefusedError(f"{batch_jobs.SOURCE} does not end job {name}: {problems[name]}")
