"""All trials of a sweep that records speak of, with one row of columns each, and the answer to every question on them.

A row is a summary of a trial: its state, and the newest attempt with its owner and outcome. Nearly every trial of a
large sweep was claimed once and ended once, or runs. Its row is its whole story: about 100 bytes instead of a kilobyte
of objects. So a million of them fit in memory, and the columns are written to a file and read back as they are. A trial
with a longer story is a text beside its row (:mod:`.stories`); the row is written anew when the story changes.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections import Counter
from collections.abc import Mapping
from heapq import nlargest, nsmallest
from itertools import accumulate, chain, compress, count, repeat
from operator import and_
from typing import TYPE_CHECKING, Any

from slurmsweep.state.fields import LATEST
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import NOT_NEEDED, STOPPED_EARLY, Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.shared_values import ROW_LIMIT, How, Place, Table, is_how, is_place, is_text
from slurmsweep.state.stories import Stories, is_plain, is_token
from slurmsweep.state.tail import AttemptId
from slurmsweep.state.trial import Attempt, JobSpan, Trial

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from slurmsweep.state.journal import Record

#: One byte a trial: 0 where no record speaks of it, else its state.
_CODE = {state: code for code, state in enumerate(TrialState, 1)}
_STATE = {code: state for state, code in _CODE.items()}
_ABSENT, _RUNNING, _FINISHED = 0, _CODE[TrialState.RUNNING], _CODE[TrialState.FINISHED]
_KILLED = _CODE[TrialState.KILLED]
_IS_FINISHED = bytes(code == _FINISHED for code in range(256))
_CODE_OF_END = {state.value: code for state, code in _CODE.items() if state.has_ended()}

#: Name and array type of each column; numbers that may be missing are doubles, with NaN for missing. The columns of
#: further metrics, ``metrics.<name>``, are made when the first trial has such a metric.
_COLUMNS = {
    "code": "B",
    "place": "I",
    "job": "I",
    "pid": "q",
    "start": "q",
    "task": "q",
    "restart": "i",
    "token": "Q",
    "claimed": "d",
    "how": "I",
    "metric": "d",
    "seconds": "d",
    "cpu_seconds": "d",
    "max_rss_mb": "d",
    "ended": "d",
}
_OF_CLAIMS = ("code", "place", "job", "pid", "start", "task", "restart", "token", "claimed")
_NUMBERS = ("metric", "seconds", "cpu_seconds", "max_rss_mb", "ended")
_METRICS = "metrics."

#: Columns that are made when the first trial has such a value: where the search learns.
_EXTREMES = ("lowest", "highest")
_BOUNDS: dict[str, tuple[float, float]] = dict.fromkeys(_NUMBERS, (0.0, float(LATEST)))
_BOUNDS |= dict.fromkeys(("metric", *_EXTREMES), (-sys.float_info.max, sys.float_info.max))
_NO_TASK = -1

#: Columns of further metrics there may be; a sweep weighs two or three, and may adopt trials of another one.
_MOST_METRICS = 8

#: A trial this far ahead of the others, such as one adopted from another sweep, would leave columns of nothing.
_LARGEST_GAP = 4096

#: Stories that are objects at a time: more of them are written into rows and texts first.
_MOST_OPENED = 1024


class TrialIndex(Mapping[int, Trial]):
    """Trials by number, ascending.

    A trial that is looked up may be a copy: to change one, :meth:`open` it. Going over all trials makes an object of
    each; the other methods do not.

    Args:
        end: no trial has this number or a higher one.
    """

    def __init__(self, end: float = math.inf) -> None:
        self.end = end
        self._use({name: array(kind) for name, kind in _COLUMNS.items()})
        self._places = Table[Place]()
        self._jobs = Table["str | None"]()
        self._hows = Table[How]()
        self._stories = Stories()
        self._opened: set[int] = set()  # stories whose row, if they have one, may be out of date

    def _use(self, columns: dict[str, array[Any]]) -> None:
        self._columns = columns
        self._of_claims = [columns[name] for name in _OF_CLAIMS]
        self._of_ends = [(name, columns[name], *_BOUNDS[name]) for name in (*_NUMBERS, *_EXTREMES) if name in columns]

    # trials ---------------------------------------------------------------------------------------------------------

    def __getitem__(self, number: int) -> Trial:
        found = self._stories.get(number)
        if found is None and number not in self:
            raise KeyError(number)
        return found or self._from_row(number)

    def __contains__(self, number: object) -> bool:
        if not isinstance(number, int):
            return False
        codes = self._columns["code"]
        return number in self._stories or (0 <= number < len(codes) and codes[number] != _ABSENT)

    def __iter__(self) -> Iterator[int]:
        return (number for number, code in self._rows("code") if code)

    def __len__(self) -> int:
        codes = self._codes()
        return len(codes) - codes.count(_ABSENT)

    def open(self, number: int) -> Trial:
        """Return the trial of that number, to be changed at once; a new one where no record spoke of it."""
        if number not in self._opened:
            if len(self._opened) >= _MOST_OPENED:
                self._write_rows()
            self._stories[number] = self[number] if number in self else Trial(number)
            self._opened.add(number)
        return self._stories[number]

    def stories(self) -> Iterator[Trial]:
        """Yield the trials that have more to tell than one attempt that runs or ended, by number."""
        self._write_rows()
        return (self._stories[number] for number in sorted(self._stories))

    def deleted(self) -> dict[int, int]:
        """Return by trial the attempts, up to this one, that a person took back; those trials only that have some."""
        self._write_rows()
        return self._stories.deleted

    def unsettled(self) -> list[Trial]:
        """Return the trials that run or wait, by number."""
        states = (TrialState.RUNNING, TrialState.PENDING)
        return [self[number] for number in sorted(n for state in states for n in self.in_state(state))]

    def take_claim(self, record: Record) -> bool:
        """Store the claim of a new trial as a row; return False, and do nothing, where that is no plain story.

        Makes no object: replay of a large journal is mostly this and :meth:`take_end`. It is no plain story either
        where a field is not what it should be (:mod:`slurmsweep.state.records` says what). A point that the claim keeps
        is not looked at.
        """
        codes, places, jobs, pids, starts, tasks, restarts, tokens, claims = self._of_claims
        try:
            number, get, token = record["t"], record["o"].get, record["k"]
            if record["a"] != 1 or number in self._stories or not is_token(token):
                return False
            pid, start, restart, task = get("pid", 0), get("start", 0), get("restart", 0), get("task")
            where = get("host", ""), get("boot", ""), get("pid_space", ""), get("node"), get("cluster")
            place = (*where, get("code"), get("submission"), get("seat"))
            job, at = get("job"), record.get("at")
            place_index, job_index = self._places.find(place), self._jobs.find(job)
            is_sound = (
                0 <= number < self.end
                and (number >= len(codes) or not codes[number])
                and (0 <= pid < ROW_LIMIT and 0 <= start < ROW_LIMIT and 0 <= restart < ROW_LIMIT)
                and (task is None or 0 <= task < ROW_LIMIT)
                and (at is None or 0 <= at <= LATEST)
                and (place_index is not None or is_place(place))
                and (job_index is not None or is_text(job))
            )
            if not is_sound or (number >= len(codes) and not self._make_row(number)):
                return False
            places[number] = self._places.index(place) if place_index is None else place_index
            jobs[number] = self._jobs.index(job) if job_index is None else job_index
            pids[number], starts[number], restarts[number] = pid, start, restart
            tasks[number] = _NO_TASK if task is None else task
            tokens[number], claims[number] = int(token, 16), _number(at)
        except (TypeError, KeyError, AttributeError):
            return False
        codes[number] = _RUNNING
        return True

    def take_end(self, record: Record) -> bool:
        """Store the end of a trial whose row is its whole story; return False, and do nothing, for any other."""
        codes = self._of_claims[0]
        try:
            number, get, token = record["t"], record["out"].get, record["k"]
            code, further = _CODE_OF_END.get(get("state")), get("metrics")
            how = get("cause", ""), get("exit_code"), get("origin"), get("by", "agent"), get("no_metric")
            how_index = self._hows.find(how)
            is_sound = (
                record["a"] == 1
                and number not in self._stories
                and 0 <= number < len(codes)
                and codes[number] == _RUNNING
                and code is not None
                and (token is None or type(token) is str)
                and (how_index is not None or is_how(how))
            )
            if not is_sound or (further is not None and not self._make_metrics(further)):
                return False
            if "lowest" not in self._columns and (get("lowest") is not None or get("highest") is not None):
                self._make_extremes()
            for name, column, least, most in self._of_ends:
                value = get(name)
                if value is None:
                    column[number] = math.nan
                elif least <= value <= most:
                    column[number] = value
                else:
                    return False
            self._columns["how"][number] = self._hows.index(how) if how_index is None else how_index
            for name, value in further.items() if further else ():
                self._columns[_METRICS + name][number] = value
        except (TypeError, KeyError, AttributeError):
            return False
        codes[number] = code
        return True

    # questions ------------------------------------------------------------------------------------------------------

    def counts(self) -> dict[TrialState, int]:
        """Return how many trials are in each state."""
        codes = self._codes()
        return {state: n for state, code in _CODE.items() if (n := codes.count(code))}

    def in_state(self, state: TrialState) -> Iterator[int]:
        """Yield the numbers of trials in one state, ascending: without touching the others."""
        return self._numbers_with(_CODE[state])

    def unknown_below(self, end: int) -> Iterator[int]:
        """Yield the numbers below ``end`` of which no record speaks, ascending: without touching the others."""
        self._write_rows()
        rows = self._rows_there
        yield from self._numbers_with(_ABSENT, min(end, rows))
        yield from (number for number in range(rows, end) if number not in self._stories)

    def of_jobs(self, jobs: Collection[str]) -> Iterator[Trial]:
        """Yield the trials of which an attempt was made by one of these jobs, those with longer stories first.

        On a service that gives each job of a submission an id of its own, the submission's name means all of them.
        """
        for trial in self.stories():
            owners = (a.owner for a in trial.attempts.values() if a.owner)
            if any(owner.job in jobs or owner.submission in jobs for owner in owners):
                yield trial
        indices = {index for index, job in enumerate(self._jobs.items) if job in jobs and job is not None}
        named = {index for index, (*_, name, _) in enumerate(self._places.items) if name in jobs and name is not None}
        for number, code, job, place in self._rows("code", "job", "place") if indices or named else ():
            if code and (job in indices or place in named) and number not in self._stories:
                yield self[number]

    def ways_to_end(self, states: Collection[TrialState]) -> Iterator[tuple[int, TrialState, str]]:
        """Yield the trials in these states, ascending, each with its state and the cause beside it."""
        self._write_rows()
        hows, far = self._columns["how"], dict(self._far())
        for number, state in sorted(chain(*(zip(self.in_state(state), repeat(state)) for state in states))):
            how = self._row(far[number])["how"] if number in far else hows[number]
            yield number, state, self._hows.items[how][0]

    def ended_since(self, moment: float) -> int:
        """Return how many trials have ended after a moment, seconds since the epoch."""
        return sum(map(float(moment).__lt__, self._column("ended")))

    def last_end(self) -> float | None:
        """Return when the last trial ended, of those whose newest attempt has; None without a time."""
        return max(filter((0.0).__lt__, self._column("ended")), default=None)  # a missing one is NaN

    def first_claim(self) -> float | None:
        """Return when the first of the newest attempts was claimed; None without a time."""
        return min(filter((0.0).__lt__, self._column("claimed")), default=None)  # a missing one is NaN

    def spans(self) -> Iterator[JobSpan]:
        """Yield the spans of all attempts that Slurm jobs made."""
        rows = self._rows("code", "job", "task", "restart", "place", "claimed", "seconds")
        for number, code, index, task, restart, place, claimed, seconds in rows:
            job = self._jobs.items[index] if code and number not in self._stories else None
            if job:
                begun = _optional(claimed) or 0.0
                lasted = 0.0 if code == _RUNNING else _optional(seconds) or 0.0
                *_, cluster, _, _, seat = self._places.items[place]
                element = None if task == _NO_TASK else task
                yield JobSpan(job, element, restart, seat, begun, begun + lasted, AttemptId(number, 1), cluster)
        for trial in self.stories():
            yield from trial.spans()

    def times(self) -> tuple[float, float] | None:
        """Return the first and the last time of any claim or end, seconds since the epoch; None without one."""
        of_rows = (time for _, code, *both in self._rows("code", "claimed", "ended") if code for time in both)
        attempts = [attempt for trial in self.stories() for attempt in trial.attempts.values()]
        of_stories = (time for a in attempts for time in (a.claimed, a.outcome.ended if a.outcome else None))
        times = array("d", (time for time in chain(of_rows, of_stories) if time and time > 0))  # a missing one is NaN
        return (min(times), max(times)) if times else None

    def nodes_of_finished(self) -> Counter[str]:
        """Return how many trials finished on each of Slurm's nodes."""
        places = Counter(place for _, code, place in self._rows("code", "place") if code == _FINISHED)
        nodes: Counter[str] = Counter()
        for place, n in places.items():
            node = self._places.items[place][3]
            if node:
                nodes[node] += n
        return nodes

    def code_versions(self) -> Counter[str]:
        """Return how many attempts found each version of the code, those that found one."""
        rows = self._rows("code", "place") if any(place[5] for place in self._places.items) else ()
        of_rows = Counter(place for number, state, place in rows if state and number not in self._stories)
        versions: Counter[str] = Counter()
        for place, n in of_rows.items():
            versions[self._places.items[place][5] or ""] += n
        for trial in self.stories():
            versions.update(a.owner.code or "" for a in trial.attempts.values() if a.owner)
        del versions[""]
        return versions

    def stopped_early(self) -> list[int]:
        """Return the numbers of the trials that were stopped early, or never needed, ascending."""
        return self._killed_by(self._early_ways())

    def not_needed(self) -> list[int]:
        """Return the numbers of the trials that never ran because they could not change the outcome, ascending."""
        return self._killed_by({index for index, how in enumerate(self._hows.items) if how[0] == NOT_NEEDED})

    def _killed_by(self, early: set[int]) -> list[int]:
        rows = self._rows("code", "how") if early else ()
        return [number for number, code, how in rows if code == _KILLED and how in early]

    def _early_ways(self) -> set[int]:
        """Return the indexes of the ways to end that are those of trials stopped early, or never needed."""
        self._write_rows()
        return {index for index, how in enumerate(self._hows.items) if how[0] in (STOPPED_EARLY, NOT_NEEDED)}

    def best(self, *, largest: bool) -> int | None:
        """Return the trial of :meth:`ranked` with the smallest or largest metric, the first of equals; else None."""
        return next(iter(self.ranked(largest=largest, most=1)), None)

    def ranked(self, *, largest: bool, most: int | None = None) -> list[int]:
        """Return finished trials with a metric, best first, equal ones by number; the ``most`` best of them.

        Those that were stopped early are among them with their last value, as in W&B.
        """
        measured = self._measured()
        metrics = list(compress(self._column("metric"), measured))
        numbers = compress(self._numbers(), measured)
        if most is not None and most < len(metrics):
            worst = (nlargest if largest else nsmallest)(most, metrics)[-1] if most else math.nan
            is_good = list(map(worst.__le__ if largest else worst.__ge__, metrics))
            metrics, numbers = list(compress(metrics, is_good)), compress(numbers, is_good)
        sign = -1 if largest else 1
        rows = sorted((sign * metric, number) for metric, number in zip(metrics, numbers, strict=True))
        return [number for _, number in rows[:most]]

    def valued(self) -> Iterator[tuple[int, float]]:
        """Yield the trials of :meth:`ranked` by number, each with its metric."""
        measured = self._measured()
        return zip(compress(self._numbers(), measured), compress(self._column("metric"), measured), strict=True)

    def best_so_far(self, *, largest: bool, most: int) -> list[float]:
        """Return the best metric among the trials of :meth:`ranked` up to each one, by the time at which they ended.

        Trials whose end has no time come first.

        Args:
            largest: the largest metric is the best.
            most: values at most: of many trials each value is of the next few.
        """
        best, measured = max if largest else min, self._measured()
        ends = list(compress(self._column("ended"), measured))
        if any(map(math.isnan, ends)):
            ends = [-math.inf if math.isnan(end) else end for end in ends]
        metrics = list(compress(self._column("metric"), measured))
        order = sorted(range(len(ends)), key=ends.__getitem__)  # quick: trials end nearly in their order
        known = list(map(metrics.__getitem__, order))
        size = max(1, -(-len(known) // most))
        return list(accumulate((best(known[n : n + size]) for n in range(0, len(known), size)), best))

    def _measured(self) -> bytes:
        """Return for each row 1 where its metric counts: it is a number, and the trial finished or was stopped early.

        A look at each of a million trials is worth avoiding: the codes are translated at once, and only where some
        metric is missing, which the sum of all shows, each is looked at.
        """
        codes = self._codes()
        counting = bytearray(codes.translate(_IS_FINISHED))
        if early := self._early_ways():
            hows = list(self._column("how"))
            for row in self._positions(codes, _KILLED):
                counting[row] = hows[row] in early
        if not math.isfinite(sum(compress(self._column("metric"), counting))):
            return bytes(map(and_, counting, map(math.isfinite, self._column("metric"))))
        return bytes(counting)

    def points(self, names: Sequence[str]) -> Iterator[tuple[int, tuple[float, ...]]]:
        """Yield finished trials, ascending, that have all of these of their metrics; with those, in that order."""
        self._write_rows()
        columns = [_METRICS + name for name in names]
        if not columns or any(name not in self._columns for name in columns):
            return
        for number, code, *values in self._rows("code", *columns):
            if code == _FINISHED and all(value == value for value in values):  # noqa: PLR0124 - not for NaN
                yield number, tuple(values)

    def unmeasured(self, *, of_metric: bool) -> Iterator[tuple[int, str]]:
        """Yield finished trials, ascending, that lack a number the sweep asks for (or its metric), with the reason."""
        rows = self._rows("code", "how", "metric")
        reasons = {index: how[-1] for index, how in enumerate(self._hows.items) if how[-1] is not None}
        for number, code, how, metric in rows if reasons else ():
            if code == _FINISHED and how in reasons and not (of_metric and metric == metric):  # noqa: PLR0124 - no NaN
                yield number, reasons[how]

    # on disk --------------------------------------------------------------------------------------------------------

    def dump(self) -> tuple[dict[str, Any], bytes]:
        """Return a description for JSON, and the bytes of the columns and of longer stories."""
        self._write_rows()
        tables = {"places": self._places.items, "jobs": self._jobs.items, "hows": self._hows.items}
        told, columns = self._stories.dump(), b"".join(column.tobytes() for column in self._columns.values())
        described = {"rows": self._rows_there, "byteorder": sys.byteorder, "columns": list(self._columns), **tables}
        return described | {"stories": len(told)}, columns + told

    @classmethod
    def load(cls, described: dict[str, Any], data: bytes | memoryview) -> TrialIndex:
        """Return what :meth:`dump` gave, here or on such a machine. Anything else: ValueError, KeyError, TypeError."""
        if described["byteorder"] != sys.byteorder:
            raise ValueError("the columns are of another byte order")
        index = cls()
        index._use({name: array(_COLUMNS.get(name, "d")) for name in described["columns"]})
        rows, start = described["rows"], 0
        for column in index._columns.values():
            end = start + rows * column.itemsize
            column.frombytes(data[start:end])
            start = end
        if start + described["stories"] != len(data):
            raise ValueError(f"{len(data)} bytes of columns instead of {start}")
        index._stories = Stories.load(bytes(data[start:]))
        index._places = Table(tuple(item) for item in described["places"])
        index._jobs = Table(described["jobs"])
        index._hows = Table(tuple(item) for item in described["hows"])
        return index

    # rows -----------------------------------------------------------------------------------------------------------

    @property
    def _rows_there(self) -> int:
        return len(self._columns["code"])

    def _rows(self, *names: str) -> Iterator[tuple[Any, ...]]:
        """Return number and these columns of every row, by number; of trials that are too far ahead for one, too."""
        self._write_rows()
        rows = zip(count(), *(self._columns[name] for name in names))
        far = [(number, self._row(trial)) for number, trial in self._far()]
        return chain(rows, [(number, *(row.get(name, math.nan) for name in names)) for number, row in far])

    def _column(self, name: str) -> Iterable[Any]:
        """Return one column of every row, as :meth:`_rows` has them."""
        self._write_rows()
        return chain(self._columns[name], [self._row(trial)[name] for _, trial in self._far()])

    def _numbers(self) -> Iterable[int]:
        """Return the number of the trial of every row, as :meth:`_rows` has them."""
        return chain(range(self._rows_there), [number for number, _ in self._far()])

    def _codes(self) -> bytes:
        """Return one byte for every row, as :meth:`_rows` has them: the state of its trial."""
        self._write_rows()
        return self._columns["code"].tobytes() + bytes(_CODE[trial.state] for _, trial in self._far())

    def _far(self) -> list[tuple[int, Trial]]:
        """Return the trials that have no row, by number."""
        rows = self._rows_there
        return [(number, self._stories[number]) for number in sorted(n for n in self._stories if n >= rows)]

    def _numbers_with(self, code: int, end: int = sys.maxsize) -> Iterator[int]:
        codes = self._codes()  # first: it may write rows
        rows, far = self._rows_there, [number for number, _ in self._far()]
        for position in self._positions(codes, code, end):
            yield position if position < rows else far[position - rows]

    @staticmethod
    def _positions(codes: bytes, code: int, end: int = sys.maxsize) -> Iterator[int]:
        wanted = bytes([code])
        position = codes.find(wanted, 0, end)
        while position >= 0:
            yield position
            position = codes.find(wanted, position + 1, end)

    def _make_row(self, number: int) -> bool:
        """Have a row for a trial; return False where it is too far ahead of the others."""
        rows = self._rows_there
        if number > rows + _LARGEST_GAP:
            return False
        if number >= rows:
            missing = number + 1 - rows + rows // 16  # some to spare: growing is a copy
            for column in self._columns.values():
                column.frombytes(bytes(missing * column.itemsize))
            for name in self._columns:
                if name.startswith(_METRICS):
                    self._columns[name][rows:] = array("d", [math.nan]) * missing
            self._opened.update(n for n in self._stories if rows <= n < rows + missing)
        return True

    def _make_metrics(self, metrics: Mapping[str, Any] | None) -> bool:
        """Have a column for each metric; return False where they do not fit columns: none, odd ones, or too many."""
        if metrics is None:
            return True
        new = [name for name in sorted(metrics) if _METRICS + name not in self._columns]
        others = len(_COLUMNS) + (len(_EXTREMES) if "lowest" in self._columns else 0)
        if len(self._columns) + len(new) > others + _MOST_METRICS:
            return False
        for name in new:
            self._columns[_METRICS + name] = array("d", [math.nan]) * self._rows_there
        return bool(metrics) and all(type(m) is float and math.isfinite(m) for m in metrics.values())

    def _make_extremes(self) -> None:
        """Have columns for the smallest and the largest value that trials logged."""
        missing = array("d", [math.nan]) * self._rows_there
        self._use({**self._columns, "lowest": missing, "highest": missing[:]})

    def _write_rows(self) -> None:
        """Write the rows of trials that were opened, which are objects no more."""
        opened, self._opened = self._opened, set()
        for number in sorted(opened):
            trial = self._stories.get(number)
            if trial is None:
                continue
            outcome = trial.outcome
            fits = self._make_metrics(outcome.metrics if outcome else None)
            if "lowest" not in self._columns and outcome and (outcome.lowest, outcome.highest) != (None, None):
                self._make_extremes()
            if self._make_row(number):
                row = self._row(trial)
                for name, column in self._columns.items():
                    column[number] = row.get(name, math.nan)
                if fits and is_plain(trial):
                    del self._stories[number]
            self._stories.close(number)
        if self._opened:  # by a row that was made beyond them
            self._write_rows()

    def _row(self, trial: Trial) -> dict[str, Any]:
        """Return the values of a trial's row by column: of its newest attempt."""
        current = trial.current or Attempt(0)
        owner, outcome = current.owner or Owner("", 0, 0, ""), current.outcome or Outcome(TrialState.RUNNING)
        where = owner.host, owner.boot, owner.pid_space, owner.node, owner.cluster
        place = (*where, owner.code, owner.submission, owner.seat)
        numbers = {name: _number(getattr(outcome, name)) for name in (*_NUMBERS, *_EXTREMES)}
        metrics: Mapping[str, Any] = outcome.metrics or {}
        further = {_METRICS + name: m for name, m in metrics.items() if isinstance(m, (int, float))}
        process = (0, 0, 0, 0)  # told by the story where the row does not tell it all
        if is_plain(trial):
            process = (owner.pid, owner.start, owner.restart, int(current.token or "", 16))
        return {
            "code": _CODE[trial.state],
            "place": self._places.index(place),
            "job": self._jobs.index(owner.job),
            **dict(zip(("pid", "start", "restart", "token"), process, strict=True)),
            "task": _NO_TASK if owner.task is None else owner.task,
            "claimed": _number(current.claimed),
            "how": self._hows.index((outcome.cause, outcome.exit_code, outcome.origin, outcome.by, outcome.no_metric)),
            **numbers,
            **further,
        }

    def _from_row(self, number: int) -> Trial:
        """Return the trial whose whole story is its row."""
        row = {name: column[number] for name, column in self._columns.items()}
        host, boot, pid_space, node, cluster, version, submission, seat = self._places.items[row["place"]]
        job, task = self._jobs.items[row["job"]], None if row["task"] == _NO_TASK else row["task"]
        process = (host, row["pid"], row["start"], boot, pid_space)
        owner = Owner(*process, node, cluster, job, task, row["restart"], seat, version, submission)
        outcome = None
        if row["code"] != _RUNNING:
            cause, exit_code, origin, by, no_metric = self._hows.items[row["how"]]
            numbers = {name: _optional(row[name]) for name in (*_NUMBERS, *_EXTREMES) if name in row}
            further = {
                n.removeprefix(_METRICS): m for n, m in row.items() if n.startswith(_METRICS) and not math.isnan(m)
            }
            outcome = Outcome(
                _STATE[row["code"]], cause, exit_code, metrics=further or None, origin=origin, by=by,
                no_metric=no_metric, **numbers,
            )  # fmt: skip
        attempt = Attempt(1, f"{row['token']:016x}", owner, _optional(row["claimed"]), outcome)
        return Trial(number, {1: attempt})


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _optional(value: float) -> float | None:
    return None if math.isnan(value) else value
