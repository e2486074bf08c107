"""Amazon ECS: a task for each trial, on Fargate or on machines of a cluster; each runs one agent in a container."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

from slurmsweep.backends.aws import ecs_requests, ecs_tasks, ecs_words, words
from slurmsweep.backends.aws import options as aws_options
from slurmsweep.backends.aws.client import region_of
from slurmsweep.backends.aws.ecs_tasks import Cluster
from slurmsweep.backends.aws.service import AwsBackend, answers, by_cluster, client, client_of
from slurmsweep.backends.base import Answer, JobRestarts, JobSource, JobStatus, SubmitOptions
from slurmsweep.backends.keys import JobRef, key_on, parts_of
from slurmsweep.errors import (
    JobLimitError,
    NotFoundError,
    SchedulerError,
    SchedulerUnavailableError,
    SubmissionRefusedError,
    SubmissionUnknownError,
    UsageError,
)
from slurmsweep.state.filesystem import Fitness, Opinion

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from slurmsweep.backends.aws.client import Client
    from slurmsweep.backends.aws.ecs_requests import Target
    from slurmsweep.backends.base import Account, JobRequest, Options

#: Seconds between two tries to place tasks for which there was no room, and to send again what was not answered.
_PLACE_AGAIN = (1.0, 2.0, 4.0)
_SEND_AGAIN = (0.5, 1.0, 2.0, 4.0)

#: A task that this process started, and that no answer has yet.
_UNSEEN_TASK = JobStatus("PROVISIONING", True, None, "", None, "", ecs_words.SOURCE, waits=True)

#: Seconds between two looks for tasks by their submission's name, where none is found: lists lag behind.
_SEARCHES = (1.0, 2.0)


class EcsBackend(AwsBackend):
    """Amazon ECS. A submission is a RunTask for each ten tasks; its key has the submission's name as job.

    Each RunTask has a token of its own: what is not answered is sent again, and starts nothing twice.
    """

    name: ClassVar[str] = "ecs"
    operation: ClassVar[str] = ecs_requests.REGISTER
    most_tasks: ClassVar[int] = 1000
    known: ClassVar[frozenset[str]] = frozenset(aws_options.RESOURCES) | {
        "cluster", "definition", "efs", "env", "image", "instance-type", "plain-env", "region", "role", "secret",
        "public-ip", "security-groups", "spot", "subnets",
    }  # fmt: skip

    # Before anything is submitted

    def refuse_template(self, content: dict[str, Any], where: str) -> None:
        """Refuse a template whose first container, which is the agent's, has no name."""
        containers = content["containerDefinitions"]
        if not containers or not containers[0].get("name"):
            raise UsageError(f"{where}: containerDefinitions[0].name is missing: it is the agent's container")

    def options_of_template(self, content: dict[str, Any]) -> Options:
        """Return what a template asks for, as options."""
        return ecs_requests.resources_of(content)

    def doubts(self, request: JobRequest) -> Iterable[str]:
        """Refuse what lacks; return what most likely lacks, and what differs from the wish."""
        definition = dict(self.requests(request)).get(self.operation)
        return ecs_requests.doubts(request, definition) if definition else ()  # else it is in AWS

    def cluster(self, options: Options | None = None) -> str:
        """Return ``ecs:<region>/<cluster>``; empty where one of them is not named."""
        service, name = super().cluster(options), ecs_requests.cluster_in(options or {})
        return f"{service}/{name}" if service and name else ""

    def requests(self, request: JobRequest) -> list[tuple[str, dict[str, Any]]]:
        """Return RegisterTaskDefinition, which is sent where no definition has this content yet, and each RunTask."""
        if named := request.options.get("definition"):
            target = ecs_requests.unseen_target(str(named), request.options)
            return [("RunTask", call) for call in ecs_requests.calls(request, target, shown=True)]
        content = ecs_requests.definition(request)
        target = ecs_requests.target(f"{content['family']}:<its revision>", content, request.options)
        calls = ecs_requests.calls(request, target, shown=True)
        return [(self.operation, content), *(("RunTask", call) for call in calls)]

    def examine(self, options: Options) -> list[tuple[str, Opinion]]:
        """Return who asks, and whether cluster, definition, log group and roles are there."""
        from slurmsweep.backends.aws import doctor, ecs_doctor

        try:
            region = region_of(options.get("region"))
            request = self.request(JobSource("slurmsweep-doctor", "", "", ""), 1, SubmitOptions(options=options))
        except UsageError as error:
            return [("options", Opinion(Fitness.BAD, str(error), "see docs/aws.md"))]
        return doctor.after_identity(region, lambda: ecs_doctor.look(request, region))

    # Submitting

    def send(self, request: JobRequest) -> str:
        """Register the task definition where none has this content, then start the tasks.

        What was not placed, after some tasks were, is told by :meth:`taken`. Raises as the base's, and:
            JobLimitError: no task was placed.
        """
        region = region_of(request.options.get("region"))
        ecs, key = client("ecs", region), key_on(request.name, self.cluster(request.options))
        try:
            calls = ecs_requests.calls(request, _target(ecs, request), shown=False)
        except (NotFoundError, UsageError) as error:  # of a definition in AWS, or a variable that is gone
            raise SubmissionRefusedError(str(error)) from error
        started: list[str] = []
        why = ""
        for call in calls:
            try:
                tasks, why = _place(ecs, call)
            except SchedulerError as error:
                if not started:
                    raise
                why = str(error)
                break
            started += tasks
            self.note_submitted(key, started)
            if why:
                break
        if not started:
            raise JobLimitError(f"Amazon ECS placed no task: {why}; submit later")
        if len(started) < request.tasks:
            self.took_part(request.name, len(started), f"Amazon ECS placed no more tasks: {why}")
        return key

    def find(self, name: str, cluster: str = "") -> str:
        """Return the key of a submission of that name on a cluster; empty where that has no task of it (yet)."""
        if not cluster:
            return ""
        place = _place_of(cluster)
        for delay in (*_SEARCHES, 0.0):
            try:
                if ecs_tasks.started_by(place, name):
                    return key_on(name, cluster)
            except NotFoundError:  # no such cluster: nothing can have been started there
                return ""
            time.sleep(delay)
        return ""

    # Looking

    def poll(self, jobs: Iterable[str], wanted: Collection[JobRef] = ()) -> Answer:
        """Ask about the tasks of submissions, by their names, and about single ones: lists, and a hundred at a time."""
        found: dict[JobRef, JobStatus] = {}
        for cluster, ids in by_cluster([*jobs, *(ref.job for ref in wanted)]).items():
            for task, status in self._statuses(cluster, ids).items():
                found[JobRef(key_on(task, cluster))] = status
        return Answer(found, "not needed")

    def _statuses(self, cluster: str, ids: Collection[str]) -> dict[str, JobStatus]:
        """Return the status of each task; one that this process has just started waits, if no answer has it."""
        own = {task: name for name in ids for task in self.just_submitted(key_on(name, cluster))}
        known = ecs_tasks.look(_place_of(cluster), ids, own)
        found = {task: ecs_tasks.status_of(said) for task, said in known.items()}
        return {**{task: _UNSEEN_TASK._replace(name=name) for task, name in own.items()}, **found}

    def accounts(self, jobs: Collection[str]) -> tuple[Mapping[JobRef, Account], str]:
        """Return what tasks that stopped within the hour asked for, and how long they ran."""

        def ask(cluster: str, ids: list[str]) -> Iterator[tuple[JobRef, Account]]:
            for task, said in ecs_tasks.look(_place_of(cluster), ids).items():
                if account := ecs_tasks.account_of(said):
                    yield JobRef(key_on(task, cluster)), account

        found, said = answers(jobs, ask)
        return dict(found), said

    def restarts(self, jobs: Collection[str]) -> JobRestarts:
        """Return how tasks ended that did not succeed, by cause: those that stopped within the hour."""

        def ask(cluster: str, ids: list[str]) -> Iterable[str]:
            return words.unsuccessful(map(ecs_tasks.said_of, ecs_tasks.look(_place_of(cluster), ids).values()))

        causes, said = answers(jobs, ask)
        return JobRestarts(Counter(causes), said)

    def stream(self, ref: JobRef) -> tuple[str, str, str] | None:
        """Return region, group and stream of what the agent of a task wrote."""
        number, cluster = parts_of(ref.job)
        place = _place_of(cluster)
        task = ecs_tasks.look(place, [number]).get(number)
        return ecs_tasks.stream_of(place.ecs, task) if task else None

    # Ordering

    def cancel(self, targets: Sequence[str], *, only_waiting: bool = False) -> None:
        """Stop tasks, or only those that wait; a submission's key means all of its tasks."""
        for cluster, ids in by_cluster(targets).items():
            place = _place_of(cluster)
            for task, status in self._statuses(cluster, ids).items():
                if status.alive and (status.waits or not only_waiting):
                    _stop(place, task)


