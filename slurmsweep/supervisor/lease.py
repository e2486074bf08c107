"""How long a message is this machine's alone, and what its queue is told of it meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slurmsweep.errors import SchedulerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from slurmsweep.backends.queues import Message, WorkQueue

#: Seconds before the queue's own limit at which a message is deleted: one that comes again would start a second trial.
MARGIN = 600

#: Seconds to the next try where the queue did not take an order.
_AGAIN = 5.0


@dataclass
class Lease:
    """The time for which one delivery of a message is this machine's alone. Pure.

    Attributes:
        hidden: seconds that each order asks for.
        longest: seconds after the delivery at which the queue gives the message away, whatever is ordered.
        began: when the question was sent whose answer was the message.
        until: up to when the message is ours for certain.
        due: when to ask for more.
        is_ours: False once the message was deleted, or may have been given to another machine.
    """

    hidden: int
    longest: int
    began: float
    until: float = 0.0
    due: float = 0.0
    is_ours: bool = True

    def __post_init__(self) -> None:
        self.extended(self.began)

    def extended(self, asked: float) -> None:
        """Take note that the queue took an order that was sent at this moment."""
        self.until, self.due = asked + self.hidden, asked + self.hidden / 3

    def failed(self, now: float) -> None:
        """Take note that the queue did not answer: it is asked again soon."""
        self.due = now + _AGAIN

    def lapsed(self, now: float) -> bool:
        """Return whether another machine may have the message by now: a process may have been stopped for a while."""
        return now >= self.until

    def must_end(self, now: float) -> bool:
        """Return whether the queue will soon give the message to another machine, and no order helps."""
        return now + self.hidden >= self.began + max(self.longest - MARGIN, self.longest / 2)


@dataclass(frozen=True)
class Delivery:
    """One delivery of a message, with the orders that its queue gets; none of them is given when it is ours no more.

    Attributes:
        message: what came.
        queue: from which it came.
        lease: for how long it is this machine's.
        say: takes each line for people.
        now: the clock of the lease.
    """

    message: Message
    queue: WorkQueue
    lease: Lease
    say: Callable[[str], None]
    now: Callable[[], float]

    def keep(self) -> None:
        """Keep the message from others where that is due: ask for more time, or delete it before the queue's limit."""
        lease, asked = self.lease, self.now()
        if not lease.is_ours or asked < lease.due:
            return
        if lease.must_end(asked):
            self.delete()
            lease.is_ours = False
            self.say(
                f"the message is deleted: {self.queue.name} keeps none from other machines for more than "
                f"{self.queue.longest // 3600} h. If this machine is lost, `slurmsweep resubmit` runs the trial again"
            )
        elif self._hide(lease.hidden):
            lease.extended(asked)
        else:
            lease.failed(self.now())

    def delete(self) -> None:
        """Take the message out of the queue for ever."""
        self._order(lambda: self.queue.delete(self.message))

    def give_back(self) -> None:
        """Let another machine have the message at once."""
        if self._hide(0):
            self.say("the message is given back: another machine may have it at once")
        elif self.lease.is_ours:
            self.say(f"the message comes again within {self.lease.hidden} s")

    def _hide(self, seconds: int) -> bool:
        return self._order(lambda: self.queue.hide(self.message, seconds))

    def _order(self, order: Callable[[], bool]) -> bool:
        """Give the queue an order about a message that is ours; say where it is not any more."""
        lease = self.lease
        if not lease.is_ours:
            return False
        if lease.lapsed(self.now()):
            lease.is_ours = False
            self.say("the message was ours for too long without a word of this process: another machine may have it")
            return False
        try:
            lease.is_ours = order()
        except SchedulerError as error:
            self.say(f"{error}; the message comes again, and finds what is left then")
            return False
        if not lease.is_ours:
            self.say("the queue says that the message is not ours any more")
        return lease.is_ours
