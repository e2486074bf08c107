"""Work for machines of EC2 by a queue of SQS: a message is a permission to run one trial, and carries nothing else.

There is no job in AWS: ``slurmsweep listen`` on a machine takes a message and runs an agent. So what is known of a
submission is how many messages wait in its queue, about and for all sweeps that use the queue; and of an agent what EC2
says of its machine.

Source: Amazon SQS API Reference, SendMessageBatch and GetQueueAttributes; Amazon EC2 API Reference, DescribeInstances.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, ClassVar

from slurmsweep.backends.aws import ec2_words
from slurmsweep.backends.aws.client import TITLES, region_of
from slurmsweep.backends.aws.options import RESOURCES
from slurmsweep.backends.aws.queue import QueueAddress, address
from slurmsweep.backends.aws.service import AwsBackend, by_cluster, client, client_of, in_parts
from slurmsweep.backends.base import Ability, Answer, Asked, JobStatus, SubmitOptions, Wait
from slurmsweep.backends.keys import JobRef, key_on
from slurmsweep.errors import (
    NotFoundError,
    SchedulerError,
    SchedulerUnavailableError,
    SubmissionRefusedError,
    UsageError,
)
from slurmsweep.state.filesystem import Fitness, Opinion
from slurmsweep.state.owner import service_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from slurmsweep.backends.aws.client import Client
    from slurmsweep.backends.base import JobRequest, JobSource, Options

#: Messages in one request, and machines in one question.
_BATCH, _MACHINES = 10, 200

#: Seconds between tries for the messages of a batch that SQS could not take although the request was right.
_AGAIN = (0.5, 1.0, 2.0, 4.0)

#: Attributes whose sum is the number of messages that wait, and the one that counts those which a machine has.
_WAITING = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed")
_TAKEN = "ApproximateNumberOfMessagesNotVisible"

#: What is asked about messages, for people.
_SOURCE = TITLES["sqs"]

#: A message that waits, and one that a machine has.
_WAIT = Wait(
    "their messages wait for a machine that takes them",
    "start machines that run `slurmsweep listen` with the URL of the queue",
)
_WAITING_MESSAGE = JobStatus("PENDING", True, None, "", None, "", _SOURCE, waits=True, wait=_WAIT)
_TAKEN_MESSAGE = JobStatus("RUNNING", True, None, "", None, "", _SOURCE)


class SqsBackend(AwsBackend):
    """Messages to machines that listen; each lets one trial run, the next that there is."""

    name: ClassVar[str] = "sqs"
    abilities: ClassVar[frozenset[Ability]] = frozenset({Ability.OUTLIVE, Ability.ELSEWHERE})
    most_tasks: ClassVar[int] = 10_000
    known: ClassVar[frozenset[str]] = frozenset({"queue", "region"})

    def check(self, wish: SubmitOptions, source: JobSource | None = None) -> tuple[str, ...]:
        """Refuse wrong options and a queue that is none; say which wishes machines that listen do not hear."""
        notices = super().check(wish, source)
        wished = super().options(wish, source)
        if unheard := ", ".join(name for name in RESOURCES if name in wished):
            notices += (f"{unheard}: a machine gives a trial what it has, and the time of `slurmsweep listen --time`",)
        return notices

    def options(self, wish: SubmitOptions, source: JobSource | None) -> dict[str, str | bool]:
        """Return the options of messages: the resources that jobs of other services ask for mean nothing here."""
        return {name: value for name, value in super().options(wish, source).items() if name not in RESOURCES}

    def asked(self, options: Options) -> Asked:
        """Return nothing: a message asks for no resources."""
        del options
        return Asked()

    def requests(self, request: JobRequest) -> list[tuple[str, dict[str, Any]]]:
        """Return the requests for all messages, ten in each."""
        queue = address(request.options.get("queue"))
        entries = []
        for n in range(request.tasks):
            body = json.dumps({"sweep": request.source.argument, "submission": request.name, "n": n})
            # of one group of a FIFO queue no message is given out while a machine has another one
            once = {"MessageGroupId": f"{request.name}.{n}", "MessageDeduplicationId": f"{request.name}.{n}"}
            entries.append({"Id": str(n), "MessageBody": body} | (once if queue.is_fifo else {}))
        return [("SendMessageBatch", {"QueueUrl": queue.url, "Entries": part}) for part in in_parts(entries, _BATCH)]

    def send(self, request: JobRequest) -> str:
        """Send the messages; return ``QUEUE/REQUEST:MESSAGES@sqs:REGION``.

        A batch whose answer was lost is sent again: a message that is there twice is one permission too many, and finds
        nothing left. In a FIFO queue SQS drops the second one. Raises as :meth:`.Backend.send`; the message says how
        many messages were sent before.
        """
        queue = address(request.options.get("queue"))
        cluster, sent = self.cluster(request.options), 0
        sqs = client(self.name, region_of(cluster.partition(":")[2]))
        for _, content in self.requests(request):
            try:
                _send_batch(sqs, content["QueueUrl"], content["Entries"])
            except (NotFoundError, SchedulerError) as error:
                kind = SubmissionRefusedError if isinstance(error, NotFoundError) else type(error)
                before = f"; before these {sent} of {request.tasks} messages were sent, and each lets a trial run"
                raise kind(f"{error}{before if sent else ''}") from error
            sent += len(content["Entries"])
        return key_on(f"{queue.name}/{request.name}:{request.tasks}", cluster)

    def find(self, name: str, cluster: str = "") -> str:
        """Return nothing: a queue cannot be looked through. What was sent without a record costs agents that end."""
        del name, cluster
        return ""

    def cluster(self, options: Options | None = None) -> str:
        """Return ``sqs:<region>``, the region being the one of the queue's URL where it names one. Empty for none."""
        named = options or {}
        url = named.get("queue")
        region = named.get("region") or (address(url).region if url else "")
        return f"{self.name}:{region}" if region else super().cluster(options)

    def output_place(self, jobs_dir: str) -> str:
        """Return that agents write where the machine's ``listen`` does."""
        del jobs_dir
        return "the output of `slurmsweep listen` on each machine (`journalctl -u slurmsweep-agent` for the unit)"

    def examine(self, options: Options) -> list[tuple[str, Opinion]]:
        """Return who asks, and whether the queue is there and keeps what no machine may run."""
        from slurmsweep.backends.aws import doctor

        named = options.get("queue")
        if not named:
            return [doctor.unnamed("queue", "URL")]
        try:
            queue = address(named)
            region = str(options.get("region") or queue.region) or region_of()
        except UsageError as error:
            return [("queue", Opinion(Fitness.BAD, str(error)))]
        return doctor.after_identity(region, lambda: doctor.each(("queue", lambda: _examined(queue, region))))

    def poll(self, jobs: Iterable[str], wanted: Collection[JobRef] = ()) -> Answer:
        """Ask SQS how many messages wait, and EC2 about machines.

        SQS counts about, and all messages of a queue: those of other sweeps too. So of a sweep never more count than it
        sent. Messages that a machine has do not count: its agent has claimed a trial, or will within seconds.
        """
        return self._poll(jobs, wanted, with_taken=False)

    def poll_while_waiting(self, jobs: Iterable[str]) -> Answer:
        """Ask as :meth:`poll`, and count messages that a machine has, too: a command waits while there are some."""
        return self._poll(jobs, (), with_taken=True)

    def cancel(self, targets: Collection[str], *, only_waiting: bool = False) -> None:
        """Do nothing: the sweep's order is enough.

        A message that is left starts an agent that finds the order and ends. Others may use the queue, so it is never
        emptied; and a machine is not ended for one of its trials.
        """

    def endable(self, jobs: Collection[str]) -> tuple[str, ...]:
        """Return nothing, see :meth:`cancel`."""
        del jobs
        return ()

    def _poll(self, jobs: Iterable[str], wanted: Collection[JobRef], *, with_taken: bool) -> Answer:
        statuses: dict[JobRef, JobStatus] = {}
        for cluster, ids in by_cluster({*jobs, *(ref.job for ref in wanted)}).items():
            if service_of(cluster) == self.name:
                statuses |= _messages(cluster, ids, with_taken=with_taken)
            else:
                statuses |= _machines(cluster, ids)
        return Answer(statuses, "not needed")


