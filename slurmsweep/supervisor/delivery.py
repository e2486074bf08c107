"""How long a message is this machine's alone, and what its queue is told of it meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
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
class Delivery:
    """One delivery of a message, with the orders that its queue gets; none of them is given when it is ours no more.

    Args:
        message: what came.
        queue: from which it came.
        hidden: seconds for which each order keeps it from others.
        began: when the question was sent whose answer was the message.
        say: takes each line for people.
        now: the clock of these moments.

    Attributes:
        until: up to when the message is ours for certain.
        due: when to ask for more.
        is_ours: False once the message was deleted, or may have been given to another machine.
    """

    message: Message
    queue: WorkQueue
    hidden: int
    began: float
    say: Callable[[str], None]
    now: Callable[[], float]
    until: float = field(init=False)
    due: float = field(init=False)
    is_ours: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        self._extend(self.began)

    def keep(self) -> None:
        """Keep the message from others where that is due: ask for more time, or delete it before the queue's limit."""
        asked, longest = self.now(), self.queue.longest
        if not self.is_ours or asked < self.due:
            return
        if asked + self.hidden >= self.began + max(longest - MARGIN, longest / 2):  # no order helps any more
            self.delete()
            self.is_ours = False
            self.say(
                f"the message is deleted: {self.queue.name} keeps none from other machines for more than "
                f"{longest // 3600} h. If this machine is lost, `slurmsweep resubmit` runs the trial again"
            )
        elif self._hide(self.hidden):
            self._extend(asked)
        else:
            self.due = self.now() + _AGAIN

    def delete(self) -> None:
        """Take the message out of the queue for ever."""
        self._order(lambda: self.queue.delete(self.message))

    def give_back(self) -> None:
        """Let another machine have the message at once."""
        if self._hide(0):
            self.say("the message is given back: another machine may have it at once")
        elif self.is_ours:
            self.say(f"the message comes again within {self.hidden} s")

    def _extend(self, asked: float) -> None:
        """Take note that the queue took an order that was sent at this moment."""
        self.until, self.due = asked + self.hidden, asked + self.hidden / 3

    def _hide(self, seconds: int) -> bool:
        return self._order(lambda: self.queue.hide(self.message, seconds))

    def _order(self, order: Callable[[], bool]) -> bool:
        """Give the queue an order about a message that is ours; say where it is not any more."""
        if not self.is_ours:
            return False
        if self.now() >= self.until:  # this process may have been stopped for a while
            self.is_ours = False
            self.say("the message was ours for too long without a word of this process: another machine may have it")
            return False
        try:
            self.is_ours = order()
        except SchedulerError as error:
            self.say(f"{error}; the message comes again, and finds what is left then")
            return False
        if not self.is_ours:
            self.say("the queue says that the message is not ours any more")
        return self.is_ours
