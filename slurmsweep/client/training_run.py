"""One run: what a training script logs, keeps, and says of itself."""

from __future__ import annotations

import operator
import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slurmsweep.client.aggregates import Aggregates, Definitions, MetricDefinition, Summary
from slurmsweep.client.folders import make_like_parent
from slurmsweep.client.history import History, rank
from slurmsweep.client.values import plain, warn
from slurmsweep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slurmsweep.client.configuration import Config
    from slurmsweep.client.files import Chooser


@dataclass(frozen=True)
class Identity:
    """What a run is called. The sweep's environment comes before what the script says, as for wandb.

    Attributes:
        id: ``<sweep>-<trial>``, the same over the attempts of a trial; outside a sweep what ``init`` was given, or new.
        name: shown to people; the id where none was given.
        project: None where none was given.
        entity: likewise.
        group: empty where none was given.
        job_type: likewise.
        tags: likewise.
        notes: None where none were given.
        sweep_id: None outside a sweep.
        resumed: whether this is a later attempt of its trial.
    """

    id: str
    name: str
    project: str | None = None
    entity: str | None = None
    group: str = ""
    job_type: str = ""
    tags: tuple[str, ...] = ()
    notes: str | None = None
    sweep_id: str | None = None
    resumed: bool = False


@dataclass(frozen=True)
class Place:
    """Where a run keeps what it keeps.

    Attributes:
        folder: the attempt's folder in a sweep; outside one made when something is first kept.
        sweep: the sweep's folder; None outside a sweep.
        keeps_history: whether there is a history: in a sweep, and where the script or ``WANDB_DIR`` names a folder.
        disabled: nothing at all is kept (``mode="disabled"``).
    """

    folder: str
    sweep: str | None
    keeps_history: bool
    disabled: bool


