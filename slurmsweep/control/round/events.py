"""The events of a use case, as values: the command line prints them, and a live view can follow them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slurmsweep.backends.base import Submitted
    from slurmsweep.control.round.decide import Plan
    from slurmsweep.control.round.reconcile import ReconcileResult
    from slurmsweep.state.lifecycle import TrialState


@dataclass(frozen=True)
class Noticed:
    """A line that a person should know."""

    text: str


@dataclass(frozen=True)
class Reconciled:
    """The journal was brought up to what witnesses know."""

    result: ReconcileResult


@dataclass(frozen=True)
class Planned:
    """It was decided what to do next.

    Attributes:
        plan: the decision.
        is_rehearsal: nothing of it will be done.
        headline: what the command does not do of what it was asked; of later decisions of a command empty.
    """

    plan: Plan
    is_rehearsal: bool = False
    headline: str = ""


@dataclass(frozen=True)
class ArraySubmitted:
    """The scheduler took an array.

    Attributes:
        array: its id and size.
        minutes, mib: time and memory that were learnt for each of its trials; None where nothing was learnt.
    """

    array: Submitted
    minutes: int | None = None
    mib: int | None = None


@dataclass(frozen=True)
class JobsReleased:
    """Jobs may start again that the scheduler held because a node failed to start them."""

    jobs: tuple[str, ...]


@dataclass(frozen=True)
class TrialsKeptBack:
    """A limit left no room for some trials.

    Attributes:
        trials: how many.
        why: the limit, in words.
        command: the command that submits them later; empty where the supervisor does.
    """

    trials: int
    why: str
    command: str


@dataclass(frozen=True)
class Progress:
    """Trials have ended while a command waits.

    Attributes:
        ended: how many since it began to wait.
        total: how many it waits for.
        counts: of all trials with records, by state.
        stopped_early: how many of the killed ones were stopped, or never needed, because others are better.
        not_needed: how many of these were never needed.
    """

    ended: int
    total: int
    counts: Mapping[TrialState, int]
    stopped_early: int = 0
    not_needed: int = 0


Event = Noticed | Reconciled | Planned | ArraySubmitted | JobsReleased | TrialsKeptBack | Progress
Tell = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Take an event and do nothing with it."""


def warn_of_notices(event: Event) -> None:
    """Log a notice as a warning of the logger ``slurmsweep``; do nothing with other events."""
    if isinstance(event, Noticed):
        import logging  # no command line needs it

        logging.getLogger("slurmsweep").warning(event.text)
