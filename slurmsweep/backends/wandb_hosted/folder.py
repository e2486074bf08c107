"""A sweep that W&B's server holds: its name, and what was submitted for it from here.

::

    <root>/wandb/cloud-<id>/
      submissions/<name>.json          one array: made before Slurm is asked for it, with its job id once that is known
      jobs/                            batch scripts as submitted, and job output, which holds what the runs print

W&B's server has the sweep: nothing of its runs is kept here.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from slurmsweep.errors import StateUnreadableError, UsageError
from slurmsweep.state import files as durable
from slurmsweep.state.files import read_plain_file, reading
from slurmsweep.state.paths import root_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

#: None begins with a dash (``wandb agent`` would take it for an option) or a dot (a relative path).
_ENTITY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
#: W&B's own rule: no / \ # ? % : in a project's name.
_PROJECT = re.compile(r"[^\s./\\#?%:~-][^/\\#?%:]*")
_ID = re.compile(r"(?!sweep-)[A-Za-z0-9_][A-Za-z0-9_-]{0,39}")

_RIGHT = "write entity/project/sweep, such as my-team/my-project/wbyz9876"


@dataclass(frozen=True)
class HostedSweep:
    """A sweep of W&B's own by its full name.

    Attributes:
        entity: user or team.
        project: W&B's.
        sweep_id: W&B's, such as ``wbyz9876``.
    """

    entity: str
    project: str
    sweep_id: str

    def __str__(self) -> str:
        """Return ``entity/project/sweep``, as ``wandb agent`` takes it."""
        return f"{self.entity}/{self.project}/{self.sweep_id}"


@dataclass(frozen=True)
class HostedSubmission:
    """One array of agents for such a sweep.

    Attributes:
        name: of the jobs, unique to this submission.
        sweep: full name of the sweep.
        tasks: number of elements.
        width: elements at a time.
        job: id of the array; None while Slurm has not answered.
        submitted: seconds since 1970.
    """

    name: str
    sweep: str
    tasks: int
    width: int
    job: str | None
    submitted: float


def is_meant(name: str, entity: str | None = None, project: str | None = None) -> bool:
    """Return whether a name means a sweep of W&B's and not one of ours.

    ``entity/project/sweep`` does, unless there is such a path; so does any name with ``--entity`` or ``--project``. The
    environment does not make a name W&B's: a local id with a typing mistake must not start jobs.
    """
    if entity is not None or project is not None:
        return True
    if name.count("/") != 2 or name[0] in "/~" or any(part in (".", "..") for part in name.split("/")):
        return False  # a path, and no name of W&B's
    # ``scratch/wandb/sweep-abcd1234`` is a path, also where that folder does not exist (any more)
    return not os.path.basename(name).startswith("sweep-") and not os.path.exists(name)


def parse(name: str, environ: Mapping[str, str], entity: str | None = None, project: str | None = None) -> HostedSweep:
    """Return the sweep that ``sweep``, ``project/sweep`` or ``entity/project/sweep`` names, as W&B's agent takes it.

    What the name lacks comes from ``entity`` and ``project``, then from WANDB_ENTITY and WANDB_PROJECT.
    Source: ``wandb.sdk.launch.sweeps.utils.parse_sweep_id``.

    Raises:
        UsageError: the name has more parts, or a part is missing everywhere or not allowed by W&B.
    """
    parts = name.split("/")
    if len(parts) > 3:
        raise UsageError(f"{name!r} is not a sweep of W&B: it has {len(parts)} parts; {_RIGHT}")
    named_entity, named_project, sweep_id = ["", "", *parts][-3:]
    found = HostedSweep(
        named_entity or entity or environ.get("WANDB_ENTITY", ""),
        named_project or project or environ.get("WANDB_PROJECT", ""),
        sweep_id,
    )
    for word, value, rule in (
        ("entity", found.entity, _ENTITY),
        ("project", found.project, _PROJECT),
        ("sweep", found.sweep_id, _ID),
    ):
        _check(name, word, value, rule)
    return found


class HostedFolder:
    """The documents of what was submitted for one hosted sweep from below one root folder."""

    def __init__(self, sweep: HostedSweep, root: str | None = None) -> None:
        self.sweep = sweep
        self.path = os.path.join(root or root_folder(), "wandb", f"cloud-{sweep.sweep_id}")

    @property
    def jobs(self) -> str:
        """Folder of batch scripts and job output."""
        return os.path.join(self.path, "jobs")

    def make(self) -> None:
        """Make missing folders. Raises StateUnwritableError."""
        durable.ensure_folders(self.jobs)
        durable.ensure_folder(self._submissions)

    def note(self, submission: HostedSubmission) -> None:
        """Keep a submission, durably. Raises StateUnwritableError."""
        durable.replace(self._file(submission), json.dumps(asdict(submission), indent=1).encode() + b"\n")

    def note_job(self, submission: HostedSubmission, job: str) -> HostedSubmission:
        """Keep the id that Slurm gave a submission; return the submission with it. Raises StateUnwritableError."""
        known = replace(submission, job=job)
        self.note(known)
        return known

    def forget(self, submission: HostedSubmission) -> None:
        """Remove a submission that Slurm refused."""
        durable.remove_file(self._file(submission))

    def submissions(self) -> list[HostedSubmission]:
        """Return all submissions of this sweep, the oldest first; those of another project's sweep are left out.

        Raises:
            StateUnreadableError: a document is damaged, or cannot be read.
        """
        try:
            with reading(self._submissions):
                names = os.listdir(self._submissions)
        except FileNotFoundError:
            return []
        files = [os.path.join(self._submissions, name) for name in names if name.endswith(".json")]
        found = [submission for file in files if (submission := _read(file)).sweep == str(self.sweep)]
        return sorted(found, key=_age)

    @property
    def _submissions(self) -> str:
        return os.path.join(self.path, "submissions")

    def _file(self, submission: HostedSubmission) -> str:
        return os.path.join(self._submissions, f"{submission.name}.json")


def _age(submission: HostedSubmission) -> tuple[float, bool, int, str, str]:
    """Sort the oldest first; of those of one millisecond, by Slurm's number, a submission without one last."""
    number = submission.job or ""
    return submission.submitted, not number, len(number), number, submission.name


def _check(name: str, word: str, value: str, rule: re.Pattern[str]) -> None:
    variable = {"entity": "WANDB_ENTITY", "project": "WANDB_PROJECT"}.get(word)
    if not value:
        also = f", or give --{word} or set {variable}" if variable else ""
        raise UsageError(f"{name!r} names no {word} of W&B; {_RIGHT}{also}")
    if not rule.fullmatch(value) or not value.isprintable():
        raise UsageError(f"{name!r} is not a sweep of W&B: {value!a} cannot be its {word}; {_RIGHT}")


def _read(path: str) -> HostedSubmission:
    data = read_plain_file(path)
    try:
        document: dict[str, Any] = json.loads(data or b"null")
        job = document["job"]
        return HostedSubmission(
            name=str(document["name"]),
            sweep=str(document["sweep"]),
            tasks=int(document["tasks"]),
            width=int(document["width"]),
            job=None if job is None else str(job),
            submitted=float(document["submitted"]),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise StateUnreadableError(
            f"{path} is damaged ({error}): it named an array of jobs; remove it if squeue knows none of that name"
        ) from error