def _place_of(cluster: str) -> Cluster:
    """Return the cluster of ``ecs:<region>/<cluster>``. Raises SchedulerUnavailableError where that names none."""
    region, _, name = cluster.partition(":")[2].partition("/")
    if not region or not name:
        raise SchedulerUnavailableError(f"{cluster!a} is no cluster of Amazon ECS: ecs:<region>/<cluster>")
    return Cluster(client_of(cluster), name)


def _target(ecs: Client, request: JobRequest) -> Target:
    """Return the definition in AWS: the one that is named, or the template's, registered if need be."""
    options = request.options
    if named := options.get("definition"):
        known = ecs.ask("describe_task_definition", taskDefinition=str(named))["taskDefinition"]
        return ecs_requests.target(str(named), known, options)
    content = ecs_requests.definition(request)
    arn = ecs_tasks.registered(ecs, content)
    if not arn:
        arn = ecs.ask("register_task_definition", **content)["taskDefinition"]["taskDefinitionArn"]
    return ecs_requests.target(arn, content, options)


def _place(ecs: Client, call: dict[str, Any]) -> tuple[list[str], str]:
    """Start the tasks of a RunTask, with several tries; return their ids, and why not all were placed. Raises as send.

    What could not be placed is told in an answer that is no error. It is asked for again by another token.
    """
    started: list[str] = []
    for attempt, delay in enumerate((*_PLACE_AGAIN, None)):
        token = call["clientToken"] + (f"-{attempt}" if attempt else "")
        try:
            answer = _run(ecs, {**call, "count": call["count"] - len(started), "clientToken": token})
        except SchedulerError as error:
            if not started:
                raise
            return started, str(error)
        started += [ecs_tasks.id_of(task["taskArn"]) for task in answer.get("tasks", ())]
        if len(started) >= call["count"]:
            break
        failures = dict.fromkeys(
            ": ".join(filter(None, (one.get("reason"), one.get("detail")))) for one in answer.get("failures", ())
        )
        if delay is None:
            return started, "; ".join(failures) or "it did not say why"
        time.sleep(delay)
    return started, ""


def _run(ecs: Client, call: dict[str, Any]) -> dict[str, Any]:
    """Send one RunTask until it is answered: the token makes a second one the same one.

    Raises:
        SubmissionRefusedError: ECS said no, or knows no such cluster or definition.
        SubmissionUnknownError: it did not answer any try.
        SchedulerUnavailableError: it could not be asked, and nothing was sent.
    """
    silence: SubmissionUnknownError | None = None
    for delay in (*_SEND_AGAIN, None):
        try:
            return ecs.submit("run_task", **call)
        except SubmissionUnknownError as error:
            silence = error
        except NotFoundError as error:
            raise SubmissionRefusedError(str(error)) from error
        except SchedulerUnavailableError as error:
            raise silence or error from error
        if delay is not None:
            time.sleep(delay)
    raise silence or SubmissionUnknownError("Amazon ECS did not answer")


def _stop(place: Cluster, task: str) -> None:
    """Stop a task; one that is over by now is no error."""
    try:
        place.ecs.ask("stop_task", cluster=place.name, task=task, reason=words.OUR_ORDER)
    except (SubmissionRefusedError, NotFoundError):
        left = ecs_tasks.look(place, [task]).get(task)
        if left and ecs_tasks.said_of(left).alive:
            raise
