"""Sweeps whose trials have run, made without running them: records straight in the journal, as agents write them."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from slurmsweep.state.journal import encode
from slurmsweep.state.manifest import Manifest
from slurmsweep.state.owner import Owner
from slurmsweep.state.store import SweepStore
from slurmsweep.sweepfile.config import check

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO


def new_sweep(root: Path, document: dict[str, Any], trials: int | None) -> SweepStore:
    """Return a sweep in a folder that is there, with this content of its file; none of its trials has started."""
    config = check(document, "x").config
    return SweepStore.create(str(root), Manifest("abcd1234", config, trials, str(root), "x", time.time(), "0"))


def owner(number: int, cluster: str | None = None, job: str | None = None, task: int | None = None) -> Owner:
    """Return the agent of a trial on one of forty nodes."""
    return Owner(f"node{number % 40}", 1000 + number % 1000, 5, "boot", "", f"n{number % 40}", cluster, job, task)


def owner_in_array(number: int) -> Owner:
    """Return the agent of a trial in one of the arrays of a thousand jobs, each of which runs one trial."""
    return owner(number, "c", str(100 + number // 1000), number % 1000)


class Records:
    """The records of one sweep, each with the head that it has in a journal."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sequence = self._begun = 0
        self._counts: Counter[str] = Counter()

    def write(self, op: str, **fields: Any) -> None:
        """Append a record of a kind."""
        self._sequence += 1
        counts = {state: count for state, count in self._counts.items() if count}
        self._file.write(encode({"op": op, **fields, "h": {"s": self._sequence, "n": self._begun, "c": counts}}))

    def claim(self, number: int, owner: Owner, at: float, *, attempt: int = 1, **fields: Any) -> None:
        """Append the claim of a trial; one that runs again finished before."""
        self._begun = max(self._begun, number + 1)
        self._counts["finished"] -= attempt > 1
        self._counts["running"] += 1
        self.write("claim", t=number, a=attempt, k=_token(number, attempt), o=owner.to_json(), at=at, **fields)

    def end(self, number: int, outcome: dict[str, Any], *, attempt: int = 1) -> None:
        """Append the end of a trial that runs."""
        self._counts["running"] -= 1
        self._counts[outcome["state"]] += 1
        self.write("end", t=number, a=attempt, k=_token(number, attempt), out=outcome)


def _token(number: int, attempt: int) -> str:
    return f"{number:012x}{attempt:04x}"


@contextmanager
def records_of(journal: str | Path) -> Iterator[Records]:
    """Yield the records of a journal that has none yet."""
    with open(journal, "ab") as file:
        yield Records(file)
