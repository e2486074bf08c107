"""How long a message is ours: when to ask for more time, and when to let it go. Pure."""

from __future__ import annotations

from dataclasses import dataclass

#: Seconds before the queue's own limit at which a message is deleted: one that comes again would start a second trial.
MARGIN = 600

#: Seconds to the next try where the queue did not take an order.
_AGAIN = 5.0


@dataclass
class Lease:
    """The time for which one delivery of a message is this machine's alone.

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