class Run:
    """One run. Usable as a context manager; made by :func:`init`. Its methods may be called from several threads.

    Attributes:
        id, name, project, entity, group, job_type, tags, notes, sweep_id, resumed: as of an :class:`Identity`.
        config: see :class:`Config`.
        summary: see :class:`Summary`.
        step: of the values that are logged next.
        start_time: seconds since 1970.
    """

    def __init__(self, config: Config, identity: Identity, place: Place, ended: Callable[[Run], None]) -> None:
        self.config = config
        self.summary = Summary()
        self.step = 0
        self.start_time = time.time()
        self.id = identity.id
        self.name = identity.name
        self.project = identity.project
        self.entity = identity.entity
        self.group = identity.group
        self.job_type = identity.job_type
        self.tags = identity.tags
        self.notes = identity.notes
        self.sweep_id = identity.sweep_id
        self.resumed = identity.resumed
        self._place = place
        self._ended_with = ended
        self._lock = threading.RLock()
        self._waiting: dict[str, Any] = {}
        self._definitions = Definitions()
        self._aggregates = Aggregates(self.summary, self._definitions)
        self._last_of: dict[str, Any] = {}
        self._saved: dict[str, str] = {}
        self._warned_of_watch = False
        self._writes = rank() == 0 and not place.disabled
        self._history = History(self._made()) if self._writes and place.keeps_history else None
        self._ended = False

    def __enter__(self) -> Run:  # noqa: PYI034 - typing.Self needs 3.11
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, _: object) -> None:
        self.finish(exit_code=_exit_code(value))

    def __repr__(self) -> str:
        return f"<slurmsweep run {self.id}>"

    @property
    def disabled(self) -> bool:
        """Whether nothing is kept (``mode="disabled"``)."""
        return self._place.disabled

    @property
    def offline(self) -> bool:
        """True: there is no server."""
        return True

    @property
    def url(self) -> None:
        """None: there is no server."""
        return

    @property
    def dir(self) -> str:
        """An existing folder for files of the run: ``files`` in the attempt's folder."""
        folder = os.path.join(self._place.folder, "files")
        make_like_parent(folder)
        return folder

    def log(self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        """Log values of one step; on disk for whoever reads the file when this returns, also if the script is killed.

        Args:
            data: by name; nested dictionaries are allowed.
            step: of the values; smaller than the current one: ignored with a warning, as in wandb.
            commit: False keeps the step open for further values; by default True, or with ``step`` False.

        Raises:
            TypeError: ``data`` is no mapping with names that are texts, or ``step`` no integer.
            UsageError: the run is finished.
        """
        if not isinstance(data, Mapping):
            raise TypeError(f"log takes a dictionary of names and values, not {type(data).__name__}")
        if not all(isinstance(name, str) for name in data):
            raise TypeError("log takes a dictionary whose keys are texts")
        with self._lock:
            self._refuse_if_ended("log")
            if step is not None:
                wanted = operator.index(step)
                if wanted < self.step:
                    warn(f"step {wanted} is less than the current step {self.step}: ignored")
                    return
                if wanted > self.step:
                    self._write_step()
                    self.step = wanted
            self._waiting.update((name, plain(value)) for name, value in data.items())
            if commit or (commit is None and step is None):
                self._write_step()

    def define_metric(
        self,
        name: str,
        step_metric: str | MetricDefinition | None = None,
        step_sync: bool | None = None,
        hidden: bool | None = None,
        summary: str | None = None,
        overwrite: bool | None = None,
        goal: str | None = None,
    ) -> MetricDefinition:
        """Choose what the summary keeps of a metric, and over what it is drawn, as ``wandb.Run.define_metric``.

        With words the summary has a mapping of them: ``{"loss": {"min": 0.1, "max": 2.0}}``.

        Args:
            name: as logged, with dots into mappings; a star at its end means all names that begin so.
            step_metric: another metric, whose last value is logged along with this one.
            step_sync: False: it is not.
            hidden: has no effect here.
            summary: one or several of min, max, mean, last, first, best, none (not kept) and copy (the plain last
                value, the default), with commas between.
            overwrite: forget what was defined before of the same name.
            goal: minimize (default) or maximize: what ``best`` means.

        Raises:
            TypeError: the name is no text.
            UsageError: one of them cannot be meant.
        """
        over = step_metric.name if isinstance(step_metric, MetricDefinition) else step_metric
        words = [word.strip().lower() for word in summary.split(",")] if summary else []
        if not isinstance(name, str):
            raise TypeError(f"define_metric takes the name of a metric, not {type(name).__name__}")
        with self._lock:
            metric = MetricDefinition(name, over, step_sync is not False, words, goal)
            return self._definitions.add(metric, overwrite=bool(overwrite))

    def log_code(
        self,
        root: str | None = ".",
        name: str | None = None,
        include_fn: Chooser | None = None,
        exclude_fn: Chooser | None = None,
    ) -> str | None:
        """Keep the code as it is now: one archive, shared by all trials of the sweep that ran the same code.

        Args:
            root: of the code: a folder, absolute or from the current one.
            name: of the archive; part of the file's name.
            include_fn: whether a file belongs to it, by path, or by path and root; by default ``*.py``,
                ``requirements*.txt`` and ``Dockerfile*``.
            exclude_fn: whether one does not. Folders ``wandb`` and ``.wandb`` in the root and virtual environments
                never do.

        Returns:
            The archive's path; None where no file belongs to it, or this process keeps nothing.

        Raises:
            UsageError: the run is finished.
        """
        self._refuse_if_ended("log_code")
        if not self._writes or root is None:
            return None
        from slurmsweep.client import files

        try:
            kept = files.keep_code(root, self._place.sweep or self._made(), name, include_fn, exclude_fn)
        except OSError as error:  # no training stops for it
            warn(f"log_code: the code could not be kept: {error}")
            return None
        if kept is None:
            warn(f"log_code: no code in {os.path.abspath(root)}")
        else:
            self._write({"_code": os.path.relpath(kept, self._place.folder)})
        return kept

    def save(
        self,
        glob_str: str | os.PathLike[str],
        base_path: str | os.PathLike[str] | None = None,
        policy: str = "live",
        glob: bool = True,
    ) -> list[str]:
        """Copy files into the run's folder, now, and again when the run ends where they changed.

        Args:
            glob_str: the files: a path or pattern, absolute or from the current folder.
            base_path: the folder whose inner structure is kept; by default the current one, of an absolute pattern the
                folder above the files' own.
            policy: ``live`` and ``end`` copy again at the end, ``now`` does not.
            glob: False takes ``glob_str`` as it stands.

        Returns:
            Paths of the copies; none where nothing matched, or this process keeps nothing.

        Raises:
            UsageError: the run is finished, or there is no such policy.
        """
        self._refuse_if_ended("save")
        if policy not in ("live", "end", "now"):
            raise UsageError(f"save(policy={policy!r}): use live, end or now")
        if not self._writes:
            return []
        from slurmsweep.client import files

        copies = files.targets(os.fspath(glob_str), base_path, self.dir, glob=glob)
        self._copy(copies)
        if policy != "now":
            self._saved |= copies
        return list(copies.values())

    def alert(self, title: str, text: str = "", level: Any = None, wait_duration: Any = None) -> None:
        """Say something that a person should see: it is in the trial's log, marked, and in the history."""
        level = getattr(level, "value", level) or "INFO"
        print(f"slurmsweep: ALERT {level} {title}: {text}", file=sys.stderr)
        self._write({"_alert": {"title": str(title), "text": str(text), "level": str(level)}})

    def watch(self, *models: Any, **named: Any) -> None:
        """Gradients and parameters are not recorded: accepted, with a warning, so that scripts run unchanged."""
        if not self._warned_of_watch:
            self._warned_of_watch = True
            warn("watch: gradients and parameters of models are not recorded; the real wandb does that, offline")

    def unwatch(self, *models: Any) -> None:
        """See :meth:`watch`."""

    def mark_preempting(self) -> None:
        """Say that the run is about to be cut off: ended with an exit code that is not 0, it counts as preempted."""
        self._write({"_preempting": True})

    def finish(self, exit_code: int | None = None, quiet: bool | None = None) -> None:
        """Write what is left and the summary. Calling it twice is harmless; at the script's end it is called anyway.

        Args:
            exit_code: kept with the summary; the trial's own is that of its process.
            quiet: has no effect here.
        """
        with self._lock:
            if self._ended:
                return
            self._write_step()
            self._ended = True
        self._copy(self._saved)
        if self._history is not None:
            said = {"_summary": plain(self.summary)} | ({} if exit_code is None else {"_exit_code": exit_code})
            self._write(said)
            self._history.close()
        self._ended_with(self)

    def _refuse_if_ended(self, call: str) -> None:
        if self._ended:
            raise UsageError(f"Run ({self.id}) is finished. The call to `{call}` will be ignored.")

    def _write_step(self) -> None:
        if not self._waiting:
            return
        row, self._waiting = self._waiting, {}
        if self._definitions:
            self._add_step_metrics(row)
        self._aggregates.take(row)
        now = time.time()
        clock = {"_step": self.step, "_timestamp": round(now, 3), "_runtime": round(now - self.start_time, 3)}
        self._write(row | clock)
        self.step += 1

    def _add_step_metrics(self, row: dict[str, Any]) -> None:
        """Log the last value of what other metrics are drawn over, where it was logged before."""
        metrics = [self._definitions.of(name) for name in row]
        wanted = {metric.step_metric for metric in metrics if metric and metric.step_metric and metric.step_sync}
        self._last_of.update(row)
        row.update({name: self._last_of[name] for name in wanted if name in self._last_of})

    def _write(self, row: Mapping[str, Any]) -> None:
        if self._history is not None:
            self._history.write(row)

    def _copy(self, copies: Mapping[str, str]) -> None:
        if copies:
            from slurmsweep.client import files

            try:
                files.copy_changed(copies)
            except OSError as error:  # no training stops for it
                warn(f"save: files could not be copied: {error}")

    def _made(self) -> str:
        """The run's folder, made where it is not there."""
        make_like_parent(self._place.folder)
        return self._place.folder


def _exit_code(error: BaseException | None) -> int:
    """What a script ends with that this exception leaves."""
    if error is None:
        return 0
    code = error.code if isinstance(error, SystemExit) else 1
    return code if isinstance(code, int) else int(code is not None)


def split_tags(tags: str | Sequence[str] | None) -> tuple[str, ...]:
    """``WANDB_TAGS`` has commas, a script gives a sequence, or one text."""
    return tuple(tag.strip() for tag in tags.split(",") if tag.strip()) if isinstance(tags, str) else tuple(tags or ())
