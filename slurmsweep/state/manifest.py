"""``sweep.json``: the frozen, checked configuration of a sweep.

Beside the configuration two things change after the sweep is made: the folder of its trials (:func:`move`), and their
number, which only grows (:func:`extend`). Both read it and write it anew, so both hold the journal's lock.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.errors import NotFoundError, StateUnreadableError, SweepFileError, UsageError
from slurmsweep.state import files
from slurmsweep.state.fields import (
    LATEST,
    Fields,
    WrongFieldError,
    anything,
    document,
    flag,
    mapping,
    maybe,
    number,
    path,
    rows,
    shown,
    text,
    whole,
)
from slurmsweep.state.paths import SWEEP_ID
from slurmsweep.sweepfile.command import needs_program
from slurmsweep.sweepfile.config import SweepConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slurmsweep.state.code_copy import CodeCopy
    from slurmsweep.state.function import Function
    from slurmsweep.state.paths import Layout
    from slurmsweep.sweepfile.repeats import Numbering

FORMAT = "slurmsweep sweep"
#: 2: checkpoints have a folder of their own, which a version that knows 1 alone would not use.
VERSION = 2


class Manifest(NamedTuple):
    """The frozen description of a sweep.

    Attributes:
        sweep_id: eight of a-z and 0-9; also the seed of random trials.
        config: as checked when the sweep was created.
        trials: number of points, run_cap included, and what was added since; None where the search has no end.
        workdir: absolute; the folder the command runs in.
        source: path of the sweep file as it was given.
        created: wall-clock time, seconds since the epoch.
        version: of the slurmsweep that created it.
        format: version of ``sweep.json``.
        shared: its files are for the group of its folder, and not for their makers alone.
        canary: it is the first trial of a plan, run for real.
        function: what its trials call in the place of a command; ``config`` and ``workdir`` are as it wants them then.
            Not in ``sweep.json``: it may be named later than the sweep is made.
        defaults: what user and project asked of all sweeps when this one was made, one document a file, those that win
            last: :mod:`slurmsweep.control.defaults`.
        snapshot: the copy of the code from which trials run, so that ``workdir`` is in it; None where they run the code
            as it is.
    """

    sweep_id: str
    config: SweepConfig
    trials: int | None
    workdir: str
    source: str
    created: float
    version: str
    format: int = VERSION
    shared: bool = False
    canary: bool = False
    function: Function | None = None
    defaults: tuple[Mapping[str, Any], ...] = ()
    snapshot: CodeCopy | None = None

    def require_trials(self, numbers: Iterable[int]) -> None:
        """Raise NotFoundError for the first of these numbers that no trial of the sweep can have."""
        beyond = next((one for one in numbers if self.trials is not None and one >= self.trials), None)
        if beyond is not None:
            last = (self.trials or 1) - 1
            raise NotFoundError(f"sweep {self.sweep_id} has trials 0 to {last}: there is no trial {beyond}")

    @property
    def can_run(self) -> bool:
        """Whether an agent has something to run: a command, and the program where that names it; or a function."""
        return self.config.program is not None or not needs_program(self.config.command)

    @property
    def numbering(self) -> Numbering | None:
        """Which trials are the runs of which point; None where every trial is a point of its own."""
        repeats = self.config.extensions.repeats
        if repeats is None:
            return None
        points = None if self.trials is None else self.trials // self.config.extensions.runs_each
        return repeats.numbering(self.config.method, points)

    @property
    def judges_points(self) -> bool:
        """Whether the target is compared with what points are worth that run several times."""
        config = self.config
        return bool(config.extensions.repeats and config.metric and config.metric.target is not None)

    @property
    def script(self) -> str | None:
        """The file of the program or function that trials run, where there is one to be changed."""
        if self.function:
            return self.function.file
        return os.path.join(self.workdir, self.config.program) if self.config.program else None

    def calling(self, function: Function | None) -> Manifest:
        """Return the same sweep with trials that call ``function``; itself for None."""
        if function is None:
            return self
        function = function.moved_to(self.workdir) if self.snapshot else function
        config = function.called_by(self.config)
        return self._replace(config=config, workdir=function.folder, function=function)

    def refuse_missing_workdir(self) -> None:
        """Raise UsageError where the folder is gone in which trials run: before one of them is claimed."""
        if not files.is_folder(self.workdir):
            function = "" if self.can_run else " --function MODULE:NAME"
            others = "submit, resubmit, mend" if self.can_run else f'slurmsweep.Sweep("{self.sweep_id}", workdir=...)'
            raise UsageError(
                f"sweep {self.sweep_id} runs its trials in {self.workdir}, and that folder is not there. If the "
                f"project was moved, name its folder once: `slurmsweep run {self.sweep_id}{function} --workdir FOLDER` "
                f"(or {others})"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the document in ``sweep.json``."""
        return {
            "format": FORMAT,
            "version": self.format,
            "slurmsweep": self.version,
            "id": self.sweep_id,
            "created": self.created,
            "source": self.source,
            "workdir": self.workdir,
            "trials": self.trials,
            **{name: True for name in ("shared", "canary") if getattr(self, name)},
            **({"defaults": list(self.defaults)} if self.defaults else {}),
            **({"snapshot": self.snapshot.to_json()} if self.snapshot else {}),
            "config": self.config.to_json(),
        }


