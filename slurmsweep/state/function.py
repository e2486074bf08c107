"""``function.json``: the Python function that the trials of a sweep call, where they run no program.

Written once, by the first command with ``--function``, and read by all later ones: jobs that wait, ``resubmit``,
``mend``. A sweep has one function as it has one configuration.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.errors import StateUnreadableError, UsageError
from slurmsweep.state import files
from slurmsweep.sweepfile.function import ImportPath

if TYPE_CHECKING:
    from slurmsweep.state.paths import Layout
    from slurmsweep.sweepfile.config import SweepConfig

_FORMAT = "slurmsweep function"
_VERSION = 1


class Function(NamedTuple):
    """The function that the trials of a sweep call.

    Attributes:
        path: its import path.
        folder: absolute; where it is called, and the first place where its module is looked for.
        file: of its module, where that was found; None where only the job can tell.
    """

    path: ImportPath
    folder: str
    file: str | None = None

    def called_by(self, config: SweepConfig) -> SweepConfig:
        """Return the configuration with the call in the place of its command."""
        return config._replace(program=None, command=self.path.command())

    def to_json(self) -> dict[str, Any]:
        """Return the document in ``function.json``."""
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "function": str(self.path),
            "folder": self.folder,
            "file": self.file,
        }

    def write(self, layout: Layout, access: files.Access = files.PRIVATE) -> None:
        """Write ``function.json``, whole or not at all. Raises FileExistsError, StateUnwritableError."""
        files.write_once(layout.function, (json.dumps(self.to_json(), indent=1) + "\n").encode(), access)

    @classmethod
    def from_file(cls, layout: Layout, content: bytes) -> Function:
        """Return what a ``function.json`` says. Raises StateUnreadableError where it is damaged or newer."""
        try:
            data = json.loads(content)
            if data["format"] != _FORMAT or data["version"] > _VERSION:
                raise StateUnreadableError(f"{layout.function}: written by a newer slurmsweep: update slurmsweep")
            return cls(ImportPath.parse(data["function"]), data["folder"], data.get("file"))
        except (ValueError, TypeError, KeyError, UsageError) as error:
            raise StateUnreadableError(f"{layout.function} is damaged: {error}") from error
