"""Read the values of metrics that a program logged: with the native client, with the real wandb, or without either.

What the native client logged counts before what wandb did, that before the program's own metrics file, and that before
what the program printed (:mod:`.told`).

All attempts of a trial are one run, as on W&B: the newest that logged a name has its last value, and ``min`` and
``max`` of a summary are those of all. :class:`MetricsFollower` reads the metrics of a sweep while the script runs, and
after it ended or died: what was written counts. :func:`read_summary` reads the final values of all names.
"""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from slurmsweep.metrics.run_file import RecordReader, RunFile, is_marked_preempting, take
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from slurmsweep.metrics.told import ToldRows
    from slurmsweep.metrics.trial_runs import TrialRuns
    from slurmsweep.state.paths import Layout

    #: What one file has, row by row, and the newest summary in it.
    Rows: TypeAlias = "NativeRows | RunRows | ToldRows"

#: The keys that ``define_metric(summary=...)`` makes.
_SUMMARY_KEYS = ("last", "mean", "min", "max", "first")
_AGGREGATES = {*_SUMMARY_KEYS, "best"}

#: How the native client's row of ``mark_preempting`` begins.
_PREEMPTING_ROW = b'{"_preempting"'

#: The key of its rows of values that the script sets in the summary itself (``client/history.py`` has the name, too).
SET = "_summary_set"


class MetricReading(NamedTuple):
    """The state of one metric of a trial, over its attempts.

    Attributes:
        value: the last logged value, or the one that ``define_metric(summary=...)`` selects; None where that is no
            finite number: a run that ended in NaN has no value, however good it was before.
        steps: how often a finite number was logged.
        source: ``native``, ``wandb``, ``file`` (the program's metrics file), ``output`` (what it printed), or None
            where the script logged nothing.
    """

    value: float | None = None
    steps: int = 0
    source: str | None = None


class _Reader(Protocol):
    def read_on(self) -> None:
        """Take in what was added to the file. Raises OSError."""


_R = TypeVar("_R", bound=_Reader)


class FollowedFiles(Generic[_R]):
    """The files in which the attempts of a trial log, each with a reader, in the order in which they count.

    A reader is made when its file is there. Histories of earlier attempts do not grow, and are read once.

    Args:
        layout: where the files are.
        attempt_id: the newest attempt.
        first: the first attempt that counts: a person may have deleted those before it.
        reader: makes the reader of a file from its rows.
        names: of the metrics that are read of wandb's runs, dotted where nested; all where there are none.
        is_over: the attempt has ended.
    """

    def __init__(  # noqa: PLR0913 - of which files, and what reads them
        self,
        layout: Layout,
        attempt_id: AttemptId,
        first: int,
        reader: Callable[[Rows], _R],
        names: Iterable[str] = (),
        *,
        is_over: bool,
    ) -> None:
        numbers = range(first, attempt_id.attempt + 1)
        self._histories = {number: layout.history(AttemptId(attempt_id.trial, number)) for number in numbers}
        self._native: dict[int, _R] = {}
        self._runs: dict[str, _R] = {}
        self._told: dict[str, list[_R]] = {}
        self._reader, self._names = reader, tuple(names)
        self._where, self._is_over = (layout, attempt_id, first), is_over
        self._found: TrialRuns | None = None

    def native(self) -> list[_R]:
        """Return the readers of the native client's histories, after they read what was added. Raises OSError."""
        newest = max(self._histories, default=0)
        for number, path in self._histories.items():
            is_new = number not in self._native and os.path.isfile(path)
            if is_new:
                self._native[number] = self._reader(NativeRows(path))
            if is_new or (number == newest and number in self._native):
                self._native[number].read_on()
        return [reader for _, reader in sorted(self._native.items())]

    def without_client(self) -> Iterator[tuple[str, list[_R]]]:
        """Yield ``wandb``, ``file`` and ``output``, each with its readers after they read what was added.

        What is printed is kept until its readers take it: take all three, where they are asked for again. Raises
        OSError.
        """
        if self._found is None:
            self._found = trial_runs(*self._where, is_over=self._is_over)
            for origin, by_attempt in (("file", self._found.files_of_metrics), ("output", self._found.printed)):
                self._told[origin] = [self._reader(rows) for rows in by_attempt.values()]
        paths = self._found.files()
        for path in paths:
            if path not in self._runs:
                self._runs[path] = self._reader(RunRows(path, self._names))
            self._runs[path].read_on()
        yield "wandb", [self._runs[path] for path in paths]
        for origin, readers in self._told.items():
            for reader in readers:
                reader.read_on()
            yield origin, readers

    @property
    def unseen(self) -> list[str]:
        """Places where wandb said that it writes runs, of those that cannot be seen from here."""
        return self._found.unseen if self._found else []


