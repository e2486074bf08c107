"""The values of metrics, from what the training script left: the native client's history, or a wandb run.

Read while the script runs and after it ended or died: what was written counts.
"""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.metrics.run_file import RecordReader, RunFile, take

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from slurmsweep.metrics.external_runs import RunsElsewhere
    from slurmsweep.state.paths import Layout
    from slurmsweep.state.tail import AttemptId

#: How wandb begins the names of run folders: offline and online.
RUN_FOLDERS = ("offline-run-", "run-")


#: What ``define_metric(summary=...)`` makes keys of.
_SUMMARY_WORDS = ("last", "mean", "min", "max", "first")


class MetricReading(NamedTuple):
    """What is known of a metric.

    Attributes:
        value: the summary's: last logged, or as ``define_metric(summary=...)`` says; None where that is no finite
            number: a run that ended in NaN has no value, however good it was before.
        steps: how often a finite number was logged.
        source: ``native``, ``wandb``, or None where the script logged nothing.
    """

    value: float | None = None
    steps: int = 0
    source: str | None = None


class MetricsFollower:
    """Follows metrics of one attempt. Reads only what is new since the last time, so it may be asked often.

    Args:
        layout: of the sweep.
        attempt_id: trial and attempt.
        goals: by name as logged (dots reach into nested values), ``minimize`` or ``maximize``: which of several
            summaries (``summary="min,max"``) counts.
    """

    def __init__(self, layout: Layout, attempt_id: AttemptId, goals: Mapping[str, str]) -> None:
        self._layout, self._slot = layout, attempt_id
        self._goals = goals
        self._native: _NativeSource | None = None
        self._runs: dict[str, _RunSource] = {}
        self._elsewhere: RunsElsewhere | None = None

    def read(self) -> dict[str, MetricReading]:
        """Each metric so far: the native client's where it logged it, else that of the newest wandb run that did.

        Raises:
            OSError: a file that is there cannot be read.
        """
        native = self._read_native()
        found = {name: reading for name, reading in native.items() if reading.steps}
        if len(found) == len(self._goals):
            return found
        files = _runs_inside(self._layout, self._slot) or self._runs_elsewhere()
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
        """Where wandb said its runs are, of those that :meth:`read` could not see."""
        return self._elsewhere.unseen if self._elsewhere else []

    def _runs_elsewhere(self) -> list[str]:
        self._elsewhere = self._elsewhere or runs_elsewhere(self._layout, self._slot)
        return self._elsewhere.files()

    def _read_native(self) -> dict[str, MetricReading]:
        path = self._layout.history(self._slot)
        if self._native is None and os.path.isfile(path):
            self._native = _NativeSource(path, self._goals)
        return self._native.read() if self._native else {}


def run_files(layout: Layout, attempt_id: AttemptId) -> list[str]:
    """The wandb run files of a trial's newest attempt, oldest first.

    All attempts of a trial share its folder and one run id; those of this attempt were last written after its owner
    file was made. Both times are of one filesystem, and of one machine where that gives them. A first attempt has no
    earlier one to be told from. Where there are none in the folder they are those that wandb said, in the trial's log,
    it writes elsewhere.
    """
    return _runs_inside(layout, attempt_id) or runs_elsewhere(layout, attempt_id).files()


def _runs_inside(layout: Layout, attempt_id: AttemptId) -> list[str]:
    since = _made(layout.owner(attempt_id)) if attempt_id.attempt > 1 else 0
    found = [(entry.stat().st_mtime_ns, entry.path) for entry in run_entries(layout, attempt_id.trial)]
    return [path for written, path in sorted(found) if written >= since]


def runs_elsewhere(layout: Layout, attempt_id: AttemptId) -> RunsElsewhere:
    """Follows what wandb says in the log of an attempt of runs outside of the trial's folder."""
    from slurmsweep.metrics.external_runs import RunsElsewhere  # for the few scripts that choose another folder

    return RunsElsewhere(layout, attempt_id)


