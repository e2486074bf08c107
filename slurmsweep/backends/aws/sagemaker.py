"""Amazon SageMaker: a training job for each trial, all with one template.

SageMaker has no arrays. The jobs of a submission are named after it, ``<name>-0``, ``<name>-1`` and so on, and a name
can be taken once in an account and region: a request that was not answered is made again, and finds its job made. So
no job is made twice. Spot interruptions are SageMaker's: the same job starts again, and its agent goes on.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from slurmsweep.backends.aws import sagemaker_jobs, sagemaker_requests, sagemaker_words, words
from slurmsweep.backends.aws.client import as_unknown, code_of, region_of
from slurmsweep.backends.aws.service import AwsBackend, answers, by_cluster, client, client_of
from slurmsweep.backends.base import Answer, Capacity, JobStatus
from slurmsweep.backends.keys import JobRef, key_on, parts_of
from slurmsweep.errors import JobLimitError, NotFoundError, SchedulerError, UsageError
from slurmsweep.state.filesystem import Fitness, Opinion

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from slurmsweep.backends.aws.client import Client
    from slurmsweep.backends.base import Account, JobRequest, JobSource, Options, SubmitOptions
    from slurmsweep.state.tail import AttemptId

#: A job that this process made, and that no answer has yet.
_UNSEEN_JOB = sagemaker_words.JobMeaning("Starting", words.WAITING)

#: The longest a training job may run, minutes: 28 days.
_LONGEST = 28 * 24 * 60.0

#: The longest name of a submission, beside ``-`` and its jobs' numbers.
_LONGEST_NAME = 63 - 6

#: Why options of other services mean nothing here.
_NOT_HERE = {
    **dict.fromkeys(
        ("mem", "cpus-per-task", "gpus"),
        "the instance type decides it: say --aws instance-type=TYPE, such as ml.m5.2xlarge or ml.g5.xlarge",
    ),
    "secret": (
        "SageMaker hands no secrets to jobs: let the image's own entry fetch it by the role, as examples/sagemaker "
        "does, and start slurmsweep agent then"
    ),
    "retries": "the template's RetryStrategy says it, for faults of SageMaker alone; Spot needs none",
}


class SageMakerBackend(AwsBackend):
    """Training jobs of SageMaker, one a trial. The key of a submission names all its jobs."""

    name: ClassVar[str] = "sagemaker"
    memory_option: ClassVar[str] = "instance-type"
    operation: ClassVar[str] = sagemaker_requests.OPERATION
    most_tasks: ClassVar[int] = 1000
    most_assigned: ClassVar[int] = 1000
    known: ClassVar[frozenset[str]] = frozenset(
        {"time", "image", "instance-type", "region", "role", "security-groups", "spot", "subnets"}
        | {"efs", "env", "plain-env"}
    )

    # Before anything is submitted

    def refuse_template(self, content: dict[str, Any], where: str) -> None:
        """Refuse a template that names neither image nor words of the agent: SageMaker has jobs without them."""
        if "AlgorithmSpecification" not in content:
            raise UsageError(f"{where}: it has no AlgorithmSpecification, which names the image and starts the agent")

    def check(self, wish: SubmitOptions, source: JobSource | None = None) -> tuple[str, ...]:
        """Refuse what SageMaker would refuse, by its model and the rules that stand in its documentation alone."""
        merged = self.options(wish, source)
        for name in sorted(merged.keys() & _NOT_HERE.keys()):
            raise UsageError(f"{name} means nothing in SageMaker: {_NOT_HERE[name]}")
        notices = super().check(wish, source)
        if (spot := merged.get("spot", True)) is not True:
            raise UsageError(f"spot: {spot} is for ECS: SageMaker knows true and false, and finds the machines itself")
        return notices

    def doubts(self, request: JobRequest) -> Iterable[str]:
        """Refuse what SageMaker's documentation alone rules out; return what may lack."""
        content = sagemaker_requests.documents(request, shown=False)[0]
        sagemaker_requests.refuse(content, request)
        return sagemaker_requests.notices(content, request.source)

    def options_of_template(self, content: dict[str, Any]) -> Options:
        """Return the time limit of a template."""
        limit = content.get("StoppingCondition", {}).get("MaxRuntimeInSeconds")
        return {"time": f"{limit // 3600}:{limit // 60 % 60:02}:{limit % 60:02}"} if limit else {}

    def request(
        self, source: JobSource, trials: int, wish: SubmitOptions, attempt_ids: tuple[AttemptId, ...] = ()
    ) -> JobRequest:
        """Return the request for one job a trial, under a name that training jobs may have."""
        name = re.sub(r"[^A-Za-z0-9]+", "-", source.name)[: _LONGEST_NAME - 9].strip("-")
        request = super().request(source, trials, wish, attempt_ids)
        return request if name == source.name else replace(request, name=f"{name}-{os.urandom(4).hex()}")

    def requests(self, request: JobRequest) -> list[tuple[str, dict[str, Any]]]:
        """Return the input of CreateTrainingJob for each job."""
        return [(self.operation, content) for content in sagemaker_requests.documents(request, shown=True)]

    def preview(self, request: JobRequest) -> str:
        """Return the first request as JSON, and what the others have otherwise. No request is made."""
        contents = [content for _, content in self.requests(request)]
        lines = [f"# {self.title}: {self.operation}", json.dumps(contents[0], indent=2)]
        if len(contents) > 1:
            lines += [f"# and {len(contents) - 1} more, which have otherwise:"]
            lines += [f"#   {sagemaker_requests.own_words(content)}" for content in contents[1:]]
        return "\n".join(lines)

    def capacity(self, options: Options) -> Capacity:
        """Return the longest time that a job may have."""
        del options
        return Capacity(minutes=_LONGEST)

    def examine(self, options: Options) -> list[tuple[str, Opinion]]:
        """Return who asks, and whether role, log group and the right to list jobs are there."""
        from slurmsweep.backends.aws import doctor

        missing = [name for name in ("role", "image") if not options.get(name)]
        given = str(options.get("role") or "")

        def look(region: str) -> list[tuple[str, Opinion]]:
            looks = [("role", lambda: doctor.role(given, "role", region, "sagemaker.amazonaws.com"))] if given else []
            return [
                *((name, Opinion(Fitness.WARN, f"no {name} is named", f"--{name}, or a template")) for name in missing),
                *doctor.each(
                    *looks,
                    ("jobs", lambda: _may_list(region)),
                    ("logs", lambda: doctor.log_group(sagemaker_jobs.LOG_GROUP, region, is_made=True)),
                ),
            ]

        return doctor.in_region(options, look)

    # Submitting

    def send(self, request: JobRequest) -> str:
        """Make the training jobs, one after the other; return the key of all of them.

        A name that is taken already is a job that an earlier try made, whose answer was lost. Where SageMaker refuses a
        job that is not the first, or does not answer for it, those before it stay: :meth:`taken` says how many.

        Raises:
            JobLimitError: a quota leaves no room for a single job.
            SubmissionRefusedError: it said no to the first job; nothing was submitted.
            SubmissionUnknownError: the first job was asked for and not answered.
            SchedulerUnavailableError: SageMaker cannot be reached, or does not know this user.
        """
        region = region_of(request.options.get("region"))
        asked = client(self.name, region)
        for number, content in enumerate(sagemaker_requests.documents(request, shown=False)):
            try:
                asked.ask("create_training_job", **content)
            except SchedulerError as error:  # noqa: PERF203 - each is a request
                if code_of(error) == "ResourceInUse":
                    continue
                if not number and code_of(error) == "ResourceLimitExceeded":
                    raise JobLimitError(str(error)) from error
                if not number:
                    raise as_unknown(error) from error.__cause__
                self.took_part(request.name, number, str(error))
                break
        key = key_on(request.name, f"{self.name}:{region}")
        self.note_submitted(key, (f"{request.name}-{number}" for number in range(self.taken(request))))
        return key

    def find(self, name: str, cluster: str = "") -> str:
        """Return the key of the jobs whose names begin with that of a submission; empty where SageMaker has none."""
        cluster = cluster or f"{self.name}:{region_of()}"
        rows = sagemaker_jobs.listed(client_of(cluster), name)
        made = sum(sagemaker_jobs.submission_of(row["TrainingJobName"]) == name for row in rows)
        if made:
            self.took_part(name, made, "SageMaker did not answer for the others")
        return key_on(name, cluster) if made else ""

    # Looking

    def poll(self, jobs: Iterable[str], wanted: Collection[JobRef] = ()) -> Answer:
        """Ask about all jobs of submissions, and about single jobs.

        A list of 100 jobs costs one question, and a failed job one for its reason, once in the life of this process.
        """
        asked_for = by_cluster([*jobs, *(ref.job for ref in wanted)])
        certain = {ref.job for ref in wanted}
        tasks: dict[JobRef, JobStatus] = {}
        for cluster, ids in asked_for.items():
            alone = {one for one in ids if key_on(one, cluster) in certain or sagemaker_jobs.submission_of(one)}
            own = (name for one in ids for name in self.just_submitted(key_on(one, cluster)))
            told = dict.fromkeys(own, _UNSEEN_JOB)
            told.update(sagemaker_jobs.look(client_of(cluster), set(ids) - alone, alone))
            tasks |= {JobRef(key_on(name, cluster)): sagemaker_jobs.status_of(name, one) for name, one in told.items()}
        return Answer(tasks, "not needed")

    def accounts(self, jobs: Collection[str]) -> tuple[Mapping[JobRef, Account], str]:
        """Return what jobs that are over asked for, and the seconds that are paid for: a question for each job."""

        def ask(cluster: str, ids: list[str]) -> Iterator[tuple[JobRef, Account]]:
            for name, account in sagemaker_jobs.accounts(client_of(cluster), ids):
                yield JobRef(key_on(name, cluster)), account

        found, said = answers(jobs, ask)
        return dict(found), said

    def output_place(self, jobs_dir: str) -> str:
        """Return the group of logs of CloudWatch."""
        del jobs_dir
        return f"CloudWatch Logs, group {sagemaker_jobs.LOG_GROUP}, streams that begin with the job's name"

    def stream(self, ref: JobRef) -> tuple[str, str, str] | None:
        """Return region, group and stream of what a job wrote in its last start."""
        job, cluster = parts_of(ref.job)
        region = client_of(cluster).region
        asked = {"logGroupName": sagemaker_jobs.LOG_GROUP, "logStreamNamePrefix": f"{job}/"}
        streams = client("logs", region).pages("describe_log_streams", "logStreams", **asked)
        newest = max((one["logStreamName"] for one in streams), default="")  # each ends with the moment of the start
        return (region, sagemaker_jobs.LOG_GROUP, newest) if newest else None

    # Ordering

    def cancel(self, targets: Sequence[str], *, only_waiting: bool = False) -> None:
        """Stop training jobs: single ones, and all of a submission. Raises SchedulerError when all were asked."""
        problem: SchedulerError | None = None
        for cluster, ids in by_cluster(targets).items():
            sagemaker = client_of(cluster)
            made = {name for one in ids for name in self.just_submitted(key_on(one, cluster))}
            for name in self._to_stop(sagemaker, ids, made, only_waiting=only_waiting):
                try:
                    sagemaker.ask("stop_training_job", TrainingJobName=name)
                except NotFoundError:  # noqa: PERF203 - each is a request
                    continue
                except SchedulerError as error:
                    if not sagemaker_jobs.is_over(error):
                        problem = problem or error
        if problem:
            raise problem

    @staticmethod
    def _to_stop(sagemaker: Client, ids: Iterable[str], made: set[str], *, only_waiting: bool) -> Iterator[str]:
        """Yield the names of live jobs; of single ones without a look, unless it matters whether they wait.

        Jobs that were just ``made``, and that no list has yet, are among them.
        """
        alone = set(filter(sagemaker_jobs.submission_of, ids))
        if not only_waiting:
            yield from sorted(alone)
            alone = set()
        listed = set()
        for name, found in sagemaker_jobs.look(sagemaker, set(ids) - alone, alone, explain=False):
            listed.add(name)
            if found.said.alive and (found.said.waits or not only_waiting) and found.word != "Stopping":
                yield name
        yield from sorted(made - listed)


def _may_list(region: str) -> tuple[str, Opinion]:
    """Return that the jobs of a region may be listed. Raises as :meth:`Client.ask`."""
    client("sagemaker", region).ask("list_training_jobs", MaxResults=1)
    return "jobs", Opinion(Fitness.GOOD, "training jobs may be listed")
