"""The training script's side: ``import slurmsweep`` instead of ``import wandb``, for what sweeps use of it.

Standard library only, and nothing of slurmsweep but the errors, so that importing it costs a script nothing. With no
sweep around it the script runs all the same: the configuration is what ``init`` was given, and nothing is written.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import stat
import sys
import time
from typing import TYPE_CHECKING, Any

from slurmsweep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HISTORY = "history.jsonl"

#: A string, or a non-finite number outside of strings, in the value of a parameters file.
_NON_FINITE = re.compile(r'"(?:[^"\\]|\\.)*"|-?\.(?:nan|inf)')
_WORDS = {".nan": "NaN", ".inf": "Infinity", "-.inf": "-Infinity"}

_SUMMARIES = ("last", "min", "max", "mean", "best", "first", "none", "copy")


class Config:
    """A run's configuration: attributes or items. Swept values are locked, as in wandb (``wandb_config.Config``).

    ``setdefaults`` and ``init(config=)`` never override a swept value; nested dictionaries are merged, the swept part
    wins.
    """

    def __init__(self, swept: Mapping[str, Any] | None = None) -> None:
        object.__setattr__(self, "_items", dict(swept or {}))
        object.__setattr__(self, "_swept", dict(swept or {}))

    def __getitem__(self, name: str) -> Any:
        return self._items[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if name in self._swept:
            _warn(f"Config item '{name}' was locked by 'sweep' (ignored update).")
        else:
            self._items[name] = value

    def __getattr__(self, name: str) -> Any:
        try:
            return self._items[name]
        except KeyError:
            raise AttributeError(
                f"the configuration has no {name!r}; it has {', '.join(self._items) or 'nothing'}"
            ) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return repr(self._items)

    def get(self, name: str, default: Any = None) -> Any:
        """The value, or ``default``."""
        return self._items.get(name, default)

    def keys(self) -> Any:
        """Names, so that ``dict(config)`` and ``**config`` work."""
        return self._items.keys()

    def items(self) -> Any:
        """Names and values."""
        return self._items.items()

    def as_dict(self) -> dict[str, Any]:
        """A copy."""
        return dict(self._items)

    def update(self, values: Any, allow_val_change: bool | None = None) -> None:
        """Set several values; swept ones are ignored with a warning."""
        for name, value in _as_mapping(values).items():
            if self._items.get(name) != value or name not in self._items:
                self[name] = value

    def setdefaults(self, values: Any) -> None:
        """Set those values that are not there yet. Nested dictionaries are merged."""
        for name, value in _as_mapping(values).items():
            self._items[name] = _merged(value, self._items[name]) if name in self._items else value


class Summary(dict[str, Any]):
    """Final values of a run: the last logged, or what ``define_metric`` asked for, or what the script sets."""


class Run:
    """One run. Usable as a context manager; made by :func:`init`.

    Attributes:
        config: see :class:`Config`.
        summary: see :class:`Summary`.
        id: ``<sweep>-<trial>``, the same over the attempts of a trial; empty outside a sweep.
        sweep_id: None outside a sweep.
        dir: the attempt's folder; None outside a sweep.
    """

    def __init__(self, config: Config, folder: str | None, **named: Any) -> None:
        self.config = config
        self.summary = Summary()
        self.dir = folder
        self.id = os.environ.get("WANDB_RUN_ID", "")
        self.sweep_id = os.environ.get("WANDB_SWEEP_ID")
        self.name = named.get("name") or self.id
        self.project = named.get("project") or os.environ.get("WANDB_PROJECT")
        self.entity = named.get("entity") or os.environ.get("WANDB_ENTITY")
        self.step = 0
        self._started = time.time()
        self._waiting: dict[str, Any] = {}
        self._defined: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._file = _open_history(folder)
        self._ended = False

    def __enter__(self) -> Run:  # noqa: PYI034 - typing.Self needs 3.11
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.finish(exit_code=1 if kind else 0)

    def log(self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        """Log values of one step; on disk for whoever reads the file when this returns, also if the script is killed.

        Args:
            data: by name; nested dictionaries are allowed.
            step: of the values; smaller than the current one: ignored with a warning, as in wandb.
            commit: False keeps the step open for further values; by default True, or with ``step`` False.
        """
        if step is not None and step < self.step:
            _warn(f"step {step} is less than the current step {self.step}: ignored")
            return
        if step is not None and step > self.step:
            self._write_step()
            self.step = step
        self._waiting.update({str(name): _plain(value) for name, value in data.items()})
        if commit or (commit is None and step is None):
            self._write_step()

    def define_metric(self, name: str, step_metric: str | None = None, summary: str | None = None, **_: Any) -> None:
        """Choose what the summary keeps of a metric: last (default), min, max, mean, first or none."""
        for word in (summary or "last").split(","):
            if word not in _SUMMARIES:
                raise ValueError(f"summary={word!r}: use one of {', '.join(_SUMMARIES)}")
            self._defined[name] = word

    def log_code(self, root: str = ".", *_: Any, **__: Any) -> None:
        """Copies nothing in this version: keep code in version control. Accepted so that scripts run unchanged."""

    def mark_preempting(self) -> None:
        """Accepted so that scripts run unchanged: the agent and Slurm know."""

    def finish(self, exit_code: int | None = None, quiet: bool | None = None) -> None:
        """Write what is left and the summary. Calling it twice is harmless; at the script's end it is called anyway."""
        if self._ended:
            return
        self._ended = True
        self._write_step()
        if self._file is not None:
            self._write({"_summary": {name: _plain(value) for name, value in self.summary.items()}})
            os.close(self._file)
            self._file = None

    def _write_step(self) -> None:
        if not self._waiting:
            return
        row, self._waiting = self._waiting, {}
        for name, value in row.items():
            self._summarise(name, value)
        now = time.time()
        self._write(row | {"_step": self.step, "_timestamp": round(now, 3), "_runtime": round(now - self._started, 3)})
        self.step += 1

    def _summarise(self, name: str, value: Any) -> None:
        before = self.summary.get(name)
        word = self._defined.get(name, "last")
        count = self._counts[name] = self._counts.get(name, 0) + 1
        if word == "none" or (word == "first" and count > 1):
            return
        if before is None or count == 1 or not isinstance(value, (int, float)) or isinstance(value, bool):
            self.summary[name] = value
        elif word == "mean":
            self.summary[name] = before + (value - before) / count
        elif word in ("min", "max"):
            self.summary[name] = (min if word == "min" else max)(before, value)
        else:
            self.summary[name] = value

    def _write(self, row: Mapping[str, Any]) -> None:
        """One line by one system call: a killed script leaves at most its last line torn."""
        if self._file is not None:
            data = (json.dumps(row) + "\n").encode()
            while data:
                data = data[os.write(self._file, data) :]


