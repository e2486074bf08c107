"""What the backends of all services of AWS have in common: options, requests as text, splitting, waiting."""

from __future__ import annotations

import json
import os
from abc import abstractmethod
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from slurmsweep.backends.aws import options as aws_options
from slurmsweep.backends.aws.client import TITLES, Client, region_of, require_boto3
from slurmsweep.backends.base import DEFAULT_TEMPLATE, Ability, Backend, JobRequest, StartEstimate, SubmitResult
from slurmsweep.backends.following import follow
from slurmsweep.backends.keys import parts_of
from slurmsweep.errors import JobLimitError, NotFoundError, SlurmsweepError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from slurmsweep.backends.aws.templates import Document
    from slurmsweep.backends.base import (
        Answer,
        Asked,
        JobSource,
        Options,
        SubmitOptions,
        SubmitPart,
        Submitted,
    )
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.tail import AttemptId

Answered = TypeVar("Answered")
Thing = TypeVar("Thing")

#: Seconds without an end in the journal before a service is asked, while a command waits for jobs.
_PERIOD = 15.0


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

    #: The largest number of jobs in one submission.
    most_tasks: ClassVar[int]

    #: The same where each job has an attempt of its own, which stands in its environment.
    most_assigned: ClassVar[int] = 500

    #: Options that this service has; a wish for another one is refused, or ignored with a notice.
    known: ClassVar[frozenset[str]]

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
    def template(self, wish: SubmitOptions) -> Document | None:
        """Return the checked template of a wish; None where the service has none."""

    @abstractmethod
    def requests(self, request: JobRequest) -> list[tuple[str, dict[str, Any]]]:
        """Return each request that :meth:`send` makes: its operation in AWS's spelling, and its input.

        The values of variables that are passed on are not in it: ``<value of NAME>`` stands for each.
        """

    def asks(self, template: Document) -> Options:
        """Return what a template asks for, as options: it counts where nothing else says it. By default nothing."""
        del template
        return {}

    def looks(self, request: JobRequest) -> Iterable[str]:
        """Refuse what lacks in a request for one job; yield what most likely lacks where that cannot be known here."""
        self.requests(request)
        return ()

    # Before anything is submitted

    def check(self, wish: SubmitOptions, source: JobSource | None = None) -> tuple[str, ...]:
        """Refuse wrong options and templates; return a notice about each kind of wish that means nothing here."""
        require_boto3()
        self.template(wish)
        merged = self._merged(wish, source)
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
        return (*notices, *self.looks(self.request(source, 1, wish))) if source else tuple(notices)

    def options(self, wish: SubmitOptions, source: JobSource) -> Options:
        """Return options by long name: command line, ``aws:`` of the sweep file, ``aws:`` of the defaults."""
        return self._merged(wish, source)

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
            options=self._merged(wish, source),
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
        whole, rest = divmod(request.tasks, most)
        return [most] * whole + ([rest] if rest else [])

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
        follow(jobs, target, refresh, seen, self.poll, _PERIOD)

    def _merged(self, wish: SubmitOptions, source: JobSource | None) -> dict[str, str | bool]:
        """Return all options; files are for all services, so what this one has not counts only where it is said now."""
        said = aws_options.merge((aws_options.COMMAND_LINE, wish.options or {}))
        files = self._of_files(source, wish.options or {})
        merged = {name: value for name, value in files.items() if name in self.known or name in said}
        template = None if "definition" in merged else self.template(wish)  # what a definition asks for is in AWS
        asks = aws_options.merge((f"job template {template.path}", self.asks(template))) if template else {}
        return {**asks, **merged}

    @staticmethod
    def _of_files(source: JobSource | None, over: Options | None = None) -> dict[str, str | bool]:
        """Return the options of the files, and what is said ``over`` them."""
        return aws_options.merge(
            *((document["file"], document.get("aws", {})) for document in (source.defaults if source else ())),
            (aws_options.SWEEP_FILE, source.aws if source else {}),
            (aws_options.COMMAND_LINE, over or {}),
        )

    @staticmethod
    def template_name(wish: SubmitOptions, default: str) -> str:
        """Return the template that a wish names; ``default`` where it names none, or Slurm's own."""
        return default if wish.template in ("", DEFAULT_TEMPLATE) else wish.template


@cache
def client(service: str, region: str) -> Client:
    """Return the one client of a service in a region that this process has."""
    return Client(service, region)


def by_cluster(keys: Iterable[str]) -> dict[str, list[str]]:
    """Return ids of jobs by the cluster that their keys name."""
    found: dict[str, list[str]] = {}
    for job, cluster in sorted(map(parts_of, set(keys))):
        found.setdefault(cluster, []).append(job)
    return found


def answers(jobs: Iterable[str], ask: Callable[[str, list[str]], Answered]) -> tuple[list[Answered], str]:
    """Return what ``ask`` says of the ids of each cluster, and what became of the questions.

    That is ``used``, ``not needed``, or the error at which they ended; what was answered before stays.
    """
    found: list[Answered] = []
    try:
        for cluster, ids in by_cluster(jobs).items():
            found.append(ask(cluster, ids))
    except SlurmsweepError as error:
        return found, str(error)
    return found, "used" if found else "not needed"


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