class MetricsFollower:
    """Follower of metrics of a trial, for one reading or for many while the script runs.

    Costs of a :meth:`read`: where the native client logs, one file is opened and only what was added is parsed. Where
    wandb logs, also the trial's run folders are listed, the last block of each run file that is still open (32 KiB) is
    read again, and what was added to the trial's log is searched for runs elsewhere. Files of earlier attempts are read
    once. Memory does not grow with the number of steps.

    Args:
        layout, attempt_id, first, is_over: as of :class:`FollowedFiles`.
        goals: ``minimize`` or ``maximize`` by name as logged (dots reach into nested values): it decides which of
            several summaries (``summary="min,max"``) counts.

    Attributes:
        files: that are read.
    """

    def __init__(
        self,
        layout: Layout,
        attempt_id: AttemptId,
        goals: Mapping[str, str],
        first: int = 1,
        *,
        is_over: bool = False,
    ) -> None:
        self._goals = goals
        self.files = FollowedFiles(layout, attempt_id, first, lambda rows: _Source(rows, goals), goals, is_over=is_over)

    def read(self) -> dict[str, MetricReading]:
        """Return each metric so far, from the first of the sources that logged it.

        Raises OSError if a file that is there cannot be read.
        """
        sources = self.files.native()
        native = self._over(sources, "native") if sources else {}
        found = {name: reading for name, reading in native.items() if reading.steps}
        if len(found) == len(self._goals):
            return found
        otherwise = native
        for origin, others in self.files.without_client():
            logged = self._over(others, origin if others else None)
            otherwise = otherwise or logged
            for name, reading in logged.items():
                is_set = origin == "wandb" and reading.value is not None  # in the summary, by the script itself
                if name not in found and (reading.steps or is_set):
                    found[name] = reading
        return {name: found.get(name) or otherwise[name] for name in self._goals}

    def _over(self, sources: Sequence[_Source], origin: str | None) -> dict[str, MetricReading]:
        readings = {}
        for name, goal in self._goals.items():
            parts = [source.part(name) for source in sources]
            value = _joined(parts, goal)
            if isinstance(value, dict):  # of several summaries, such as {"min": 0.1}, the goal decides
                keys = ("best", "max" if goal == "maximize" else "min", *_SUMMARY_KEYS)
                value = next((value[key] for key in keys if key in value), None)
            readings[name] = MetricReading(number(value), sum(part.steps for part in parts), origin)
        return readings


def read_summary(layout: Layout, attempt_id: AttemptId, first: int = 1) -> dict[str, Any]:
    """Return the final values of a trial by name, nested names joined by dots; while it runs, the values so far.

    They are those of the first source that has any: see the top of this module. Reads everything that its attempts
    from ``first`` on logged, so it is for trials that have ended, or for one look at one trial. Raises OSError.
    """
    files = FollowedFiles(layout, attempt_id, first, _Source, is_over=True)
    found = _summary_over(files.native())
    return found or next(filter(None, (_summary_over(sources) for _, sources in files.without_client())), {})


