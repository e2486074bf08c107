"""Trials whose story a row does not hold, each as a text: a third of what its objects take.

A sweep with rungs has very many of them: every trial that goes on has several attempts.
"""

from __future__ import annotations

import json
import re
from collections.abc import MutableMapping
from typing import TYPE_CHECKING

from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.shared_values import ROW_LIMIT
from slurmsweep.state.trial import Attempt, Trial

if TYPE_CHECKING:
    from collections.abc import Iterator

is_token = re.compile("[0-9a-f]{16}").fullmatch


class Stories(MutableMapping[int, Trial]):
    """Trials by number. One that is put here stays the object that it is until :meth:`close`.

    A trial that was closed is a new object each time that it is looked up.

    Attributes:
        deleted: of trials of which a person took attempts back, as far as they are closed: up to which attempt.
    """

    def __init__(self) -> None:
        self._kept: dict[int, Trial | bytes] = {}  # until it is closed the object, then the text
        self.deleted: dict[int, int] = {}

    def __getitem__(self, number: int) -> Trial:
        kept = self._kept[number]
        return kept if isinstance(kept, Trial) else _from_text(number, kept)

    def __setitem__(self, number: int, trial: Trial) -> None:
        self._kept[number] = trial

    def __delitem__(self, number: int) -> None:
        del self._kept[number]
        self.deleted.pop(number, None)

    def __contains__(self, number: object) -> bool:
        return number in self._kept

    def __iter__(self) -> Iterator[int]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def close(self, number: int) -> None:
        """Keep a trial as its text from now on: a change of the object that it was is lost."""
        trial = self._kept.get(number)
        if isinstance(trial, Trial):
            self._kept[number] = _to_text(trial)
            if trial.deleted:
                self.deleted[number] = trial.deleted

    def dump(self) -> bytes:
        """Return all of them as bytes; they are closed first."""
        for number in self._kept:
            self.close(number)
        return b"".join(b"%d %s\n" % item for item in self._kept.items())

    @classmethod
    def load(cls, data: bytes) -> Stories:
        """Return what :meth:`dump` gave. Anything else: ValueError, KeyError, TypeError, IndexError."""
        stories = cls()
        for line in data.splitlines():
            number, _, text = line.partition(b" ")
            stories._kept[int(number)] = text
            _, deleted, *_ = json.loads(text)
            if deleted:
                stories.deleted[int(number)] = deleted
        return stories


def is_plain(trial: Trial) -> bool:
    """Return whether a row can hold the whole story: one attempt that was claimed, and runs or ended; nothing odd."""
    if len(trial.attempts) != 1 or trial.allowed != 1 or trial.deleted or trial.promised:
        return False
    attempt = trial.attempts.get(1)
    if attempt is None or attempt.owner is None or attempt.token is None or attempt.void or attempt.rivals:
        return False
    owner, outcome = attempt.owner, attempt.outcome
    if not is_token(attempt.token) or max(owner.pid, owner.start, owner.restart) >= ROW_LIMIT:
        return False
    return outcome is None or outcome.state.has_ended()


def _to_text(trial: Trial) -> bytes:
    attempts = [
        [
            a.number,
            a.token,
            a.owner,
            a.claimed,
            a.outcome and (a.outcome.state.value, *a.outcome[1:]),
            a.void,
            a.rivals,
        ]
        for a in trial.attempts.values()
    ]
    return json.dumps([trial.allowed, trial.deleted, trial.promised, attempts], separators=(",", ":")).encode()


def _from_text(number: int, text: bytes) -> Trial:
    allowed, deleted, promised, rows = json.loads(text)
    attempts = [
        Attempt(n, token, owner and Owner(*owner), claimed, end and Outcome(TrialState(end[0]), *end[1:]), void, rivals)
        for n, token, owner, claimed, end, void, rivals in rows
    ]
    return Trial(number, {attempt.number: attempt for attempt in attempts}, allowed, deleted, promised)
