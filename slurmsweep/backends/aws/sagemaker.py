"""Amazon SageMaker: a training job for each trial, all with one template.

SageMaker has no arrays. The jobs of a submission are named after it, ``<name>-0``, ``<name>-1`` and so on, and a name
can be taken once in an account and region: a request that was not answered is made again, and finds its job made. So
no job is made twice. Spot interruptions are SageMaker's: the same job starts again, and its agent goes on.
"""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from slurmsweep.backends.aws import logs, sagemaker_job, sagemaker_words, templates, words
from slurmsweep.backends.aws.client import region_of
from slurmsweep.backends.aws.service import AwsBackend, by_cluster, client
from slurmsweep.backends.base import Account, Answer, Capacity, JobStatus
from slurmsweep.backends.keys import JobRef, key_on, parts_of
from slurmsweep.errors import (
    JobLimitError,
    NotFoundError,
    SchedulerError,
    SchedulerUnavailableError,
    SlurmsweepError,
    SubmissionRefusedError,
    SubmissionUnknownError,
    UsageError,
)
from slurmsweep.state.filesystem import Fitness, Opinion

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from slurmsweep.backends.aws.client import Client
    from slurmsweep.backends.aws.templates import Document
    from slurmsweep.backends.base import JobRequest, JobSource, Options, SubmitOptions
    from slurmsweep.state.tail import AttemptId

#: Jobs a page of ListTrainingJobs.
_PAGE = 100

#: Jobs whose accounts are asked for at once, one by one.
_MOST_ACCOUNTS = 200

#: Seconds for which a job that this process made counts as waiting though no answer has it yet, and what it is.
_UNSEEN = 60.0
_UNSEEN_JOB = sagemaker_words.JobMeaning("Starting", words.WAITING)

#: Failed jobs whose reason is asked for in one look though no trial of theirs is in question: the newest.
_MOST_EXPLAINED = 20

#: The longest a training job may run, minutes: 28 days.
_LONGEST = 28 * 24 * 60.0

#: A job's name: that of its submission, which ends with eight hexadecimal digits, and its number, which has fewer.
_JOB = re.compile(r"(.+-[0-9a-f]{8})-(\d{1,7})")

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

#: What ended jobs are, by region and name: an end is final, so it is asked for once in the life of a process.
_ended: dict[tuple[str, str], sagemaker_words.JobMeaning] = {}


