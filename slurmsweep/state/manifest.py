"""``sweep.json``: the frozen, checked configuration of a sweep. Written once, never changed."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.errors import StateUnreadableError
from slurmsweep.state import files
from slurmsweep.state.files import read_plain_file
from slurmsweep.sweepfile.command import needs_program
from slurmsweep.sweepfile.config import SweepConfig

if TYPE_CHECKING:
    from slurmsweep.state.function import Function
    from slurmsweep.state.paths import Layout

FORMAT = "slurmsweep sweep"
VERSION = 1


class Manifest(NamedTuple):
    """The frozen description of a sweep.

    Attributes:
        sweep_id: eight of a-z and 0-9; also the seed of random trials.
        config: as checked when the sweep was created.
        trials: number of points, run_cap included; None where the search has no end.
        workdir: absolute; the folder the command runs in.
        source: path of the sweep file as it was given.
        created: wall-clock time, seconds since the epoch.
        version: of the slurmsweep that created it.
        shared: its files are for the group of its folder, and not for their makers alone.
        function: what its trials call in the place of a command; ``config`` and ``workdir`` are as it wants them then.
            Not in ``sweep.json``: it may be named later than the sweep is made.
    """

    sweep_id: str
    config: SweepConfig
    trials: int | None
    workdir: str
    source: str
    created: float
    version: str
    shared: bool = False
    function: Function | None = None

    @property
    def can_run(self) -> bool:
        """Whether an agent has something to run: a command, and the program where that names it; or a function."""
        return self.config.program is not None or not needs_program(self.config.command)

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
        config = function.called_by(self.config)
        return self._replace(config=config, workdir=function.folder, function=function)

    def to_json(self) -> dict[str, Any]:
        """Return the document in ``sweep.json``."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "slurmsweep": self.version,
            "id": self.sweep_id,
            "created": self.created,
            "source": self.source,
            "workdir": self.workdir,
            "trials": self.trials,
            **({"shared": True} if self.shared else {}),
            "config": self.config.to_json(),
        }


def write(layout: Layout, manifest: Manifest, access: files.Access = files.PRIVATE) -> None:
    """Write ``sweep.json``, whole or not at all. Raises FileExistsError, StateUnwritableError."""
    files.write_once(layout.manifest, (json.dumps(manifest.to_json(), indent=1) + "\n").encode(), access)


def read(layout: Layout) -> Manifest:
    """Return the manifest of a sweep.

    Raises:
        StateUnreadableError: damaged, of a newer format, or not permitted.
    """
    try:
        data = json.loads(read_plain_file(layout.manifest) or b"")
    except ValueError as error:
        raise StateUnreadableError(f"{layout.manifest}: {error}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise StateUnreadableError(f"{layout.manifest} is not a slurmsweep sweep.json")
    if data["version"] > VERSION:
        raise StateUnreadableError(
            f"{layout.manifest}: written by a newer slurmsweep ({data['slurmsweep']}): update slurmsweep",
        )
    return Manifest(
        sweep_id=data["id"],
        config=SweepConfig.from_json(data["config"]),
        trials=data["trials"],
        workdir=data["workdir"],
        source=data["source"],
        created=data["created"],
        version=data["slurmsweep"],
        shared=data.get("shared", False),
    )
