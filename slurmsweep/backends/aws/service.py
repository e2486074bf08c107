"""What the backends of all services of AWS have in common: options, requests as text, splitting, questions, waiting."""

from __future__ import annotations

import json
import os
import time
from abc import abstractmethod
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from slurmsweep.backends.aws import options as aws_options
from slurmsweep.backends.aws import templates
from slurmsweep.backends.aws.client import TITLES, Client, region_of, require_boto3
from slurmsweep.backends.base import DEFAULT_TEMPLATE, Ability, Backend, JobRequest, StartEstimate, SubmitResult
from slurmsweep.backends.following import follow
from slurmsweep.backends.keys import parts_of
from slurmsweep.errors import (
    JobLimitError,
    NotFoundError,
    SchedulerUnavailableError,
    SlurmsweepError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from slurmsweep.backends.aws.templates import Document
    from slurmsweep.backends.base import Answer, Asked, JobSource, Options, SubmitOptions, SubmitPart, Submitted
    from slurmsweep.backends.keys import JobRef
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.tail import AttemptId

Answered = TypeVar("Answered")
Thing = TypeVar("Thing")

#: Seconds without an end in the journal before a service is asked, while a command waits for jobs.
_PERIOD = 15.0

#: Seconds for which a job that this process submitted counts as waiting though no answer has it yet.
_UNSEEN = 60.0


class _PartTaken(NamedTuple):
    """How many jobs of a submission a service took, and why it took no more."""

    jobs: int
    why: str


class AwsBackend(Backend):
    """One service of AWS. Nothing is asked of AWS before :meth:`send`, :meth:`poll` and the like are called.

    A job is a permission to run one trial, never a trial: one that is delivered twice finds nothing left.
    """

    abilities: ClassVar[frozenset[Ability]] = frozenset(
        {Ability.OUTLIVE, Ability.LIMIT, Ability.ASSIGN, Ability.ELSEWHERE}
    )

    has_scripts: ClassVar[bool] = False

    #: The operation of AWS whose input a job template is; empty where jobs have no template.
    operation: ClassVar[str] = ""

    #: The largest number of jobs in one submission.
    most_tasks: ClassVar[int]

    #: The same where each job has an attempt of its own, which stands in its environment.
    most_assigned: ClassVar[int] = 500

    #: Options that this service has; a wish for another one is refused, or ignored with a notice.
    known: ClassVar[frozenset[str]]

    #: Jobs that this process submitted, and when, by the key of their submission.
    _submitted: ClassVar[dict[str, tuple[float, tuple[str, ...]]]] = {}

    def __init__(self) -> None:
        #: By name of the submission.
        self._in_part: dict[str, _PartTaken] = {}

    @property
    def title(self) -> str:
        """The service's name for people."""
        return TITLES[self.name]

    def require(self, ability: Ability, option: str) -> None:
        """Refuse as every backend; a supervisor with the words that say who may take its place."""
        if ability is Ability.WAKE:
            raise UsageError(
                f"{option}: {self.title} wakes no supervisor; let cron, or a schedule of EventBridge, run "
                "`slurmsweep mend SWEEP` on a machine that sees the sweep's folder and may submit jobs"
            )
        super().require(ability, option)

    # What each service has of its own

    @abstractmethod
    def requests(self, request: JobRequest) -> list[tuple[str, dict[str, Any]]]:
        """Return each request that :meth:`send` makes: its operation in AWS's spelling, and its input.

        The values of variables that are passed on are not in it: ``<value of NAME>`` stands for each.
        """

    def refuse_template(self, content: dict[str, Any], where: str) -> None:
        """Refuse a template that AWS takes, and that runs no agent. By default none is refused."""

    def options_of_template(self, content: dict[str, Any]) -> Options:
        """Return what a template asks for, as options: it counts where nothing else says it. By default nothing."""
        del content
        return {}

    def doubts(self, request: JobRequest) -> Iterable[str]:
        """Refuse a request for one job that lacks something; return what it most likely lacks, a line each."""
        self.requests(request)
        return ()

    def stream(self, ref: JobRef) -> tuple[str, str, str] | None:
        """Return region, group and stream of what a job wrote into CloudWatch Logs; None by default, and for none yet.

        Raises SlurmsweepError where the service does not say it.
        """
        del ref
        return None

    def poll_while_waiting(self, jobs: Iterable[str]) -> Answer:
        """Ask as :meth:`poll`, for a command that waits until no job is left."""
        return self.poll(jobs)

    # Before anything is submitted

    def check(self, wish: SubmitOptions, source: JobSource | None = None) -> tuple[str, ...]:
        """Refuse wrong options and templates; return a notice about each kind of wish that means nothing here."""
        require_boto3()
        self.template(wish)
        merged = self.options(wish, source)
        unknown = sorted(merged.keys() - self.known)
        if unknown:
            raise UsageError(
                f"{self.title} has no option {', '.join(unknown)} for jobs; it has {', '.join(sorted(self.known))}"
            )
        if missing := aws_options.unset(merged, os.environ):
            raise UsageError(missing)
        notices = []
        if others := sorted(self._of_files(source).keys() - self.known - merged.keys()):
            notices.append(f"{', '.join(others)} of your files is ignored: {self.title} has no such option for jobs")
        if wish.width is not None:
            notices.append(f"--width is ignored: how many jobs run at a time is decided in {self.title}")
        if source and source.options and not source.aws:
            notices.append("the sweep file's slurm: section is for Slurm: jobs in AWS ask for what aws: says")
        if source and source.setup:
            notices.append("setup: of your defaults is for batch scripts: a container has what its image has")
        return (*notices, *self.doubts(self.request(source, 1, wish))) if source else tuple(notices)

    def template(self, wish: SubmitOptions) -> Document | None:
        """Return the template that a wish names, checked; else (Slurm's own is none here) the built-in one.

        None where the service has no templates. Raises UsageError.
        """
        if not self.operation:
            return None
        name = self.name if wish.template in ("", DEFAULT_TEMPLATE) else wish.template
        found = templates.load(name, self.name, self.operation)
        self.refuse_template(found.content, f"job template {found.path}")
        return found

    def options(self, wish: SubmitOptions, source: JobSource | None) -> dict[str, str | bool]:
        """Return options by long name: command line, ``aws:`` of the sweep file, of the defaults, then the template.

        Files are for all services, so what this one does not know counts only where it is said now.
        """
        said = aws_options.merge((aws_options.COMMAND_LINE, wish.options or {}))
        files = self._of_files(source, wish.options or {})
        merged = {name: value for name, value in files.items() if name in self.known or name in said}
        if "definition" in merged or not (template := self.template(wish)):  # what a definition asks for is in AWS
            return merged
        asked = self.options_of_template(template.content)
        return {**aws_options.merge((f"job template {template.path}", asked)), **merged}

    def normalized(self, options: Options) -> Options:
        """Return options by their long names. Raises UsageError."""
        return aws_options.merge((aws_options.COMMAND_LINE, options))

    def asked(self, options: Options) -> Asked:
        """Return what a job with these options asks for."""
        return aws_options.asked(options)

    def request(
        self, source: JobSource, trials: int, wish: SubmitOptions, attempt_ids: tuple[AttemptId, ...] = ()
    ) -> JobRequest:
        """Return the request for one job a trial."""
        template = self.template(wish)
        return JobRequest(
            name=f"{source.name}-{os.urandom(4).hex()}",
            tasks=trials,
            trials=trials,
            agents=None,
            width=None,
            options=self.options(wish, source),
            template=template.name if template else "",
            body=template.text if template else "",
            source=source,
            attempt_ids=attempt_ids,
        )

    def preview(self, request: JobRequest) -> str:
        """Return each request as JSON below the words of AWS's command line that send it. No request is made."""
        return "\n".join(
            f"# {self.title}: {operation}\n{json.dumps(content, indent=2)}"
            for operation, content in self.requests(request)
        )

    def estimate(self, request: JobRequest) -> StartEstimate:
        """Return the sizes of the submissions: AWS says nothing about a request before it is made."""
        return StartEstimate(tuple(self._sizes(request)))

    # Submitting

    def submit(self, request: JobRequest, part: SubmitPart, *, was_refused: bool = False) -> SubmitResult:
        """Split a request by the largest submission of the service; where it takes no more jobs, keep the rest back.

        What it took before stays.
        """
        del was_refused
        arrays: list[Submitted] = []
        first = 0
        for tasks in self._sizes(request):
            try:
                submitted = part(first, tasks)
            except JobLimitError as error:
                if not arrays:
                    raise
                return SubmitResult(tuple(arrays), request.tasks - first, str(error))
            first += tasks
            if submitted is None:
                continue
            arrays.append(submitted)
            short = self._in_part.get(parts_of(submitted.job)[0])
            if short and short.jobs < tasks:
                return SubmitResult(tuple(arrays), request.tasks - first + tasks - short.jobs, short.why)
        return SubmitResult(tuple(arrays))

    def taken(self, request: JobRequest) -> int:
        """Return how many jobs of a request the service took."""
        short = self._in_part.get(request.name)
        return short.jobs if short else request.tasks

    def took_part(self, name: str, jobs: int, why: str) -> None:
        """Remember that the service took so many jobs of a submission of that name, and why it took no more."""
        self._in_part[name] = _PartTaken(jobs, why)

    def _sizes(self, request: JobRequest) -> list[int]:
        most = self.most_assigned if request.attempt_ids else self.most_tasks
        return [len(part) for part in in_parts(range(request.tasks), most)]

    def note_submitted(self, key: str, jobs: Iterable[str]) -> None:
        """Remember for a while that this process submitted these jobs: an answer of AWS may not have them yet."""
        self._submitted[key] = time.monotonic(), tuple(jobs)

    def just_submitted(self, key: str) -> tuple[str, ...]:
        """Return the jobs of a submission that this process made within the last 60 s; none of any other."""
        when, jobs = self._submitted.get(key, (0.0, ()))
        return jobs if jobs and time.monotonic() - when < _UNSEEN else ()

    # Looking

    def cluster(self, options: Options | None = None) -> str:
        """Return ``<service>:<region>``; empty where no region is named."""
        try:
            return f"{self.name}:{region_of((options or {}).get('region'))}"
        except UsageError:
            return ""

    def wait(
        self,
        jobs: Sequence[str],
        target: int,
        refresh: Callable[[], SweepView],
        may_start: Callable[[], bool] = lambda: True,
        seen: Callable[[Answer], None] = lambda _: None,
    ) -> None:
        """Wait for ends in the journal; ask the service where none came for 15 s. Ctrl-C ends the waiting only."""
        del may_start  # the service starts the jobs
        follow(jobs, target, refresh, seen, self.poll_while_waiting, _PERIOD)

    def last_words(self, ref: JobRef, lines: int = 5) -> tuple[str, ...]:
        """Return the last lines that a job wrote into its log stream, where they appear some seconds later.

        Never raises: without a log there are none.
        """
        with suppress(SlurmsweepError):
            if found := self.stream(ref):
                region, group, stream = found
                asked = {"logGroupName": group, "logStreamName": stream, "limit": lines, "startFromHead": False}
                events = client("logs", region).ask("get_log_events", **asked)["events"]
                return tuple(event["message"].rstrip("\n") for event in events[-lines:])
        return ()

    @staticmethod
    def _of_files(source: JobSource | None, over: Options | None = None) -> dict[str, str | bool]:
        """Return the options of the files, and what is said ``over`` them."""
        return aws_options.merge(
            *((document["file"], document.get("aws", {})) for document in (source.defaults if source else ())),
            (aws_options.SWEEP_FILE, source.aws if source else {}),
            (aws_options.COMMAND_LINE, over or {}),
        )


@cache
def client(service: str, region: str) -> Client:
    """Return the one client of a service in a region that this process has."""
    return Client(service, region)


def client_of(cluster: str) -> Client:
    """Return the client of the service and region that a cluster's name begins with: ``ecs:eu-west-1/sweeps``.

    Raises:
        SchedulerUnavailableError: it cannot be had here, because boto3 is not installed for example: nothing is known.
    """
    service, _, place = cluster.partition(":")
    try:
        return client(service, region_of(place.partition("/")[0]))
    except UsageError as error:
        raise SchedulerUnavailableError(f"jobs of {cluster} could not be asked about: {error}") from error


def by_cluster(keys: Iterable[str]) -> dict[str, list[str]]:
    """Return ids of jobs by the cluster that their keys name."""
    found: dict[str, list[str]] = {}
    for job, cluster in sorted(map(parts_of, set(keys))):
        found.setdefault(cluster, []).append(job)
    return found


def answers(jobs: Collection[str], ask: Callable[[str, list[str]], Iterable[Answered]]) -> tuple[list[Answered], str]:
    """Return all that ``ask`` yields for the ids of each cluster, and what became of the questions.

    That is ``used``, ``not needed``, or the error at which they ended; what was answered before stays.
    """
    found: list[Answered] = []
    try:
        for cluster, ids in by_cluster(jobs).items():
            for answer in ask(cluster, ids):
                found.append(answer)  # noqa: PERF402 - what came before an error stays
    except SlurmsweepError as error:
        return found, str(error)
    return found, "used" if jobs else "not needed"


def in_parts(things: Sequence[Thing], size: int) -> Iterable[Sequence[Thing]]:
    """Return things in parts of a size, which one request of AWS takes."""
    return (things[start : start + size] for start in range(0, len(things), size))


def environment(request: JobRequest, *, shown: bool) -> dict[str, str]:
    """Return the variables that a job gets by name; the values only where they are not to be ``shown``.

    Raises:
        NotFoundError: one is not set in this shell any more.
    """
    names = aws_options.variables(request.options)
    if shown:
        return {name: f"<value of {name}>" for name in names}
    if missing := aws_options.unset(request.options, os.environ):
        raise NotFoundError(missing)
    return {name: os.environ[name] for name in names}


def command(source: JobSource) -> list[str]:
    """Return the words of a job: an agent for one trial, in the place of any shell."""
    return ["slurmsweep", "agent", "--count", "1", source.argument]