class SageMakerBackend(AwsBackend):
    """Training jobs of SageMaker, one a trial. The key of a submission names all its jobs."""

    name: ClassVar[str] = "sagemaker"
    memory_option: ClassVar[str] = "instance-type"
    most_tasks: ClassVar[int] = 1000
    most_assigned: ClassVar[int] = 1000
    known: ClassVar[frozenset[str]] = frozenset(
        {"time", "image", "instance-type", "region", "role", "security-groups", "spot", "subnets"}
        | {"efs", "env", "plain-env"}
    )

    #: When this process made the jobs of each submission, and how many.
    _made: ClassVar[dict[str, tuple[float, int]]] = {}

    # Before anything is submitted

    def template(self, wish: SubmitOptions) -> Document:
        """Return the template: the input of CreateTrainingJob. Raises UsageError."""
        return templates.load(self.template_name(wish, self.name), self.name, sagemaker_job.OPERATION)

    def check(self, wish: SubmitOptions, source: JobSource | None = None) -> tuple[str, ...]:
        """Refuse what SageMaker would refuse, by its model and the rules that stand in its documentation alone."""
        merged = self._merged(wish, source)
        for name in sorted(merged.keys() & _NOT_HERE.keys()):
            raise UsageError(f"{name} means nothing in SageMaker: {_NOT_HERE[name]}")
        notices = super().check(wish, source)
        if (spot := merged.get("spot", True)) is not True:
            raise UsageError(f"spot: {spot} is for ECS: SageMaker knows true and false, and finds the machines itself")
        return notices

    def looks(self, request: JobRequest) -> Iterable[str]:
        """Refuse what SageMaker's documentation alone rules out; return what may lack."""
        content = sagemaker_job.documents(request, shown=False)[0]
        sagemaker_job.refuse(content, request)
        return sagemaker_job.notices(content, request.source)

    def asks(self, template: Document) -> Options:
        """Return the time limit of a template."""
        limit = template.content.get("StoppingCondition", {}).get("MaxRuntimeInSeconds")
        return {"time": f"{limit // 3600}:{limit // 60 % 60:02}:{limit % 60:02}"} if limit else {}

    def request(
        self, source: JobSource, trials: int, wish: SubmitOptions, attempt_ids: tuple[AttemptId, ...] = ()
    ) -> JobRequest:
        """Return the request for one job a trial, under a name that training jobs may have."""
        name = re.sub(r"[^A-Za-z0-9]+", "-", source.name)[: _LONGEST_NAME - 9].strip("-")
        request = super().request(source, trials, wish, attempt_ids)
        return request if name == source.name else sagemaker_job.renamed(request, f"{name}-{os.urandom(4).hex()}")

    def requests(self, request: JobRequest) -> list[tuple[str, dict[str, Any]]]:
        """Return the input of CreateTrainingJob for each job."""
        return [(sagemaker_job.OPERATION, content) for content in sagemaker_job.documents(request, shown=True)]

    def preview(self, request: JobRequest) -> str:
        """Return the first request as JSON, and what the others have otherwise. No request is made."""
        contents = [content for _, content in self.requests(request)]
        lines = [f"# {self.title}: {sagemaker_job.OPERATION}", json.dumps(contents[0], indent=2)]
        if len(contents) > 1:
            lines += [f"# and {len(contents) - 1} more, which have otherwise:"]
            lines += [f"#   {sagemaker_job.own_words(content)}" for content in contents[1:]]
        return "\n".join(lines)

    def capacity(self, options: Options) -> Capacity:
        """Return the longest time that a job may have."""
        del options
        return Capacity(minutes=_LONGEST)

    def examine(self, options: Options) -> list[tuple[str, Opinion]]:
        """Return who asks, and whether role, log group and the right to list jobs are there."""
        from slurmsweep.backends.aws import doctor

        return doctor.in_region(options, lambda region: self._examined(options, region))

    @staticmethod
    def _examined(options: Options, region: str) -> list[tuple[str, Opinion]]:
        """Return the same without who asks."""
        from slurmsweep.backends.aws import doctor

        missing = [name for name in ("role", "image") if not options.get(name)]
        given = str(options.get("role") or "")
        looks = [("role", lambda: doctor.role(given, "role", region, "sagemaker.amazonaws.com"))] if given else []
        return [
            *((name, Opinion(Fitness.WARN, f"no {name} is named", f"--{name}, or a template")) for name in missing),
            *doctor.each(
                *looks,
                ("jobs", lambda: _may_list(region)),
                ("logs", lambda: doctor.log_group(logs.SAGEMAKER_GROUP, region, is_made=True)),
            ),
        ]

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
        for number, content in enumerate(sagemaker_job.documents(request, shown=False)):
            try:
                asked.ask("create_training_job", **content)
            except SchedulerError as error:  # noqa: PERF203 - each is a request
                if _code(error) == "ResourceInUse":
                    continue
                if not number:
                    raise _for_the_first(error) from error
                self.took_part(request.name, number, str(error))
                break
        self._made[request.name] = time.monotonic(), self.taken(request)
        return key_on(request.name, f"{self.name}:{region}")

    def find(self, name: str, cluster: str = "") -> str:
        """Return the key of the jobs whose names begin with that of a submission; empty where SageMaker has none."""
        cluster = cluster or self.cluster()
        asked = client(self.name, _region(cluster))
        made = sum(submission_of(row["TrainingJobName"]) == name for row in _listed(asked, name))
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
            looker = _Looker(client(self.name, _region(cluster)))
            alone = {one for one in ids if key_on(one, cluster) in certain or _JOB.fullmatch(one)}
            own = (f"{one}-{number}" for one in ids for number in range(self._just_made(one)))
            tasks |= {JobRef(key_on(name, cluster)): _status(name, _UNSEEN_JOB, self.title) for name in own}
            for name, found in looker.look(set(ids) - alone, alone):
                tasks[JobRef(key_on(name, cluster))] = _status(name, found, self.title)
        return Answer(tasks, "not needed")

    def accounts(self, jobs: Collection[str]) -> tuple[Mapping[JobRef, Account], str]:
        """Return what jobs that are over asked for, and the seconds that are paid for: a question for each job."""
        found: dict[JobRef, Account] = {}
        try:
            for cluster, ids in by_cluster(jobs).items():
                for name, account in _Looker(client(self.name, _region(cluster))).accounts(ids):
                    found[JobRef(key_on(name, cluster))] = account
        except SlurmsweepError as error:
            return found, str(error)
        return found, "used" if jobs else "not needed"

    def _just_made(self, name: str) -> int:
        """Return how many jobs of a submission this process made a short while ago: a list may lag behind."""
        when, jobs = self._made.get(name, (0.0, 0))
        return jobs if jobs and time.monotonic() - when < _UNSEEN else 0

    def output_place(self, jobs_dir: str) -> str:
        """Return the group of logs of CloudWatch."""
        del jobs_dir
        return f"CloudWatch Logs, group {logs.SAGEMAKER_GROUP}, streams that begin with the job's name"

    def last_words(self, ref: JobRef, lines: int = 5) -> tuple[str, ...]:
        """Return the last lines that a job wrote in its last start. Never raises: without a log there are none."""
        job, cluster = parts_of(ref.job)
        with suppress(SlurmsweepError):
            there = client("logs", _region(cluster))
            if stream := logs.newest_stream(there, logs.SAGEMAKER_GROUP, f"{job}/"):
                return tuple(logs.tail(there, logs.SAGEMAKER_GROUP, stream, lines))
        return ()

    # Ordering

    def cancel(self, targets: Sequence[str], *, only_waiting: bool = False) -> None:
        """Stop training jobs: single ones, and all of a submission. Raises SchedulerError when all were asked."""
        problem: SchedulerError | None = None
        for cluster, ids in by_cluster(targets).items():
            asked = client(self.name, _region(cluster))
            for name in self._to_stop(asked, ids, only_waiting=only_waiting):
                try:
                    asked.ask("stop_training_job", TrainingJobName=name)
                except (NotFoundError, SchedulerError) as error:  # noqa: PERF203 - each is a request
                    if isinstance(error, SchedulerError) and not (_is_unknown(error) or _is_over(error)):
                        problem = problem or error
        if problem:
            raise problem

    @staticmethod
    def _to_stop(asked: Client, ids: Iterable[str], *, only_waiting: bool) -> Iterator[str]:
        """Yield the names of live jobs; of single ones without a look, unless it matters whether they wait."""
        alone = {one for one in ids if _JOB.fullmatch(one)}
        if not only_waiting:
            yield from sorted(alone)
            alone = set()
        for name, found in _Looker(asked).look(set(ids) - alone, alone, explain=False):
            if found.said.alive and (found.said.waits or not only_waiting) and found.word != "Stopping":
                yield name


