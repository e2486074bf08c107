"""The interface of a queue whose messages let machines run trials, and of the machine that this process is on.

A message is a permission to run one trial of a sweep. Queues deliver at least once, in any order: a message that comes
twice costs an agent that finds nothing left. Code outside of this package knows no other part of a queue.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple


class Message(NamedTuple):
    """One delivery of a message.

    Attributes:
        body: as it came: written by whom it may, so nothing in it is trusted.
        receipt: names this delivery: the queue takes what is ordered by the newest one.
        receives: how often it was delivered, this time included.
    """

    body: str
    receipt: str
    receives: int


class WorkQueue(ABC):
    """A queue in which work is announced.

    All methods raise NotFoundError where there is no such queue (any more), and SchedulerError where it does not answer
    or refuses.
    """

    #: For people.
    name: str

    #: Seconds after which the queue gives a message to another machine, whatever is ordered.
    longest: ClassVar[int]

    @abstractmethod
    def receive(self, seconds: int, hidden: int) -> Message | None:
        """Wait for a message for so many seconds; no other machine gets it for ``hidden`` seconds. None for none."""

    @abstractmethod
    def hide(self, message: Message, seconds: int) -> bool:
        """Keep a message from others for so many seconds from now, 0 for not; False where it is not ours any more."""

    @abstractmethod
    def delete(self, message: Message) -> bool:
        """Take a message out of the queue for ever; False where it is not ours any more."""

    @abstractmethod
    def keeps_refused(self) -> bool | None:
        """Return whether messages that are never deleted go to another queue; None where that cannot be told."""


class Machine(ABC):
    """A machine that may be taken back at any time.

    Attributes:
        instance: its id.
        region: where it is.
    """

    instance: str
    region: str

    @abstractmethod
    def notice(self) -> str:
        """Return what announces the end of the machine, in words; empty while nothing does. Never raises."""