def _summary_over(sources: Sequence[_Source]) -> dict[str, Any]:
    names = dict.fromkeys(name for source in sources for name in source.names())
    values = {name: _joined([source.part(name) for source in sources], None) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def trial_runs(layout: Layout, attempt_id: AttemptId, first: int = 1, *, is_over: bool = False) -> TrialRuns:
    """Return a follower of the wandb runs of a trial."""
    from slurmsweep.metrics.trial_runs import TrialRuns  # scripts of the native client need none

    return TrialRuns(layout, attempt_id, first, is_over=is_over)


def said_preempting(layout: Layout, attempt_id: AttemptId) -> bool:
    """Return whether the attempt's script called ``mark_preempting``: it is about to be cut off.

    Reads everything that was logged, with the native client and with the real wandb. Raises OSError.
    """
    history = layout.history(attempt_id)
    if os.path.isfile(history):
        with open(history, "rb") as file:
            if any(line.startswith(_PREEMPTING_ROW) for line in file):
                return True
    return any(map(is_marked_preempting, trial_runs(layout, attempt_id, attempt_id.attempt, is_over=True).files()))


class _Part:
    """The values of one name in one file, and how a summary of them is read.

    Attributes:
        value: what the file's summary has; else what the native client's definitions ask for; else the last value that
            was logged. None where there is none.
        is_summary: the value is of a summary or of a definition.
        covers_earlier: it is of a summary of the native client, which counts what earlier attempts logged, too.
        steps: how often a finite number was logged.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._aggregates: dict[str, Any] = {}
        self._is_finite = True
        self.value: Any = None
        self.is_summary = self.covers_earlier = False
        self.steps = 0

    def log(self, row: dict[str, Any]) -> None:
        """Take in a row."""
        value = reach(row, self._name)
        if value is None:
            return
        known = self._aggregates
        known["last"], known["first"] = value, known.get("first", value)
        finite = number(value)
        if finite is not None:
            self.steps += 1
            known["min"], known["max"] = min(finite, known.get("min", finite)), max(finite, known.get("max", finite))
            known["mean"] = known.get("mean", 0.0) + (finite - known.get("mean", 0.0)) / self.steps
        elif isinstance(value, float):
            self._is_finite = False

    def sum_up(self, summary: dict[str, Any], definition: Mapping[str, Any] | None = None) -> None:
        """Set the value by the file's summary, else by the name's definition, else to the last one that was logged."""
        self.value = reach(summary, self._name)
        self.covers_earlier = definition is not None and self.value is not None
        self.is_summary = self.value is not None
        if self.value is None and self._aggregates:
            goal, words = (definition or {}).get("goal"), (definition or {}).get("summary") or ()
            told = {word: self.aggregate(word, goal) for word in words if word in _AGGREGATES}
            self.is_summary = bool(told)
            self.value = {word: value for word, value in told.items() if value is not None} or self._aggregates["last"]

    def aggregate(self, word: str, goal: str | None) -> Any:
        """Return an aggregate of the summary, else of what was logged: NaN, as wandb's, where one was not finite."""
        if isinstance(self.value, dict) and word in self.value:
            return self.value[word]
        if word not in ("last", "first") and not self._is_finite:
            return math.nan
        return self._aggregates.get({"best": "max" if goal == "maximize" else "min"}.get(word, word))


def _joined(parts: Sequence[_Part], goal: str | None) -> Any:
    """Return what the files of a run say of a name together, oldest first; None for nothing.

    The newest that says anything counts; its extremes are those of all files, as W&B's of a run that goes on. One that
    is no number stays: the run ended so. A definition holds for later files, of which a killed script wrote no summary.
    Without a ``goal`` it is not known what is best.
    """
    telling = [part for part in parts if part.value is not None]
    if not telling:
        return None
    newest = telling[-1]
    forms = [part.value for part in telling if part.is_summary and _is_aggregates(part.value)]
    if not forms or (newest.is_summary and not _is_aggregates(newest.value)):
        return newest.value
    result = {}
    for word in forms[-1]:
        told = [(part.aggregate(word, goal), part.steps) for part in telling]
        numbers = [(value, steps) for one, steps in told if (value := number(one)) is not None]
        result[word] = told[-1][0]
        if word == "first":
            result[word] = told[-1 if newest.covers_earlier else 0][0]
        elif word == "last" or number(result[word]) is None or (word == "best" and goal is None):
            continue
        elif word == "mean":
            total = sum(steps for _, steps in numbers)
            if total and not newest.covers_earlier:
                result[word] = sum(value * steps for value, steps in numbers) / total
        else:
            extreme = max if word == "max" or (word == "best" and goal == "maximize") else min
            result[word] = extreme(value for value, _ in numbers)
    return result


def _is_aggregates(said: Any) -> bool:
    return isinstance(said, dict) and said.keys() <= _AGGREGATES


class NativeRows:
    """Rows of the native client's history file; each byte is read once.

    Attributes:
        summary: the newest one in the file, and what the script set in it since, without names that were logged later.
        is_summed_up: nothing was logged after it, and the run wrote it whole.
        definitions: the newest arguments of ``define_metric`` by name, which may end in a star.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._offset = 0
        self.summary: dict[str, Any] = {}
        self.is_summed_up = False
        self.definitions: dict[str, dict[str, Any]] = {}

    def new(self) -> Iterator[dict[str, Any]]:
        """Yield the rows that have become whole since the last call. Raises OSError."""
        with open(self._path, "rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # the script is writing it, or was killed while it did
                self._offset += len(line)
                row = history_row(line) or {}
                said, defined = row.get("_summary"), row.get("_define")
                if isinstance(said, dict):
                    self.summary, self.is_summed_up = said, True
                elif isinstance(row.get(SET), dict):
                    self.summary = self.summary | row[SET]
                elif isinstance(defined, dict):
                    self.definitions[str(defined.get("name"))] = defined
                else:
                    if not self.summary.keys().isdisjoint(row):
                        self.summary = {name: value for name, value in self.summary.items() if name not in row}
                    self.is_summed_up = False
                    yield row

    def definition(self, name: str) -> dict[str, Any]:
        """Return the definition of a name; a longer beginning (``val*``) comes before a shorter one."""
        fitting = [stem for stem in self.definitions if stem.endswith("*") and name.startswith(stem[:-1])]
        return self.definitions.get(name) or self.definitions.get(max(fitting, key=len, default=""), {})


class _Source:
    """What one file holds of what a run logged: the values of some names, by default of all."""

    def __init__(self, rows: Rows, names: Iterable[str] | None = None) -> None:
        self._rows = rows
        self._is_of_all = names is None
        self._parts = {name: _Part(name) for name in names or ()}

    def names(self) -> Iterable[str]:
        """Return the names of which values are known."""
        return self._parts

    def part(self, name: str) -> _Part:
        """Return what is known of a name."""
        return self._parts.get(name) or _Part(name)

    def read_on(self) -> None:
        """Take in what was added to the file. Raises OSError."""
        for row in self._rows.new():
            self._know(row)
            for name in row if self._is_of_all else self._parts:
                self._parts[name].log(row)
        summary = self._rows.summary
        self._know(summary)
        native = self._rows if isinstance(self._rows, NativeRows) else None
        for name, part in self._parts.items():
            part.sum_up(summary, native.definition(name) if native else None)
            if native and native.is_summed_up and self._is_of_all:
                part.value = summary.get(name)  # what else was logged is not for the summary

    def _know(self, names: Iterable[str]) -> None:
        if self._is_of_all:
            self._parts |= {name: _Part(name) for name in names if name not in self._parts}


def history_row(line: bytes) -> dict[str, Any] | None:
    """Decode a line of the native client's history; None if it is torn, also if another process wrote on from it."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


class RunRows:
    """Rows of a wandb run file, with the values of some names or of all; each complete block is read once.

    Attributes:
        summary: the newest value of each of the names.
    """

    def __init__(self, path: str, names: Iterable[str]) -> None:
        self._records = RecordReader(path)
        # the first part of a dotted name is in the metric's own key, in that of a mapping around it, and in keys inside
        self._keys = sorted({name.partition(".")[0] for name in names})
        self._run = RunFile()
        self.summary = self._run.summary

    def new(self) -> Iterator[dict[str, Any]]:
        """Yield the rows that have become whole since the last call. Raises OSError."""
        for record in self._records.new():
            take(record, self._run, self._keys)
            yield from self._run.history
            self._run.history.clear()


def number(value: Any) -> float | None:
    """Return the value as a metric: a finite number and no boolean, as W&B counts; else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer beyond all floats
        return None


def reach(row: dict[str, Any], name: str) -> Any:
    """Return the value under a name, or under a dotted path of nested mappings; else what is inside, as a mapping."""
    if name in row:
        return row[name]
    first, dot, rest = name.partition(".")
    inner = row.get(first)
    if dot and isinstance(inner, dict):
        return reach(inner, rest)
    return {key[len(name) + 1 :]: value for key, value in row.items() if key.startswith(f"{name}.")} or None