class _Looker:
    """Finds out what became of jobs in one region."""

    def __init__(self, asked: Client) -> None:
        self._asked = asked

    def look(
        self, submissions: Collection[str], alone: Collection[str], *, explain: bool = True
    ) -> Iterator[tuple[str, sagemaker_words.JobMeaning]]:
        """Yield the jobs of submissions, and single jobs, each with what it means.

        Args:
            submissions: their names.
            alone: names of jobs that matter; one that SageMaker does not know is left out.
            explain: ask why failed jobs failed.
        """
        listed = {row["TrainingJobName"]: row for row in self._rows({*submissions, *map(submission_of, alone)})}
        explained = 0
        for name, row in listed.items():
            if name not in alone and submission_of(name) not in submissions:
                continue
            status, secondary = row["TrainingJobStatus"], row.get("SecondaryStatus", "")
            if secondary and status != "Failed":
                yield name, sagemaker_words.training_job(status, secondary)
                continue
            is_asked = explain and (name in alone or explained < _MOST_EXPLAINED)
            explained += is_asked and name not in alone
            found = self._described(name) if is_asked else None
            yield name, found or sagemaker_words.training_job(status, secondary)
        for name in sorted(set(alone) - listed.keys()):
            if found := self._described(name):  # of a person's own job, or not in the list yet
                yield name, found

    def accounts(self, ids: Collection[str]) -> Iterator[tuple[str, Account]]:
        """Yield what jobs have that are over: single ones, and all of submissions, the newest as far as is cheap."""
        alone = {one for one in ids if _JOB.fullmatch(one)}
        wanted = (row for row in self._rows(set(ids) - alone) if submission_of(row["TrainingJobName"]) in ids)
        over = (row["TrainingJobName"] for row in wanted if row.get("TrainingEndTime"))
        for name in islice(dict.fromkeys([*sorted(alone), *over]), _MOST_ACCOUNTS):
            try:
                said = self._asked.ask("describe_training_job", TrainingJobName=name)
            except (NotFoundError, SubmissionRefusedError):
                continue
            seconds, limits = said.get("BillableTimeInSeconds"), said.get("StoppingCondition", {})
            if seconds is not None:
                limit = limits.get("MaxRuntimeInSeconds")
                yield name, Account(limit / 60 if limit else None, None, None, float(seconds), None, None)

    def _rows(self, submissions: Collection[str]) -> Iterator[dict[str, Any]]:
        """Yield the list's rows of all jobs of submissions: one list for each sweep that has several."""
        by_sweep: dict[str, list[str]] = {}
        for name in sorted(filter(None, submissions)):
            by_sweep.setdefault(name[:-8], []).append(name)
        for beginning, names in by_sweep.items():
            yield from _listed(self._asked, names[0] if len(names) == 1 else beginning)

    def _described(self, name: str) -> sagemaker_words.JobMeaning | None:
        """Return what a job is by its description; None where SageMaker knows none of that name."""
        key = (self._asked.region, name)
        if key in _ended:
            return _ended[key]
        try:
            said = self._asked.ask("describe_training_job", TrainingJobName=name)
        except (NotFoundError, SubmissionRefusedError) as error:
            if not _is_unknown(error):
                raise
            return None
        status, secondary = said["TrainingJobStatus"], said.get("SecondaryStatus", "")
        found = sagemaker_words.training_job(status, secondary, said.get("FailureReason", ""))
        if not found.said.alive:
            _ended[key] = found
        return found


