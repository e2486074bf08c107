"""Read the values of metrics that a training script logged: with the native client, or with the real wandb.

:class:`MetricsFollower` reads the metrics of a sweep while the script runs, and after it ended or died: what was
written counts. :func:`read_summary` reads the final values of all names.
"""

from __future__ import annotations

import json
import math
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.metrics.run_file import RecordReader, RunFile, is_marked_preempting, take
from slurmsweep.metrics.run_file import read as read_run_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from slurmsweep.metrics.external_runs import ExternalRuns
    from slurmsweep.state.paths import Layout
    from slurmsweep.state.tail import AttemptId

#: How wandb begins the names of run folders: offline and online.
RUN_FOLDERS = ("offline-run-", "run-")

#: The keys that ``define_metric(summary=...)`` makes.
_SUMMARY_KEYS = ("last", "mean", "min", "max", "first")

#: How the native client's row of ``mark_preempting`` begins.
_PREEMPTING_ROW = b'{"_preempting"'


class MetricReading(NamedTuple):
    """The state of one metric of one attempt.

    Attributes:
        value: the last logged value, or the one that ``define_metric(summary=...)`` selects; None where that is no
            finite number: a run that ended in NaN has no value, however good it was before.
        steps: how often a finite number was logged.
        source: ``native``, ``wandb``, or None where the script logged nothing.
    """

    value: float | None = None
    steps: int = 0
    source: str | None = None


class MetricsFollower:
    """Follower of metrics of one attempt, for one reading or for many while the script runs.

    Costs of a :meth:`read`: where the native client logs, one file is opened and only what was added is parsed. Where
    wandb logs, also the trial's run folders are listed, and the last block of its run file (32 KiB) is read again. Only
    where there is no run at all yet, the new part of the trial's log is searched for one. Memory does not grow with the
    number of steps.

    ``goals`` has ``minimize`` or ``maximize`` by name as logged (dots reach into nested values): it decides which of
    several summaries (``summary="min,max"``) counts.
    """

    def __init__(self, layout: Layout, attempt_id: AttemptId, goals: Mapping[str, str]) -> None:
        self._layout, self._attempt_id = layout, attempt_id
        self._goals = goals
        self._native: _NativeSource | None = None
        self._runs: dict[str, _RunSource] = {}
        self._external: ExternalRuns | None = None

    def read(self) -> dict[str, MetricReading]:
        """Return each metric so far: from the native client if it logged it, else from the newest wandb run that did.

        Raises OSError if a file that is there cannot be read.
        """
        history = self._layout.history(self._attempt_id)
        if self._native is None and os.path.isfile(history):
            self._native = _NativeSource(history, self._goals)
        native = self._native.read() if self._native else {}
        found = {name: reading for name, reading in native.items() if reading.steps}
        if len(found) == len(self._goals):
            return found
        files = runs_inside(self._layout, self._attempt_id)
        if not files:
            self._external = self._external or external_runs(self._layout, self._attempt_id)
            files = self._external.files()
        for path in reversed(files):
            source = self._runs.setdefault(path, _RunSource(path, self._goals))
            readings = source.read().items()
            found |= {name: r for name, r in readings if name not in found and (r.steps or r.value is not None)}
            if len(found) == len(self._goals):
                break
        none = MetricReading(source="wandb" if files else None)
        return {name: found.get(name) or native.get(name, none) for name in self._goals}

    @property
    def unseen(self) -> list[str]:
        """Places where wandb said that it writes runs, of those that :meth:`read` could not see."""
        return self._external.unseen if self._external else []


def read_summary(layout: Layout, attempt_id: AttemptId) -> dict[str, Any]:
    """Return the final values of an attempt by name, nested names joined by dots; while it runs, the values so far.

    They are the native client's if it logged anything, else those of the newest wandb run. Reads everything that was
    logged, so it is for attempts that have ended, or for one look at one attempt. Raises OSError.
    """
    path = layout.history(attempt_id)
    native = _native_summary(path) if os.path.isfile(path) else {}
    files = [] if native else run_files(layout, attempt_id)
    if not files:
        return native
    run = read_run_file(files[-1])
    logged: dict[str, Any] = {}
    for row in run.history:
        logged |= row
    return logged | run.summary


def said_preempting(layout: Layout, attempt_id: AttemptId) -> bool:
    """Return whether the attempt's script called ``mark_preempting``: it is about to be cut off.

    Reads everything that was logged, with the native client and with the real wandb. Raises OSError.
    """
    history = layout.history(attempt_id)
    if os.path.isfile(history):
        with open(history, "rb") as file:
            if any(line.startswith(_PREEMPTING_ROW) for line in file):
                return True
    return any(is_marked_preempting(path) for path in run_files(layout, attempt_id))