def _examined(queue: QueueAddress, region: str) -> tuple[str, Opinion]:
    """Return whether the queue is there, how many messages wait in it, and whether it keeps those refused."""
    wanted = [_WAITING[0], "RedrivePolicy"]
    found = client("sqs", region).ask("get_queue_attributes", QueueUrl=queue.url, AttributeNames=wanted)["Attributes"]
    if "RedrivePolicy" not in found:
        why = f"{queue.name} has no redrive policy: a message that no machine may run comes for ever"
        return "queue", Opinion(Fitness.WARN, why, "give it a queue for dead letters, with maxReceiveCount 5")
    return "queue", Opinion(Fitness.GOOD, f"about {found[_WAITING[0]]} messages wait in {queue.name}")


def _send_batch(sqs: Client, url: str, entries: list[dict[str, Any]]) -> None:
    """Send messages until SQS has taken all of them. Raises SchedulerError."""
    total = len(entries)
    for delay in (*_AGAIN, None):
        answer = sqs.ask("send_message_batch", QueueUrl=url, Entries=entries)
        failed = {found["Id"]: found for found in answer.get("Failed", ())}
        if not failed:
            return
        first = next(iter(failed.values()))
        words = f"{_SOURCE} took {total - len(failed)} of {total} messages: {first.get('Code', '')}"
        words = f"{words}: {first.get('Message', '')}".rstrip(": ")
        if any(found.get("SenderFault") for found in failed.values()):
            raise SubmissionRefusedError(words)
        if delay is None:
            raise SchedulerUnavailableError(f"{words}; try again later")
        entries = [entry for entry in entries if entry["Id"] in failed]
        time.sleep(delay)


