"""``slurmsweep.Api``: look at sweeps from Python, as ``wandb.Api`` does at W&B's. Reads only.

Source of the names and their meanings: ``wandb.apis.public.sweeps.Sweep`` and ``runs.Run`` (0.31.0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from slurmsweep.api.console import note
from slurmsweep.api.naming import known, sweep_name
from slurmsweep.control.session import Session
from slurmsweep.control.snapshot import look_without_scheduler
from slurmsweep.errors import NotFoundError, UsageError
from slurmsweep.metrics.history import history
from slurmsweep.metrics.reported import read_summary
from slurmsweep.report.summary import SweepSummary, TrialRow
from slurmsweep.state import view_cache
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import AttemptId
from slurmsweep.sweepfile.command import lookup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

#: Columns by which runs may be sorted, beside their summary and configuration, with our names for them.
_COLUMNS = {"created_at": "created_at", "createdAt": "created_at", "name": "name", "state": "state"}


class Api:
    """The sweeps below ``$WANDB_DIR``, or below the current folder.

    Args:
        overrides: accepted and ignored, like all that ``wandb.Api`` takes: there is no server to talk to.
    """

    def __init__(self, overrides: dict[str, Any] | None = None, **_: Any) -> None:
        self._overrides = overrides or {}

    def sweep(self, path: str = "") -> ApiSweep:
        """Return the sweep named by ``id``, ``project/id``, ``entity/project/id`` or its folder.

        Raises:
            NotFoundError: there is no such sweep.
            StateUnreadableError: it cannot be read.
        """
        return ApiSweep(known(SweepStore.open(sweep_name(path))))

    def run(self, path: str = "") -> ApiRun:
        """Return the run of an id ``<sweep>-<trial>``, with or without entity and project before it.

        Raises:
            NotFoundError: there is no such run.
        """
        name, _, number = sweep_name(path).rpartition("-")
        if not number.isdecimal():
            raise NotFoundError(f"{path!r} is not a run of ours: write <sweep>-<trial>, such as abcd1234-7")
        sweep = self.sweep(name)
        found = [run for run in sweep.runs if run.number == int(number)]
        if not found:
            raise NotFoundError(f"sweep {name} has no run of trial {number} yet")
        return found[0]


@dataclass(frozen=True)
class ApiRun:
    """A trial that was run at least once, as it was when its sweep was loaded.

    Attributes:
        sweep: the sweep.
        trial: what the command line shows of the trial.
    """

    sweep: ApiSweep
    trial: TrialRow

    @property
    def id(self) -> str:
        """``<sweep>-<trial>``: the id of its wandb run, too."""
        return self.sweep.store.layout.run_id(self.trial.number)

    @property
    def name(self) -> str:
        """The id; names that a script gives its wandb run are not read."""
        return self.id

    @property
    def number(self) -> int:
        """Number of the trial, 0.. in the sweep."""
        return self.trial.number

    @property
    def state(self) -> str:
        """``running``, ``finished``, ``failed``, ``crashed``, ``killed``, ``preempted``; ``pending`` before a retry."""
        return self.trial.state.value

    @property
    def config(self) -> dict[str, Any]:
        """The swept parameters, without what the script added to its configuration."""
        return dict(self.trial.params)

    @property
    def metric(self) -> float | None:
        """Final value of the sweep's metric; None without one."""
        return self.trial.metric

    @property
    def created_at(self) -> float | None:
        """Begin of its newest attempt, seconds since the epoch."""
        return self.trial.started

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Final values by name, over its attempts; nested ones joined by dots. Raises OSError."""
        return self.sweep.logged(self.trial)

    @property
    def summary_metrics(self) -> dict[str, Any]:
        """The summary: wandb has both names."""
        return self.summary

    def scan_history(self, keys: Iterable[str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield what its attempts logged, row by row; with ``keys`` only rows that have all of these, and only these.

        As ``wandb.apis.public.Run.scan_history``. Raises OSError.
        """
        wanted = list(keys or ())
        for row in self.sweep.history(self.trial):
            if all(name in row for name in wanted):
                yield {name: row[name] for name in wanted} if wanted else row

    def history(self, keys: Iterable[str] | None = None, *, pandas: bool = True) -> Any:
        """Return what its attempts logged as a table, without ``pandas`` as a list; all rows, and no sample as wandb's.

        Raises ImportError where pandas is not installed, and OSError.
        """
        rows = list(self.scan_history(keys))
        if not pandas:
            return rows
        import pandas as pd

        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        """Return id and state, as wandb shows them."""
        return f"<Run {self.id} ({self.state})>"


