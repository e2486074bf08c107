"""Submissions as documents: what a scheduler was asked for, a file each, written before it is asked.

The journal names a submission and says what became of it; its document has all options, and which attempt each element
of the array is for. Sweeps that W&B hosts have these documents and no journal.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from slurmsweep.state import files
from slurmsweep.state.fields import LATEST, Fields, document, maybe, number, rows, text, whole
from slurmsweep.state.owner import Owner
from slurmsweep.state.records import MOST_JOBS, OPTIONS
from slurmsweep.state.tail import ATTEMPT_ID, AttemptId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slurmsweep.state.files import Access


@dataclass(frozen=True)
class SubmissionDocument:
    """One array, or one set of agents, that a backend was asked to start.

    Attributes:
        name: unique to the submission; on Slurm the job's name.
        backend: name of the backend that was asked.
        sweep: id of the sweep; ``entity/project/sweep`` of one that W&B hosts.
        tasks: number of array elements.
        trials: number of trials that the submission is for.
        agents: that each element runs side by side.
        width: elements at a time; None for no limit.
        options: all options of the submission, by long name.
        wishes: those of the options that stood on the command line.
        template: of the batch script; empty where there is none.
        attempts: which attempt each element is for (:func:`slurmsweep.state.assignment.to_text`); empty where elements
            take the next trial there is.
        retried: attempts that may be claimed because of this submission.
        job: id of the array; empty where it was refused; None while there is no answer.
        cluster: Slurm's name of itself; empty where that is not known.
        submitted: wall-clock time, seconds since the epoch.
        by: the process that asks; None in documents from before it was noted.
    """

    name: str
    backend: str
    sweep: str
    tasks: int
    trials: int
    agents: int = 1
    width: int | None = None
    options: Mapping[str, str | bool] = field(default_factory=dict)
    wishes: Mapping[str, str | bool] = field(default_factory=dict)
    template: str = ""
    attempts: str = ""
    retried: tuple[AttemptId, ...] = ()
    job: str | None = None
    cluster: str = ""
    submitted: float = 0.0
    by: Owner | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields of the document."""
        data = asdict(replace(self, by=None))
        return data | {"by": self.by.to_json()} if self.by else {k: v for k, v in data.items() if k != "by"}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> SubmissionDocument:
        """Return the submission that a document names.

        Documents of hosted sweeps once had ``name``, ``sweep``, ``tasks``, ``width``, ``job`` and ``submitted`` only.

        Raises:
            WrongFieldError: it is no such document.
        """
        known = _FIELDS(data)
        return cls(**{"backend": "wandb", "trials": known["tasks"], **known})


_COUNT = whole(0, MOST_JOBS)
_FIELDS = Fields(
    {
        "name": text,
        "sweep": text,
        "tasks": _COUNT,
        "width": maybe(_COUNT),
        "job": maybe(text),
        "submitted": number(0, LATEST),
    },
    {
        **dict.fromkeys(("backend", "template", "attempts", "cluster"), text),
        "trials": _COUNT,
        "agents": whole(1, MOST_JOBS),
        **dict.fromkeys(("options", "wishes"), OPTIONS),
        "retried": rows(ATTEMPT_ID),
        "by": Owner.from_json,
    },
)


class SubmissionFiles:
    """The documents of one sweep.

    Args:
        folder: that holds them, ``<name>.json``; made with the first.
        access: of the files.
    """

    def __init__(self, folder: str, access: Access = files.PRIVATE) -> None:
        self._folder, self._access = folder, access

    def write(self, submission: SubmissionDocument) -> None:
        """Keep a document, durably, in the place of an older one of that name. Raises StateUnwritableError."""
        files.ensure_folder(self._folder, self._access)
        files.replace(self._path(submission.name), document(submission.to_json(), indent=1), self._access)

    def note_job(self, submission: SubmissionDocument, job: str, cluster: str = "") -> SubmissionDocument:
        """Keep the answer of the scheduler: id and cluster of the array, no id for a refusal.

        Raises StateUnwritableError.
        """
        answered = replace(submission, job=job, cluster=cluster or submission.cluster)
        self.write(answered)
        return answered

    def forget(self, name: str) -> None:
        """Remove a document, if it is there. Raises StateUnwritableError."""
        files.remove_file(self._path(name))

    def read(self, name: str) -> SubmissionDocument | None:
        """Return the document of that name; None where there is none. Raises StateUnreadableError."""
        remedy = "it named an array of jobs; remove it if squeue knows none of that name"
        return files.read_document(self._path(name), SubmissionDocument.from_json, remedy)

    def names(self) -> list[str]:
        """Return the names of the submissions that have a document, sorted. Raises StateUnreadableError."""
        return sorted(n.removesuffix(".json") for n in files.names_in(self._folder) if n.endswith(".json"))

    def all(self) -> list[SubmissionDocument]:
        """Return all documents, the oldest first. Raises StateUnreadableError."""
        found = map(self.read, self.names())
        # of those of one moment by the number of the scheduler, a document without one last
        return sorted(
            filter(None, found),
            key=lambda one: (one.submitted, not one.job, len(one.job or ""), one.job or "", one.name),
        )

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, f"{name}.json")