def submission_of(job: str) -> str:
    """Return the name of the submission that a training job's name begins with; empty for a job made otherwise."""
    found = _JOB.fullmatch(job)
    return found[1] if found else ""


def _listed(asked: Client, beginning: str) -> Iterator[dict[str, Any]]:
    """Yield what the list says of the jobs whose names begin so, the newest first."""
    order = {"SortBy": "CreationTime", "SortOrder": "Descending"}
    rows = asked.pages("list_training_jobs", "TrainingJobSummaries", NameContains=beginning, MaxResults=_PAGE, **order)
    return (row for row in rows if row["TrainingJobName"].startswith(beginning))


def _may_list(region: str) -> tuple[str, Opinion]:
    """Return that the jobs of a region may be listed. Raises as :meth:`Client.ask`."""
    client("sagemaker", region).ask("list_training_jobs", MaxResults=1)
    return "jobs", Opinion(Fitness.GOOD, "training jobs may be listed")


def _status(name: str, found: sagemaker_words.JobMeaning, source: str) -> JobStatus:
    return JobStatus(
        word=found.word,
        alive=found.said.alive,
        state=found.said.state,
        cause=found.said.cause,
        exit_code=found.exit_code,
        node="",
        source=source,
        waits=found.said.waits,
        reason=found.reason,
        name=submission_of(name) or name,
        wait=found.wait,
    )


def _region(cluster: str) -> str:
    return cluster.partition(":")[2] or region_of()


def _code(error: SlurmsweepError) -> str:
    """Return AWS's code of an error; empty where there was no answer."""
    answer = getattr(error.__cause__, "response", None) or {}
    return str(answer.get("Error", {}).get("Code", ""))


def _is_unknown(error: SlurmsweepError) -> bool:
    """Return whether there is no job of that name: AWS was seen to call it a ValidationException, too."""
    return isinstance(error, NotFoundError) or (_code(error) == "ValidationException" and "not found" in str(error))


def _is_over(error: SchedulerError) -> bool:
    """Return whether a job was not stopped because it has ended, or is being stopped."""
    return _code(error) == "ValidationException" and "status" in str(error)


def _for_the_first(error: SchedulerError) -> SchedulerError:
    """Return what the error of a submission's first job means for the submission."""
    if _code(error) == "ResourceLimitExceeded":
        return JobLimitError(str(error))
    if isinstance(error, SchedulerUnavailableError) and _may_have_arrived(error):
        return SubmissionUnknownError(f"{error}: the jobs may exist all the same")
    return error


def _may_have_arrived(error: SchedulerUnavailableError) -> bool:
    """Return whether one of the tries behind an error may have been done."""
    from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, HTTPClientError

    if answer := getattr(error.__cause__, "response", None):  # of the last try: an unknown user's were all refused
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return bool(status >= 500 or status == 429 or "Throttl" in _code(error))
    is_silence = isinstance(error.__cause__, HTTPClientError)
    return is_silence and not isinstance(error.__cause__, (ConnectTimeoutError, EndpointConnectionError))