def run_files(layout: Layout, attempt_id: AttemptId) -> list[str]:
    """Return the wandb run files of a trial's newest attempt, oldest first.

    All attempts of a trial share its folder and one run id; those of this attempt were last written after its owner
    file was made. Both times are of one filesystem, and of one machine where that gives them. A first attempt has no
    earlier one to be told from. If the folder has none, they are those that wandb, in the trial's log, says it writes
    elsewhere.
    """
    return runs_inside(layout, attempt_id) or external_runs(layout, attempt_id).files()


def run_entries(layout: Layout, trial: int, kinds: tuple[str, ...] = RUN_FOLDERS) -> Iterator[os.DirEntry[str]]:
    """Yield the run files of all attempts of a trial, in no order, whose folders' names begin with one of ``kinds``."""
    runs = layout.runs(trial)
    try:
        names = os.listdir(runs)
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        if name.startswith(kinds):
            with os.scandir(os.path.join(runs, name)) as entries:
                yield from (entry for entry in entries if entry.name.endswith(".wandb") and entry.is_file())


def external_runs(layout: Layout, attempt_id: AttemptId) -> ExternalRuns:
    """Return a follower of the runs outside of the trial's folder that wandb names in the log of an attempt."""
    from slurmsweep.metrics.external_runs import ExternalRuns  # for the few scripts that choose another folder

    return ExternalRuns(layout, attempt_id)


def runs_inside(layout: Layout, attempt_id: AttemptId) -> list[str]:
    """Return the run files in the trial's folder that were written by this attempt, oldest first."""
    since = 0
    if attempt_id.attempt > 1:
        with suppress(FileNotFoundError):
            since = os.stat(layout.owner(attempt_id)).st_mtime_ns
    found = [(entry.stat().st_mtime_ns, entry.path) for entry in run_entries(layout, attempt_id.trial)]
    return [path for written, path in sorted(found) if written >= since]


class _Series:
    """The logged values of one name, and how a summary of them is read."""

    def __init__(self, name: str, goal: str) -> None:
        self.name = name
        self._goal = goal
        self._last: Any = None
        self._steps = 0

    def log(self, row: dict[str, Any]) -> None:
        value = reach(row, self.name)
        if value is not None:
            self._last = value
        if number(value) is not None:
            self._steps += 1

    def reading(self, summary: dict[str, Any], source: str) -> MetricReading:
        """Return the state of the metric by this summary; the last value where it has none (the run was cut off)."""
        value = reach(summary, self.name)
        if value is None:
            value = self._last
        elif isinstance(value, dict):  # {"min": 0.1}, or several of which the goal decides
            keys = ("best", "max" if self._goal == "maximize" else "min", *_SUMMARY_KEYS)
            value = next((value[key] for key in keys if key in value), None)
        return MetricReading(number(value), self._steps, source)


class NativeRows:
    """Rows of the native client's history file; each byte is read once.

    Attributes:
        summary: the newest one in the file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._offset = 0
        self.summary: dict[str, Any] = {}

    def new(self) -> Iterator[dict[str, Any]]:
        """Yield the rows that have become whole since the last call. Raises OSError."""
        with open(self._path, "rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # the script is writing it, or was killed while it did
                self._offset += len(line)
                row = history_row(line) or {}
                said = row.get("_summary")
                if isinstance(said, dict):
                    self.summary = said
                else:
                    yield row


class _NativeSource:
    """The history file of the native client."""

    def __init__(self, path: str, goals: Mapping[str, str]) -> None:
        self._rows = NativeRows(path)
        self._series = [_Series(name, goal) for name, goal in goals.items()]

    def read(self) -> dict[str, MetricReading]:
        for row in self._rows.new():
            for series in self._series:
                series.log(row)
        return {series.name: series.reading(self._rows.summary, "native") for series in self._series}


def history_row(line: bytes) -> dict[str, Any] | None:
    """Decode a line of the native client's history; None if it is torn, also if another process wrote on from it."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _native_summary(path: str) -> dict[str, Any]:
    """Return the summary in the history, else the last value of each name."""
    logged: dict[str, Any] = {}
    said: dict[str, Any] | None = None
    with open(path, "rb") as file:
        for line in file:
            row = history_row(line)
            if row is not None:
                said = row["_summary"] if isinstance(row.get("_summary"), dict) else said
                logged |= {name: value for name, value in row.items() if name != "_summary"}
    return logged if said is None else said


class RunRows:
    """Rows of a wandb run file, with the values of some names; each complete block is read once.

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


class _RunSource:
    """A wandb run file."""

    def __init__(self, path: str, goals: Mapping[str, str]) -> None:
        self._rows = RunRows(path, goals)
        self._series = [_Series(name, goal) for name, goal in goals.items()]

    def read(self) -> dict[str, MetricReading]:
        for row in self._rows.new():
            for series in self._series:
                series.log(row)
        return {series.name: series.reading(self._rows.summary, "wandb") for series in self._series}


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