#: The run of this process; None before :func:`init` and after :func:`finish`.
_current: Run | None = None


def init(config: Any = None, project: str | None = None, entity: str | None = None, **named: Any) -> Run:
    """Begin the run: configuration from the sweep, defaults from ``config``.

    Drop-in for ``wandb.init`` as sweeps use it; arguments without a meaning here are accepted.

    Args:
        config: defaults: a mapping or an ``argparse.Namespace``. Swept values win.
        project: kept for the run; W&B's settings are not used otherwise.
        entity: likewise.
        named: ``name`` is kept; others are accepted and have no effect.

    Raises:
        UsageError: the parameters file of the sweep cannot be read.
    """
    global _current
    if _current is not None:
        _current.finish()
    merged = Config(_swept_parameters())
    if config is not None:
        merged.setdefaults(config)
    _current = Run(merged, os.environ.get("SLURMSWEEP_ATTEMPT_DIR"), project=project, entity=entity, **named)
    return _current


def log(data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
    """Log values of one step of the current run: :meth:`Run.log`."""
    current().log(data, step, commit)


def define_metric(name: str, **named: Any) -> None:
    """Choose what the summary keeps: :meth:`Run.define_metric`."""
    current().define_metric(name, **named)


def log_code(root: str = ".", **named: Any) -> None:
    """See :meth:`Run.log_code`."""
    current().log_code(root, **named)


def finish(exit_code: int | None = None, quiet: bool | None = None) -> None:
    """End the current run, if there is one."""
    global _current
    if _current is not None:
        _current.finish(exit_code, quiet)
        _current = None


def current() -> Run:
    """The run of this process. Raises UsageError before :func:`init`."""
    if _current is None:
        raise UsageError("call slurmsweep.init() first")
    return _current


def __getattr__(name: str) -> Any:
    """``config``, ``summary`` and ``run`` are those of the current run."""
    if name == "run":
        return _current
    if name in ("config", "summary"):
        return getattr(current(), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@atexit.register
def _finish_at_exit() -> None:
    finish()


def _swept_parameters() -> dict[str, Any]:
    """The parameters the agent wrote for this trial; none outside a sweep."""
    path = os.environ.get("WANDB_SWEEP_PARAM_PATH")
    if not path:
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            return parse_parameters(file.read())
    except (OSError, ValueError) as error:
        raise UsageError(f"the sweep's parameters cannot be read from {path}: {error}") from error


def parse_parameters(text: str) -> dict[str, Any]:
    """Names and values of a parameters file as the agent writes it. Raises ValueError for another shape."""
    params = {}
    name = None
    for line in text.split("\n"):
        if line.startswith("  value: ") and name is not None:
            finite = _NON_FINITE.sub(lambda found: _WORDS.get(found[0], found[0]), line[len("  value: ") :])
            params[name] = json.loads(finite)
            name = None
        elif line and not line.startswith("wandb_version:"):
            if not line.endswith(":") or line[0] == " ":
                raise ValueError(f"not a line that slurmsweep writes: {line!r}")
            name = json.loads(line[:-1]) if line[0] == '"' else line[:-1]
    return params


def _open_history(folder: str | None) -> int | None:
    """The history file of this attempt; None outside a sweep, and in all processes of a job but the first."""
    if folder is None or _rank() > 0:
        return None
    path = os.path.join(folder, _HISTORY)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    if os.stat(folder).st_mode & stat.S_IWGRP:  # a sweep that a group shares
        os.fchmod(descriptor, 0o660)
    return descriptor


def _rank() -> int:
    """Of this process among those of its trial (torchrun's RANK, srun's SLURM_PROCID); 0 where there is one."""
    for name in ("RANK", "SLURM_PROCID"):
        if os.environ.get(name, "").isdecimal():
            return int(os.environ[name])
    return 0


def _as_mapping(values: Any) -> Mapping[str, Any]:
    """A mapping, or the attributes of an ``argparse.Namespace`` and the like."""
    return dict(values) if hasattr(values, "keys") else dict(vars(values))


def _merged(default: Any, value: Any) -> Any:
    """``value``, with what only ``default`` has where both are dictionaries."""
    if isinstance(default, dict) and isinstance(value, dict):
        both = {key: _merged(default[key], value[key]) if key in default else value[key] for key in value}
        return both | {key: item for key, item in default.items() if key not in value}
    return value


def _plain(value: Any) -> Any:
    """A value as JSON can keep it: numpy scalars and tensors of one element by ``item()``, the rest by its text.

    NaN and infinity are written as Python's json does, ``NaN`` and ``Infinity``, which its reader takes back.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    try:
        item = value.item()
    except (AttributeError, ValueError, RuntimeError, TypeError):
        return f"{type(value).__name__}: {value}"
    return item if isinstance(item, (bool, int, float, str)) else str(item)


def _warn(message: str) -> None:
    print(f"slurmsweep: WARNING {message}", file=sys.stderr)
