"""The run object of a training script, with the methods of ``wandb.Run`` that sweeps use."""

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
from slurmsweep.client.earlier import take_up
from slurmsweep.client.folders import make_like_parent
from slurmsweep.client.history import SET, History, rank
from slurmsweep.client.values import plain, warn
from slurmsweep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slurmsweep.client.configuration import Config
    from slurmsweep.client.files import Chooser


@dataclass(frozen=True)
class Identity:
    """The names of a run; those of the sweep override those of the script, as in wandb.

    Attributes:
        id: ``<sweep>-<trial>`` for all attempts of a trial; outside a sweep as given to ``init``, or a new one.
        name: the name shown to users; the id if none was given.
        project, entity, notes: None if not given.
        group, job_type, tags: empty if not given.
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
    """The folders of a run.

    Attributes:
        folder: in a sweep the folder of the attempt; outside a sweep a folder that is made when it is first needed.
        sweep: the folder of the sweep; None outside a sweep.
        keeps_history: whether a history is written: in a sweep, or if the script or ``WANDB_DIR`` names a folder.
        disabled: whether nothing is written at all (``mode="disabled"``).
    """

    folder: str
    sweep: str | None
    keeps_history: bool
    disabled: bool


class Run:
    """A run, made by :func:`init`; also a context manager. Several threads may call its methods.

    Attributes:
        id, name, project, entity, group, job_type, tags, notes, sweep_id, resumed: see :class:`Identity`.
        config: see :class:`Config`.
        summary: see :class:`Summary`.
        step: the step of the values that are logged next; a later attempt of a trial goes on with steps and summary.
        start_time: seconds since 1970.
    """

    def __init__(self, config: Config, identity: Identity, place: Place, ended: Callable[[Run], None]) -> None:
        self.config = config
        self.summary = Summary()
        self.step = 0
        self.start_time = time.time()
        self.id, self.name, self.notes, self.tags = identity.id, identity.name, identity.notes, identity.tags
        self.project, self.entity = identity.project, identity.entity
        self.group, self.job_type = identity.group, identity.job_type
        self.sweep_id, self.resumed = identity.sweep_id, identity.resumed
        self._place = place
        self._ended_with = ended
        self._lock = threading.RLock()
        self._waiting: dict[str, Any] = {}
        self._definitions = Definitions()
        self._aggregates = Aggregates(self.summary, self._definitions)
        self._last_of: dict[str, Any] = {}
        self._saved: dict[str, str] = {}
        self._warned_of_watch = False
        its_rank = 0 if place.disabled else rank()
        if its_rank and place.keeps_history:
            warn(f"rank {its_rank} of this trial keeps nothing; rank 0 does")
        self._writes = its_rank == 0 and not place.disabled
        if place.sweep and not place.disabled:
            self.step = take_up(place.folder, self._definitions, self._aggregates, self.summary, self._last_of)
        #: Steps that this attempt of a run that goes on has logged, as long as the script names none of them.
        self._own_steps = 0 if self.step else None
        self._has_logged = False
        self._history = History(self._made()) if self._writes and place.keeps_history else None
        self._ended = False
        self.summary.follow(lambda name, value: self._write({SET: plain({name: value})}))

    def __enter__(self) -> Run:  # noqa: PYI034 - typing.Self needs 3.11
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, _: object) -> None:
        code = value.code if isinstance(value, SystemExit) else int(value is not None)
        self.finish(exit_code=code if isinstance(code, int) else int(code is not None))

    def __repr__(self) -> str:
        return f"<slurmsweep run {self.id}>"

    def __getattr__(self, name: str) -> Any:
        """Explain why a name of ``wandb.Run`` is not there, which ``hasattr`` still takes for a no."""
        from slurmsweep.client.missing import OF_RUN, explanation

        raise AttributeError(explanation(name, OF_RUN, f"{type(self).__name__!r} object has no attribute {name!r}"))

    @property
    def disabled(self) -> bool:
        """Return whether nothing is kept (``mode="disabled"``)."""
        return self._place.disabled

    @property
    def offline(self) -> bool:
        """Return True: there is no server."""
        return True

    @property
    def url(self) -> None:
        """Return None: there is no server."""
        return

    project_url = sweep_url = url

    def get_url(self) -> None:
        """Return None, as :attr:`url`; so do wandb's older methods for the project and the sweep."""
        return

    get_project_url = get_sweep_url = get_url

    @property
    def path(self) -> str:
        """Return ``entity/project/id``, of which the first two may be missing."""
        return "/".join(part for part in (self.entity, self.project, self.id) if part)

    @property
    def starting_step(self) -> int:
        """Return 0: each attempt of a trial counts its own steps."""
        return 0

    @property
    def sync_dir(self) -> str:
        """Return the folder in which the history of the run is, or would be."""
        return self._place.folder

    @property
    def dir(self) -> str:
        """Return an existing folder for files of the run: ``files`` in the folder of the attempt."""
        folder = os.path.join(self._place.folder, "files")
        make_like_parent(folder)
        return folder

    def log(self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        """Log values of one step. When the step is complete, readers of the file see it, also if the script is killed.

        Args:
            data: values by name; nested dictionaries are allowed.
            step: the step of the values; an earlier step is ignored with a warning, as in wandb. The first step that an
                attempt names may be an earlier one: it goes on from an older checkpoint, or starts over.
            commit: False keeps the step open for further values; the default is True, and with ``step`` False.

        Raises:
            TypeError: ``data`` is no mapping with texts as names, or ``step`` is no integer.
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
                self._own_steps = None
                if wanted < self.step and not self._has_logged and not self._waiting:
                    self.step = wanted  # it goes on from an older checkpoint, or starts over
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
        """Choose what the summary keeps of a metric, and its x axis, as ``wandb.Run.define_metric``.

        Several aggregates give a mapping in the summary: ``{"loss": {"min": 0.1, "max": 2.0}}``.

        Args:
            name: the name as logged, with dots into mappings; a star at its end stands for all names with that prefix.
            step_metric: another metric, whose last value is logged together with this one.
            step_sync: False switches that off.
            hidden: no effect here.
            summary: one or several of min, max, mean, last, first, best, none (not kept) and copy (the plain last
                value, the default), separated by commas.
            overwrite: replace an earlier definition of the same name.
            goal: minimize (default) or maximize, for ``best``.

        Raises:
            TypeError: the name is no text.
            UsageError: an argument is not valid.
        """
        over = step_metric.name if isinstance(step_metric, MetricDefinition) else step_metric
        words = [word.strip().lower() for word in summary.split(",")] if summary else []
        if not isinstance(name, str):
            raise TypeError(f"define_metric takes the name of a metric, not {type(name).__name__}")
        with self._lock:
            metric = MetricDefinition(name, over, step_sync is not False, words, goal)
            before = self._definitions.of(name)
            known = before.to_json() if before else MetricDefinition(name).to_json()
            defined = self._definitions.add(metric, overwrite=bool(overwrite))
            if defined.to_json() != known:  # a step metric alone changes no summary
                self._write({"_define": defined.to_json()})
            return defined

    def log_code(
        self,
        root: str | None = ".",
        name: str | None = None,
        include_fn: Chooser | None = None,
        exclude_fn: Chooser | None = None,
    ) -> str | None:
        """Archive the code as it is now, once for all trials of the sweep that ran the same code.

        Args:
            root: the folder of the code, absolute or relative to the current folder.
            name: a part of the name of the archive.
            include_fn: tells whether a file is code, by its path, or by path and root; by default ``*.py``,
                ``requirements*.txt`` and ``Dockerfile*`` are.
            exclude_fn: tells whether a file is left out. Folders ``wandb`` and ``.wandb`` in the root and virtual
                environments always are.

        Returns:
            The path of the archive; None if no file is code, or this process keeps nothing.

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
        """Copy files into the folder of the run now, and changed files again when the run ends.

        Args:
            glob_str: a path or pattern, absolute or relative to the current folder.
            base_path: the folder whose inner structure is kept; by default the current folder, and for an absolute
                pattern the parent of the files' folder.
            policy: ``live`` and ``end`` copy again at the end, ``now`` does not.
            glob: False takes ``glob_str`` literally.

        Returns:
            The paths of the copies; empty if nothing matched, or this process keeps nothing.

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
        """Print a message for the user into the log of the trial, marked as ALERT, and record it in the history."""
        level = getattr(level, "value", level) or "INFO"
        print(f"slurmsweep: ALERT {level} {title}: {text}", file=sys.stderr)
        self._write({"_alert": {"title": str(title), "text": str(text), "level": str(level)}})

    def watch(self, *models: Any, **named: Any) -> None:
        """Warn that gradients and parameters are not recorded. Accepted so that scripts run unchanged."""
        if not self._warned_of_watch:
            self._warned_of_watch = True
            warn("watch: gradients and parameters of models are not recorded; the real wandb does that, offline")

    def unwatch(self, *models: Any) -> None:
        """Do nothing, because :meth:`watch` records nothing."""

    def display(self, height: int = 420, hidden: bool = False) -> bool:
        """Return False, as wandb without a server: there is no page to show."""
        return False

    def pin_config_keys(self, keys: Sequence[str]) -> None:
        """Do nothing: it arranges a page of W&B's App. Accepted so that scripts run unchanged."""

    def join(self, exit_code: int | None = None) -> None:
        """End the run, by wandb's older name for :meth:`finish`."""
        self.finish(exit_code)

    def mark_preempting(self) -> None:
        """Record that the run will be preempted: with an exit code other than 0 the trial then counts as preempted."""
        self._write({"_preempting": True})

    def finish(self, exit_code: int | None = None, quiet: bool | None = None) -> None:
        """Write the open step and the summary. A second call has no effect; the end of the script calls it, too.

        The exit code is recorded with the summary; the trial's own is that of its process. ``quiet`` has no effect.
        """
        with self._lock:
            if self._ended:
                return
            self._write_step()
            self._ended = True
        self._copy(self._saved)
        if self._history is not None:
            last = {"_summary": plain(self.summary)} | ({} if exit_code is None else {"_exit_code": exit_code})
            self._history.write(last)
            self._history.close()
        self._ended_with(self)

    def _refuse_if_ended(self, call: str) -> None:
        if self._ended:
            raise UsageError(f"Run ({self.id}) is finished. The call to `{call}` will be ignored.")

    def _write_step(self) -> None:
        if not self._waiting:
            return
        row, self._waiting = self._waiting, {}
        if self._definitions:  # the last values of step metrics go into rows of other metrics
            metrics = [metric for name in row if (metric := self._definitions.of(name))]
            wanted = {metric.step_metric for metric in metrics if metric.step_metric and metric.step_sync}
            self._last_of.update(row)
            row.update({name: self._last_of[name] for name in wanted if name in self._last_of})
        self._aggregates.take(row)
        now = time.time()
        clock = {"_step": self.step, "_timestamp": round(now, 3), "_runtime": round(now - self.start_time, 3)}
        if self._own_steps is not None:
            clock["_attempt_step"] = self._own_steps
            self._own_steps += 1
        self._write(row | clock)
        self._has_logged = True
        self.step += 1

    def _write(self, row: Mapping[str, Any]) -> None:
        if self._history is not None and not self._ended:
            self._history.write(row)

    def _copy(self, copies: Mapping[str, str]) -> None:
        if copies:
            from slurmsweep.client import files

            try:
                files.copy_changed(copies)
            except OSError as error:  # no training stops for it
                warn(f"save: files could not be copied: {error}")

    def _made(self) -> str:
        """Return the folder of the run; make it if it does not exist."""
        make_like_parent(self._place.folder)
        return self._place.folder


def split_tags(tags: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return tags from a text with commas, such as ``WANDB_TAGS``, or from a sequence."""
    return tuple(tag.strip() for tag in tags.split(",") if tag.strip()) if isinstance(tags, str) else tuple(tags or ())
