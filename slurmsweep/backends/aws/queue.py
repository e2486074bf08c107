"""A queue of Amazon SQS: its URL, and the requests of a machine that takes messages from it.

Source: Amazon SQS Developer Guide, "Amazon SQS visibility timeout" and "Amazon SQS queue and message identifiers".
"""

from __future__ import annotations

import re
from typing import ClassVar, NamedTuple

from slurmsweep.backends.aws.client import Client, region_of
from slurmsweep.backends.queues import Message, WorkQueue
from slurmsweep.errors import SchedulerError, SubmissionRefusedError, UsageError

NAME = r"[A-Za-z0-9_-]{1,80}(?:\.fifo)?"
_URL = re.compile(rf"https?://([A-Za-z0-9.-]+)(?::[0-9]{{1,5}})?/(?:[A-Za-z0-9_-]+/)*({NAME})")

#: The region in the names of SQS's own endpoints, old, new and in a private network.
_HOST = re.compile(r"(?:^|\.)sqs(?:-fips)?\.([a-z]{2}[a-z0-9-]*-[0-9])\.|^([a-z]{2}[a-z0-9-]*-[0-9])\.queue\.")

#: Codes of an order by a receipt that does not count any more.
_NOT_OURS = ("ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidParameterValue", "InvalidAddress")

#: While a trial runs a request may not keep this process from its other work: the next one comes soon.
_TRIES, _CONNECT, _READ = 2, 3, 5


class QueueAddress(NamedTuple):
    """The parts of a queue's URL; the region is empty where the URL does not say it."""

    url: str
    name: str
    region: str

    @property
    def is_fifo(self) -> bool:
        """Return whether the queue keeps an order, and takes each message once within five minutes."""
        return self.name.endswith(".fifo")


def address(url: object) -> QueueAddress:
    """Return the parts of a queue's URL. Raises UsageError where it is none."""
    found = _URL.fullmatch(str(url or ""))
    if found is None:
        shown = f"{str(url)[:200]!a} is not the URL of a queue" if url else "no queue is named"
        example = "https://sqs.eu-west-1.amazonaws.com/123456789012/sweeps"
        raise UsageError(f"{shown}: write the QueueUrl that `aws sqs list-queues` shows, such as {example}")
    region = _HOST.search(found[1])
    return QueueAddress(found[0], found[2], (region[1] or region[2]) if region else "")


class SqsQueue(WorkQueue):
    """One queue of SQS. Args, and raises, as :func:`slurmsweep.backends.registry.open_queue`."""

    longest: ClassVar[int] = 12 * 60 * 60

    def __init__(self, url: str, region: str = "") -> None:
        self._address = address(url)
        self.name = self._address.name
        place = self._address.region or region or region_of()
        self._patient = Client("sqs", place)
        self._quick = Client("sqs", place, tries=_TRIES, timeouts=(_CONNECT, _READ))

    def receive(self, seconds: int, hidden: int) -> Message | None:
        """Wait by one long poll."""
        answer = self._patient.ask(
            "receive_message",
            QueueUrl=self._address.url,
            MaxNumberOfMessages=1,
            WaitTimeSeconds=seconds,
            VisibilityTimeout=hidden,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        for found in answer.get("Messages", ()):
            count = found.get("Attributes", {}).get("ApproximateReceiveCount", "1")
            return Message(found.get("Body", ""), found["ReceiptHandle"], int(count))
        return None

    def hide(self, message: Message, seconds: int) -> bool:
        """Change the visibility timeout by the receipt of this delivery."""
        return self._order("change_message_visibility", message, VisibilityTimeout=seconds)

    def delete(self, message: Message) -> bool:
        """Delete by the receipt of this delivery. An old one may be taken without any effect, as SQS says."""
        return self._order("delete_message", message)

    def keeps_refused(self) -> bool | None:
        """Return whether the queue has a redrive policy; None where this machine may not ask."""
        try:
            answer = self._patient.ask(
                "get_queue_attributes", QueueUrl=self._address.url, AttributeNames=["RedrivePolicy"]
            )
        except SchedulerError:
            return None
        return "RedrivePolicy" in answer.get("Attributes", {})

    def _order(self, operation: str, message: Message, **parameters: int) -> bool:
        try:
            self._quick.ask(operation, QueueUrl=self._address.url, ReceiptHandle=message.receipt, **parameters)
        except SubmissionRefusedError as error:
            if any(code in str(error) for code in _NOT_OURS):
                return False
            raise
        return True