class ApiSweep:
    """A sweep as it was when it was loaded; :meth:`load` loads it again.

    Attributes:
        store: its files.
        id: eight of a-z and 0-9.
    """

    def __init__(self, store: SweepStore) -> None:
        self.store = store
        self.id = store.manifest.sweep_id
        self.load()

    def load(self, force: bool = True) -> None:  # noqa: FBT001, FBT002 - wandb's signature
        """Read the journal and the trials' folders again; does not ask Slurm."""
        del force
        session = Session(self.store, reading=view_cache.Follower(self.store))
        session.refresh()
        seen = look_without_scheduler(session)
        self._view = SweepSummary(self.store.layout, self.store.manifest, seen.view, seen.ended)
        self.__dict__.pop("runs", None)

    def logged(self, trial: TrialRow) -> dict[str, Any]:
        """Return the final values of a trial by name, over its attempts that were not deleted. Raises OSError."""
        first = self._view.view.first_attempt(trial.number)
        return read_summary(self.store.layout, AttemptId(trial.number, trial.attempt), first)

    def history(self, trial: TrialRow) -> Iterator[dict[str, Any]]:
        """Yield what a trial logged, row by row. Raises OSError."""
        first = self._view.view.first_attempt(trial.number)
        newest = AttemptId(trial.number, trial.attempt)
        return (row for _, row in history(self.store.layout, newest, first))

    def dataframe(self, *, history: bool = False) -> Any:
        """Return the table of :meth:`slurmsweep.Sweep.dataframe`, as of now. Raises as that does."""
        from slurmsweep.api.sweep import Sweep  # loads what starts trials

        return Sweep(self.store.layout.folder).dataframe(history=history)

    @property
    def name(self) -> str:
        """Name in the configuration, else the id."""
        return self.store.manifest.config.name or self.id

    @property
    def config(self) -> dict[str, Any]:
        """The content of the sweep file."""
        return dict(self.store.manifest.config.document)

    @property
    def entity(self) -> str | None:
        """Entity in the configuration."""
        return self.store.manifest.config.entity

    @property
    def project(self) -> str | None:
        """Project in the configuration."""
        return self.store.manifest.config.project

    @property
    def state(self) -> str:
        """``PENDING``, ``RUNNING``, ``PAUSED``, ``FINISHED`` or ``CANCELED``, in capitals as in wandb."""
        return self._view.state().for_wandb().value.upper()

    @property
    def expected_run_count(self) -> int | None:
        """Points of a grid, or ``run_cap`` if that is smaller; None where the search has no end."""
        return self.store.manifest.trials

    @cached_property
    def runs(self) -> list[ApiRun]:
        """Trials that were run at least once, by number."""
        trials = (self._view.trial(number) for number in self._view.view.trials)
        return [ApiRun(self, trial) for trial in trials if trial.attempt]

    @property
    def order(self) -> str | None:
        """``+summary_metrics.loss`` to minimize, ``-summary_metrics.acc`` to maximize; None without a metric."""
        metric = self.store.manifest.config.metric
        return None if metric is None else f"{'-' if metric.goal == 'maximize' else '+'}summary_metrics.{metric.name}"

    def best_run(self, order: str | None = None) -> ApiRun | None:
        """Return the best run by the sweep's metric, or the first by ``order``; None if there is none.

        By the metric only runs count that finished, or were stopped early, and whose metric is a number. Without a
        metric and an order it is the run that was started last, with a warning, as in wandb.

        Args:
            order: ``+`` (smallest first) or ``-``, then ``summary_metrics.NAME``, ``config.NAME`` or ``created_at``;
                without a sign ``-``, without a prefix a summary's name.

        Raises:
            OSError: a summary cannot be read.
        """
        if order is None and self.order is not None:
            best = self._view.best()
            return ApiRun(self, best) if best else None
        if order is None:
            note("no order and no metric: the run that was started last")
            order = "-created_at"
        sign = order[0] if order[:1] in ("+", "-") else ""
        key = order.removeprefix(sign)
        value = _column(key)
        known = ((value(run), run) for run in self.runs)
        comparable = [  # text, or a number that is not NaN
            (found, run)
            for found, run in known
            if isinstance(found, (int, str)) or (isinstance(found, float) and not math.isnan(found))
        ]
        if not comparable:
            return None
        if len({isinstance(found, str) for found, _ in comparable}) > 1:
            raise UsageError(f"order={order!r}: some runs have text there and some a number")
        choose = min if sign == "+" else max
        by_time = _COLUMNS.get(key) == "created_at"  # runs of one millisecond have one time: their numbers decide
        return choose(comparable, key=lambda pair: (pair[0], pair[1].trial.number if by_time else 0))[1]

    def __repr__(self) -> str:
        """Return id and state, as wandb shows them."""
        return f"<Sweep {self.id} ({self.state})>"


def _column(key: str) -> Callable[[ApiRun], Any]:
    """Return what finds the value to sort by (``wandb.apis.public.query_generator``, ``format_order_key``)."""
    if key in _COLUMNS:
        return attrgetter(_COLUMNS[key])
    kind, dot, name = key.partition(".")
    if dot and kind == "config":
        return lambda run: lookup(run.config, name)
    wanted = name if dot and kind == "summary_metrics" else key
    return lambda run: lookup(run.summary, wanted)
