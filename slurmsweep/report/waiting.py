"""Why jobs wait, as lines for people and as a document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Reasons that are shown.
_REASONS = 4


class WaitingReason(NamedTuple):
    """Jobs that wait for the same reason.

    Attributes:
        reason: the scheduler's own words.
        why: what they mean; empty where that is not known.
        help: what would help; ``{sweep}`` stands for the sweep's name in a command. Empty where only time helps.
        is_stuck: no time helps: as they are these jobs, or what they need, never start.
        jobs: how many.
        first: the first of them, ``123_4``.
        starts: when the first of them is expected to start, ISO 8601 in local time; empty where that is not known.
    """

    reason: str
    why: str
    help: str
    is_stuck: bool
    jobs: int
    first: str
    starts: str = ""

    @property
    def meaning(self) -> str:
        """Why the jobs wait, with the scheduler's own words, or these alone."""
        return f"{self.why} ({self.reason})" if self.why else self.reason

    def words(self, sweep: str) -> str:
        """Return one line, ``sweep`` being the name in commands."""
        jobs = f"{self.jobs} jobs ({self.first} ...)" if self.jobs > 1 else f"1 job ({self.first})"
        verb = ("never start as they are" if self.jobs > 1 else "never starts as it is") if self.is_stuck else ""
        verb = verb or ("wait" if self.jobs > 1 else "waits")
        when = f"; the first is expected to start at {self.starts.replace('T', ' ')}" if self.starts else ""
        return f"{jobs} {verb}: {self.meaning}{when}{self.help and '; '}{self._help(sweep)}"

    def to_json(self, sweep: str) -> dict[str, Any]:
        """Return the document of one reason."""
        return self._asdict() | {"help": self._help(sweep), "starts": self.starts or None}

    def _help(self, sweep: str) -> str:
        return self.help.replace("{sweep}", sweep)


def waiting_words(reasons: Sequence[WaitingReason], sweep: str) -> list[str]:
    """Return a line for each of the first reasons, as :meth:`WaitingReason.words`."""
    rest = sum(reason.jobs for reason in reasons[_REASONS:])
    more = [f"{rest} more wait for other reasons: `slurmsweep status {sweep} --json` has each"] if rest else []
    return [*(reason.words(sweep) for reason in reasons[:_REASONS]), *more]
