"""Submissions as documents: what was asked of a scheduler, written down before it is asked.

::

    <sweep folder>/submissions/<name>.json
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from slurmsweep.errors import StateUnreadableError
from slurmsweep.state import files
from slurmsweep.state.plainfile import read_plain_file, reading

if TYPE_CHECKING:
    from slurmsweep.state.files import Access
    from slurmsweep.state.tail import AttemptId


@dataclass(frozen=True)
class SubmissionDocument:
    """One request to a scheduler.

    Attributes:
        name: of the jobs, unique to this request.
        backend: where they run.
        sweep: its id, or W&B's full name of it.
        tasks: number of jobs.
        trials: that they run in all.
        agents: that each job runs side by side.
        width: jobs at a time; None for no limit of ours.
        options: all options, merged.
        wishes: those of the options that stood on the command line.
        template: of the batch script.
        attempts: what each job is for, as :func:`.assignment.to_text`; empty for the next trial there is.
        retried: next attempts of trials that ended, which run again with these jobs.
        job: id of the array; empty where the scheduler refused it; None while it has not said.
        cluster: the scheduler's name of itself.
        submitted: seconds since 1970.
    """

    name: str
    backend: str
    sweep: str
    tasks: int
    trials: int
    agents: int = 1
    width: int | None = None
    options: dict[str, str | bool] = field(default_factory=dict)
    wishes: dict[str, str | bool] = field(default_factory=dict)
    template: str = ""
    attempts: str = ""
    retried: tuple[AttemptId, ...] = ()
    job: str | None = None
    cluster: str = ""
    submitted: float = 0.0


class SubmissionFiles:
    """The documents of one sweep."""

    def __init__(self, folder: str, access: Access) -> None:
        self._folder, self._access = folder, access

    def write(self, document: SubmissionDocument) -> None:
        """Write a document, durably. Raises StateUnwritableError."""
        files.ensure_folder(self._folder, self._access)
        files.replace(self._path(document.name), json.dumps(asdict(document), indent=1).encode() + b"\n", self._access)

    def note_job(self, name: str, job: str) -> None:
        """Write down what the scheduler answered; nothing where there is no document. Raises StateError."""
        known = self.read(name)
        if known is not None:
            self.write(replace(known, job=job))

    def read(self, name: str) -> SubmissionDocument | None:
        """Return a document; None where there is none. Raises StateUnreadableError."""
        data = read_plain_file(self._path(name))
        if data is None:
            return None
        try:
            document: dict[str, Any] = json.loads(data)
            known = {key: document[key] for key in SubmissionDocument.__dataclass_fields__ if key in document}
            return SubmissionDocument(**known)
        except (ValueError, TypeError, KeyError) as error:
            raise StateUnreadableError(f"{self._path(name)} is damaged ({error})") from error

    def all(self) -> list[SubmissionDocument]:
        """Return all documents, the oldest first. Raises StateUnreadableError."""
        try:
            with reading(self._folder):
                names = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        found = [self.read(name.removesuffix(".json")) for name in names if name.endswith(".json")]
        return sorted((one for one in found if one), key=lambda one: (one.submitted, one.name))

    def newest(self) -> SubmissionDocument | None:
        """Return the newest document; None where there is none. Raises StateUnreadableError."""
        return next(reversed(self.all()), None)

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, f"{name}.json")