def _made(path: str) -> int:
    """When a file was written, in ns; 0 where there is none."""
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return 0


def run_entries(layout: Layout, trial: int, kinds: tuple[str, ...] = RUN_FOLDERS) -> Iterator[os.DirEntry[str]]:
    """The run files of all attempts of a trial, in no order, whose folders' names begin with one of ``kinds``."""
    runs = layout.runs(trial)
    try:
        names = os.listdir(runs)
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        if name.startswith(kinds):
            with os.scandir(os.path.join(runs, name)) as entries:
                yield from (entry for entry in entries if entry.name.endswith(".wandb") and entry.is_file())


class _Series:
    """What has been logged under a name, and what the summary says of it."""

    def __init__(self, name: str, goal: str) -> None:
        self.name = name
        self._goal = goal
        self._last: Any = None
        self._steps = 0

    def log(self, row: dict[str, Any]) -> None:
        value = reach(row, self.name)
        if value is not None:
            self._last = value
            self._steps += number(value) is not None

    def reading(self, summary: dict[str, Any], source: str) -> MetricReading:
        """A run that was cut off may have no summary: then the last value counts."""
        said = reach(summary, self.name)
        value = self._last if said is None else self._chosen(said)
        return MetricReading(number(value), self._steps, source)

    def _chosen(self, said: Any) -> Any:
        """A summary's value: of ``{"min": 0.1}`` the only one there is, of several the one that fits the goal."""
        if not isinstance(said, dict):
            return said
        words = ("best", "max" if self._goal == "maximize" else "min", *_SUMMARY_WORDS)
        return next((said[word] for word in words if word in said), None)


class _NativeSource:
    """The history file of the native client, read on from where it was read to."""

    def __init__(self, path: str, goals: Mapping[str, str]) -> None:
        self._path = path
        self._offset = 0
        self._series = [_Series(name, goal) for name, goal in goals.items()]
        self._summary: dict[str, Any] = {}

    def read(self) -> dict[str, MetricReading]:
        for row in self._new_rows():
            said = row.get("_summary")
            if isinstance(said, dict):
                self._summary = said
                continue
            for series in self._series:
                series.log(row)
        return {series.name: series.reading(self._summary, "native") for series in self._series}

    def _new_rows(self) -> Iterator[dict[str, Any]]:
        """Whole lines; the last one of a script that was killed while writing it has no end."""
        with open(self._path, "rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                row = history_row(line)
                if row is not None:
                    yield row


def history_row(line: bytes) -> dict[str, Any] | None:
    """A line of the native client's history; None for one that is torn, also where another process wrote on from it."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


class _RunSource:
    """A wandb run file, read on from where it was read to."""

    def __init__(self, path: str, goals: Mapping[str, str]) -> None:
        self._records = RecordReader(path)
        # of a metric's key, of a mapping around it, and of keys inside it
        self._about = sorted({name.partition(".")[0] for name in goals})
        self._series = [_Series(name, goal) for name, goal in goals.items()]
        self._run = RunFile()

    def read(self) -> dict[str, MetricReading]:
        for record in self._records.new():
            take(record, self._run, self._about)
            for row in self._run.history:
                for series in self._series:
                    series.log(row)
            self._run.history.clear()
        return {series.name: series.reading(self._run.summary, "wandb") for series in self._series}


def number(value: Any) -> float | None:
    """The value as a metric: a finite number and no boolean, as W&B counts; else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer beyond all floats
        return None


def reach(row: dict[str, Any], name: str) -> Any:
    """The value under a name, or under a dotted path of nested mappings; else what is inside it, as a mapping."""
    if name in row:
        return row[name]
    first, dot, rest = name.partition(".")
    inner = row.get(first)
    if dot and isinstance(inner, dict):
        return reach(inner, rest)
    return {key[len(name) + 1 :]: value for key, value in row.items() if key.startswith(f"{name}.")} or None
