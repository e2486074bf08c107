"""Trials that ended at their first attempt, kept as columns: about 80 bytes each instead of a kilobyte of objects.

Nearly every trial of a large sweep is one of these, so a million of them fit where their objects would not, and their
columns are written to a file and read back as they are. Nothing is lost on the way: :meth:`Settled.get` gives a trial
equal to the one that was put.
"""

from __future__ import annotations

import math
import re
import sys
from array import array
from collections import Counter
from heapq import nsmallest
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.tail import AttemptId
from slurmsweep.state.trial import Attempt, JobSpan, Trial

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

_ENDED = [state for state in TrialState if state.has_ended()]

#: One byte a trial: 0 where it is not here, else the index of its state plus one.
_CODE = {state: number for number, state in enumerate(_ENDED, 1)}
_ABSENT = 0

#: Name and array type of each column; numbers that may be missing are doubles, with NaN for missing.
_COLUMNS = (
    ("code", "B"),
    ("place", "I"),
    ("job", "I"),
    ("pid", "q"),
    ("start", "q"),
    ("task", "q"),
    ("restart", "i"),
    ("token", "Q"),
    ("claimed", "d"),
    ("how", "I"),
    ("metric", "d"),
    ("seconds", "d"),
    ("cpu_seconds", "d"),
    ("max_rss_mb", "d"),
    ("ended", "d"),
)
_NO_TASK = -1

#: Columns of further metrics there may be; a sweep weighs two or three, and may adopt trials of another one.
_MOST_METRICS = 8

#: A trial this far ahead of the others, such as one adopted from another sweep, would leave columns of nothing.
_LARGEST_GAP = 4096

_TOKEN = re.compile("[0-9a-f]{16}")
_LARGEST = 2**31

T = TypeVar("T")
_Place = tuple[str, str, str, "str | None", "str | None", "int | None"]
_How = tuple[str, "int | None", "str | None", str, "str | None"]