def _messages(cluster: str, ids: Sequence[str], *, with_taken: bool) -> dict[JobRef, JobStatus]:
    """Return a job of its queue for each message that waits, and ``with_taken`` for each that a machine has.

    No queue tells which message is of which submission.
    """
    sent: dict[str, Counter[str]] = defaultdict(Counter)
    for job in ids:
        queue, _, submission = job.partition("/")
        request, _, count = submission.rpartition(":")
        sent[queue][request.rpartition("-")[0]] += int(count or 0)
    found: dict[JobRef, JobStatus] = {}
    for queue, counts in sent.items():
        waiting, taken = _counted(client_of(cluster), queue)
        for sweep, most in sorted(counts.items()):
            told = [_WAITING_MESSAGE._replace(name=sweep, reason=f"in queue {queue}")] * min(waiting, most)
            if with_taken:
                told += [_TAKEN_MESSAGE._replace(name=sweep)] * min(taken, most)
            found |= {JobRef(key_on(queue, cluster), n): status for n, status in enumerate(told, len(found))}
    return found


def _counted(sqs: Client, queue: str) -> tuple[int, int]:
    """Return how many messages of a queue wait, and how many a machine has; none of a queue that is gone."""
    try:
        url = sqs.ask("get_queue_url", QueueName=queue)["QueueUrl"]
        said = sqs.ask("get_queue_attributes", QueueUrl=url, AttributeNames=[*_WAITING, _TAKEN])["Attributes"]
    except NotFoundError:
        return 0, 0
    return sum(int(said.get(name, 0)) for name in _WAITING), int(said.get(_TAKEN, 0))


def _machines(cluster: str, ids: Sequence[str]) -> dict[JobRef, JobStatus]:
    """Return what EC2 says of machines. One that it does not know is absent: it was terminated an hour ago or more."""
    ec2, found = client_of(cluster), {}
    for part in in_parts(ids, _MACHINES):
        # by a filter: a question by ids is refused as a whole where one of them is forgotten
        asked = [{"Name": "instance-id", "Values": list(part)}]
        for reservation in ec2.pages("describe_instances", "Reservations", Filters=asked):
            for one in reservation.get("Instances", ()):
                state, reason = one.get("State", {}).get("Name", ""), one.get("StateReason", {}).get("Code", "")
                node = one.get("PrivateDnsName", "")
                found[JobRef(key_on(one["InstanceId"], cluster))] = ec2_words.status(state, reason, node)
    return found
