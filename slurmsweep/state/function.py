"""``function.json``: the Python function that the trials of a sweep call, where they run no program.

Written once, by the first command with ``--function``, and read by all later ones: jobs that wait, ``resubmit``,
``mend``. A sweep has one function as it has one configuration.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.errors import StateUnreadableError, UsageError
from slurmsweep.state import files
from slurmsweep.state.fields import Fields, WrongFieldError, document, maybe, path, text, whole
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

    def write(self, layout: Layout, access: files.Access = files.PRIVATE) -> None:
        """Write ``function.json``, whole or not at all. Raises FileExistsError, StateUnwritableError."""
        files.write_once(layout.function, self._content(), access)

    def write_anew(self, layout: Layout, access: files.Access = files.PRIVATE) -> None:
        """Write ``function.json`` in the place of what it was. Raises StateUnwritableError."""
        files.replace(layout.function, self._content(), access)

    def moved_to(self, folder: str) -> Function:
        """Return the same function, called in another folder; a file below the old one is there, too."""
        below = self.file and os.path.relpath(self.file, self.folder)
        is_inside = below and not below.startswith(os.pardir)
        return self._replace(folder=folder, file=os.path.join(folder, below) if below and is_inside else self.file)

    def _content(self) -> bytes:
        said = {"function": str(self.path), "folder": self.folder, "file": self.file}
        return document({"format": _FORMAT, "version": _VERSION, **said}, indent=1)

    @classmethod
    def read(cls, layout: Layout) -> Function | None:
        """Return what ``function.json`` says; None where there is none. Raises StateUnreadableError."""
        found = files.read_document(layout.function, _FIELDS)
        if found is None:
            return None
        if found["format"] != _FORMAT or found["version"] > _VERSION:
            raise StateUnreadableError(f"{layout.function}: written by a newer slurmsweep: update slurmsweep")
        return cls(found["function"], found["folder"], found.get("file"))


def _import_path(value: Any) -> ImportPath:
    try:
        return ImportPath.parse(text(value))
    except UsageError as error:
        raise WrongFieldError(str(error)) from error


_FIELDS = Fields({"format": text, "version": whole(), "function": _import_path, "folder": path}, {"file": maybe(path)})