def write(layout: Layout, manifest: Manifest, access: files.Access = files.PRIVATE) -> None:
    """Write ``sweep.json``, whole or not at all. Raises FileExistsError, StateUnwritableError."""
    files.write_once(layout.manifest, document(manifest.to_json(), indent=1), access)


def move(layout: Layout, workdir: str, access: files.Access) -> None:
    """Let trials run in another folder from now on, also those of jobs that wait: ``workdir`` is absolute and there.

    Hold the journal's lock. Raises StateError: nothing was changed, or a function is to be called there and the command
    of a script is not.
    """
    known = read(layout)
    if files.status_of(layout.function):
        from slurmsweep.state.function import Function  # few sweeps have one

        function = Function.read(layout)
        if function:
            function.moved_to(workdir).write_anew(layout, access)
    _change(layout, known._replace(workdir=workdir), access)


def extend(layout: Layout, trials: int, access: files.Access) -> None:
    """Let the sweep have so many trials from now on, also for agents that open it later. Hold the journal's lock.

    Any version reads the number where it always was. The configuration keeps its ``run_cap``.

    Raises StateError: nothing was changed.
    """
    _change(layout, read(layout)._replace(trials=trials), access)


def _change(layout: Layout, manifest: Manifest, access: files.Access) -> None:
    """Write a changed manifest with the time of the first one, which says which sweep is the newest."""
    before = files.status_of(layout.manifest)
    content = document(manifest.to_json(), indent=1)
    files.replace(layout.manifest, content, access, made=before.st_mtime_ns if before else None)


def read(layout: Layout) -> Manifest:
    """Return the manifest of a sweep.

    Raises:
        StateUnreadableError: damaged, of a newer format, or not permitted.
    """
    found = files.read_document(layout.manifest, _document, "restore it, or a copy, from a backup")
    if found is None:
        raise StateUnreadableError(f"{layout.manifest} is missing")
    if isinstance(found, str):
        raise StateUnreadableError(f"{layout.manifest}: {found}")
    return found._replace(workdir=found.snapshot.workdir(layout)) if found.snapshot else found


def _document(data: Any) -> Manifest | str:
    """Return the manifest of a document; or what it is instead. Raises WrongFieldError."""
    kind = _KIND(data)
    if kind["format"] != FORMAT:
        return "not a slurmsweep sweep.json"
    if kind["version"] > VERSION:
        return f"written by a newer slurmsweep ({kind['slurmsweep']}): update slurmsweep"
    known = _FIELDS(data)
    return Manifest(known.pop("id"), version=kind["slurmsweep"], format=kind["version"], **known)


def _sweep_id(value: Any) -> str:
    if not SWEEP_ID.fullmatch(text(value)):
        raise WrongFieldError(f"{shown(value)} is not the id of a sweep, eight of a-z and 0-9")
    return str(value)


def _config(value: Any) -> SweepConfig:
    try:
        return SweepConfig.from_json(mapping(anything)(value))
    except SweepFileError as error:
        raise WrongFieldError("; ".join(map(str, error.violations))) from error


def _defaults(value: Any) -> dict[str, Any]:
    return dict(value) | Fields({"file": text}, _OF_DEFAULTS)(value)


def _snapshot(value: Any) -> CodeCopy:
    from slurmsweep.state.code_copy import CodeCopy  # few sweeps have one

    return CodeCopy.from_json(value)


_OF_DEFAULTS = {
    "slurm": mapping(anything),
    "aws": mapping(anything),
    "template": text,
    "backend": text,
    "width": whole(1),
    "jobs": whole(1),
    "gpus": text,
    "setup": rows(text),
}
_KIND = Fields({"format": text, "version": whole(), "slurmsweep": text})
_FIELDS = Fields(
    {
        "id": _sweep_id,
        "config": _config,
        "trials": maybe(whole()),
        "workdir": path,
        "source": text,
        "created": number(0, LATEST),
    },
    {"shared": flag, "canary": flag, "defaults": rows(_defaults), "snapshot": _snapshot},
)