class TrialIndex:
    """Columns, one row a trial number."""

    def __init__(self) -> None:
        self._columns: dict[str, array[Any]] = {name: array(kind) for name, kind in _COLUMNS}
        self._metrics: dict[str, array[float]] = {}  # further columns, made when the first trial has such a metric
        self._places = _Table[_Place]()
        self._jobs = _Table["str | None"]()
        self._hows = _Table[_How]()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, number: int) -> bool:
        codes = self._columns["code"]
        return 0 <= number < len(codes) and codes[number] != _ABSENT

    def put(self, trial: Trial) -> bool:
        """Take a trial in; False, and nothing done, where its story does not fit the columns."""
        attempt = trial.attempts.get(1)
        if attempt is None or attempt.owner is None or attempt.token is None or attempt.outcome is None:
            return False
        if not _is_plain(trial, attempt, attempt.owner, attempt.token) or trial.number > self._rows + _LARGEST_GAP:
            return False
        metrics = attempt.outcome.metrics
        if metrics is not None and not self._make_metrics(metrics):
            return False
        row = self._row(attempt.owner, attempt.token, attempt.claimed, attempt.outcome)
        self._make_row(trial.number)
        for column, value in zip(self._columns.values(), row, strict=True):
            column[trial.number] = value
        for name, further in self._metrics.items():
            further[trial.number] = math.nan if metrics is None else metrics.get(name, math.nan)
        self._count += 1
        return True

    def take(self, number: int) -> Trial:
        """Give a trial out: it is not here any more. Raises KeyError."""
        trial = self.get(number)
        self._columns["code"][number] = _ABSENT
        self._count -= 1
        return trial

    def get(self, number: int) -> Trial:
        """A copy of a trial. Raises KeyError."""
        if number not in self:
            raise KeyError(number)
        row = {name: column[number] for name, column in self._columns.items()}
        metrics = {name: m for name, column in self._metrics.items() if not math.isnan(m := column[number])}
        outcome = self._outcome(row, metrics or None)
        claimed = _optional(row["claimed"])
        attempt = Attempt(1, f"{row['token']:016x}", self._owner(row), claimed, outcome)
        return Trial(number, {1: attempt})

    def numbers(self) -> Iterator[int]:
        """All, ascending."""
        return (number for number, code in enumerate(self._columns["code"]) if code)

    def numbers_in(self, state: TrialState) -> Iterator[int]:
        """Those of one state, ascending: without touching the others."""
        codes, wanted = self._columns["code"].tobytes(), bytes([_CODE.get(state, 255)])
        number = codes.find(wanted)
        while number >= 0:
            yield number
            number = codes.find(wanted, number + 1)

    def nodes_of(self, state: TrialState) -> Counter[str]:
        """How many trials ended in that state on each of Slurm's nodes."""
        wanted = _CODE.get(state)
        places = Counter(
            place for code, place in zip(self._columns["code"], self._columns["place"], strict=True) if code == wanted
        )
        nodes: Counter[str] = Counter()
        for place, n in places.items():
            node = self._places.items[place][3]
            if node:
                nodes[node] += n
        return nodes

    def counts(self) -> dict[TrialState, int]:
        """How many of each state."""
        codes = self._columns["code"].tobytes()
        return {state: n for state, code in _CODE.items() if (n := codes.count(code))}

    def absent_below(self, end: int) -> Iterator[int]:
        """Numbers below ``end`` that are not here, ascending: without touching those that are."""
        codes = self._columns["code"].tobytes()
        number = codes.find(_ABSENT, 0, end)
        while number >= 0:
            yield number
            number = codes.find(_ABSENT, number + 1, end)
        yield from range(self._rows, end)

    def of_jobs(self, jobs: Collection[str]) -> Iterator[int]:
        """Trials whose owner was one of these Slurm jobs."""
        indices = {index for index, job in enumerate(self._jobs.items) if job in jobs and job is not None}
        if indices:
            for number, job in enumerate(self._columns["job"]):
                if job in indices and self._columns["code"][number]:
                    yield number

    def stays(self) -> Iterator[JobSpan]:
        """Of those that Slurm jobs ran; without making objects of them."""
        names = ("code", "job", "task", "restart", "place", "claimed", "seconds")
        rows = zip(*(self._columns[name] for name in names), strict=True)
        for number, (code, index, task, restart, place, claimed, seconds) in enumerate(rows):
            job = self._jobs.items[index] if code else None
            if job:
                begun = _optional(claimed) or 0.0
                ended = begun + (_optional(seconds) or 0.0)
                seat = self._places.items[place][5]
                yield JobSpan(
                    job, None if task == _NO_TASK else task, restart, seat, begun, ended, AttemptId(number, 1)
                )

    def times(self) -> tuple[float, float] | None:
        """Return the first and the last time of any claim or end; None without one. Makes no objects of trials."""
        rows = zip(*(self._columns[name] for name in ("code", "claimed", "ended")), strict=True)
        times = array("d", (t for code, *both in rows if code for t in both if t > 0))  # a missing one is NaN
        return (min(times), max(times)) if times else None

    def best(self, *, largest: bool) -> int | None:
        """The finished trial with the smallest or largest metric; the first of equal ones."""
        finished = _CODE[TrialState.FINISHED]
        worst = -math.inf if largest else math.inf
        codes, metrics = self._columns["code"], self._columns["metric"]
        values = [m if c == finished and m == m else worst for c, m in zip(codes, metrics)]  # noqa: B905, PLR0124
        if not values:
            return None
        found = max(values) if largest else min(values)
        number = values.index(found)
        return number if codes[number] == finished and metrics[number] == found else None

    def ranked(self, *, largest: bool, most: int | None = None) -> list[int]:
        """Finished trials with a metric, best first, equal ones by number; the ``most`` best of them."""
        finished, sign = _CODE[TrialState.FINISHED], -1 if largest else 1
        columns = zip(self._columns["code"], self._columns["metric"], count())
        found = ((sign * m, number) for code, m, number in columns if code == finished and m == m)  # noqa: PLR0124
        return [number for _, number in (sorted(found) if most is None else nsmallest(most, found))]

    def points(self, names: Sequence[str]) -> Iterator[tuple[int, tuple[float, ...]]]:
        """Finished trials, ascending, that have all of these of their metrics; with those, in that order."""
        if not names or any(name not in self._metrics for name in names):
            return
        finished = _CODE[TrialState.FINISHED]
        rows = zip(self._columns["code"], *(self._metrics[name] for name in names), strict=True)
        for number, (code, *values) in enumerate(rows):
            if code == finished and all(value == value for value in values):  # noqa: PLR0124 - not for NaN
                yield number, tuple(values)

    def unmeasured(self, *, of_metric: bool) -> Iterator[tuple[int, str]]:
        """Finished trials, ascending, that lack a number the sweep asks for (or its metric), with the reason."""
        reasons = {index: how[-1] for index, how in enumerate(self._hows.items) if how[-1] is not None}
        if not reasons:
            return
        finished = _CODE[TrialState.FINISHED]
        columns = zip(self._columns["code"], self._columns["how"], self._columns["metric"], strict=True)
        for number, (code, how, metric) in enumerate(columns):
            if code == finished and how in reasons and not (of_metric and metric == metric):  # noqa: PLR0124 - no NaN
                yield number, reasons[how]

    def dump(self) -> tuple[dict[str, Any], bytes]:
        """A description for JSON, and the bytes of the columns."""
        tables = {"places": self._places.items, "jobs": self._jobs.items, "hows": self._hows.items}
        described = {"rows": self._rows, "byteorder": sys.byteorder, "metrics": list(self._metrics), **tables}
        return described, b"".join(column.tobytes() for column in self._all_columns())

    @classmethod
    def load(cls, described: dict[str, Any], data: bytes) -> TrialIndex:
        """What :meth:`dump` gave, here or on such a machine. Anything else: ValueError, KeyError, TypeError."""
        if described["byteorder"] != sys.byteorder:
            raise ValueError("the columns are of another byte order")
        settled = cls()
        settled._metrics = {str(name): array("d") for name in described.get("metrics", ())}
        rows, start = described["rows"], 0
        for column in settled._all_columns():
            end = start + rows * column.itemsize
            column.frombytes(data[start:end])
            start = end
        if start != len(data):
            raise ValueError(f"{len(data)} bytes of columns instead of {start}")
        settled._places = _Table(tuple(item) for item in described["places"])
        settled._jobs = _Table(described["jobs"])
        settled._hows = _Table(tuple(item) for item in described["hows"])
        settled._count = rows - settled._columns["code"].tobytes().count(_ABSENT)
        return settled

    @property
    def _rows(self) -> int:
        return len(self._columns["code"])

    def _make_row(self, number: int) -> None:
        if number >= self._rows:
            missing = number + 1 - self._rows + self._rows // 16  # some to spare: growing is a copy
            for column in self._all_columns():
                column.frombytes(bytes(missing * column.itemsize))

    def _make_metrics(self, metrics: Mapping[str, float]) -> bool:
        """Have a column for each; False where they do not fit columns: none, odd ones, or too many."""
        new = metrics.keys() - self._metrics.keys()
        if not metrics or len(self._metrics) + len(new) > _MOST_METRICS or not all(map(_is_finite, metrics.values())):
            return False
        for name in sorted(new):
            self._metrics[name] = array("d", [math.nan]) * self._rows
        return True

    def _all_columns(self) -> list[array[Any]]:
        return [*self._columns.values(), *self._metrics.values()]

    def _row(self, owner: Owner, token: str, claimed: float | None, outcome: Outcome) -> tuple[Any, ...]:
        """In the order of the columns."""
        return (
            _CODE[outcome.state],
            self._places.index((owner.host, owner.boot, owner.pid_space, owner.node, owner.cluster, owner.seat)),
            self._jobs.index(owner.job),
            owner.pid,
            owner.start,
            _NO_TASK if owner.task is None else owner.task,
            owner.restart,
            int(token, 16),
            _number(claimed),
            self._hows.index((outcome.cause, outcome.exit_code, outcome.origin, outcome.by, outcome.no_metric)),
            _number(outcome.metric),
            _number(outcome.seconds),
            _number(outcome.cpu_seconds),
            _number(outcome.max_rss_mb),
            _number(outcome.ended),
        )

    def _owner(self, row: dict[str, Any]) -> Owner:
        host, boot, pid_space, node, cluster, seat = self._places.items[row["place"]]
        job = self._jobs.items[row["job"]]
        task = None if row["task"] == _NO_TASK else row["task"]
        return Owner(host, row["pid"], row["start"], boot, pid_space, node, cluster, job, task, row["restart"], seat)

    def _outcome(self, row: dict[str, Any], metrics: dict[str, float] | None) -> Outcome:
        cause, exit_code, origin, by, no_metric = self._hows.items[row["how"]]
        numbers = {name: _optional(row[name]) for name in ("metric", "seconds", "cpu_seconds", "max_rss_mb", "ended")}
        state = _ENDED[row["code"] - 1]
        return Outcome(state, cause, exit_code, metrics=metrics, origin=origin, by=by, no_metric=no_metric, **numbers)


class _Table(Generic[T]):
    """Distinct values by index: a million trials ran on few machines, and ended in few ways."""

    def __init__(self, items: Iterable[T] = ()) -> None:
        self.items = list(items)
        self._index = {item: number for number, item in enumerate(self.items)}

    def index(self, item: T) -> int:
        """Of an item, which is taken in where it is new."""
        number = self._index.setdefault(item, len(self.items))
        if number == len(self.items):
            self.items.append(item)
        return number


def _is_plain(trial: Trial, attempt: Attempt, owner: Owner, token: str) -> bool:
    """Whether the columns can hold the trial's whole story: one attempt that was claimed and ended, nothing odd."""
    if len(trial.attempts) != 1 or trial.allowed != 1 or trial.promised or attempt.void or attempt.rivals:
        return False
    return bool(_TOKEN.fullmatch(token)) and max(owner.pid, owner.start, owner.restart) < _LARGEST


def _is_finite(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _optional(value: float) -> float | None:
    return None if math.isnan(value) else value
