"""A sweep that W&B's server holds: its name, and what was submitted for it from here.

::

    <root>/wandb/cloud-<id>              a link to the folder, for people
    <root>/.slurmsweep/cloud-<id>/
      submissions/<name>.json          one array: made before Slurm is asked for it, with its job id once that is known
      jobs/                            batch scripts as submitted, and job output, which holds what the runs print

W&B's server has the sweep: nothing of its runs is kept here.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slurmsweep.errors import UsageError
from slurmsweep.state.files import PRIVATE, ensure_folders
from slurmsweep.state.paths import places, root_folder, state_folder, without_links
from slurmsweep.state.place import make
from slurmsweep.state.submissions import SubmissionDocument, SubmissionFiles

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
    """A sweep of W&B's own by its full name: user or team, project, and W&B's id, such as ``wbyz9876``."""

    entity: str
    project: str
    sweep_id: str

    def __str__(self) -> str:
        """Return ``entity/project/sweep``, as ``wandb agent`` takes it."""
        return f"{self.entity}/{self.project}/{self.sweep_id}"


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
    rules = (("entity", found.entity, _ENTITY), ("project", found.project, _PROJECT), ("sweep", sweep_id, _ID))
    for word, value, rule in rules:
        if not value:
            also = "" if word == "sweep" else f", or give --{word} or set WANDB_{word.upper()}"
            raise UsageError(f"{name!r} names no {word} of W&B; {_RIGHT}{also}")
        if not rule.fullmatch(value) or not value.isprintable():
            raise UsageError(f"{name!r} is not a sweep of W&B: {value!a} cannot be its {word}; {_RIGHT}")
    return found


class HostedFolder:
    """The folder of what was submitted for one hosted sweep, below one root folder.

    Attributes:
        jobs: folder of batch scripts and job output.
        files: documents of submissions; another project's sweep of the same id keeps its documents there, too.
    """

    def __init__(self, sweep: HostedSweep, root: str | None = None) -> None:
        self.sweep = sweep
        self._root, name = root or root_folder(), f"cloud-{sweep.sweep_id}"
        known = [place for place in places(self._root, name) if os.path.isdir(place)]
        self.path = without_links(known[0]) if known else state_folder(self._root, name)
        self.jobs = os.path.join(self.path, "jobs")
        self.files = SubmissionFiles(os.path.join(self.path, "submissions"))

    def make(self) -> None:
        """Make the folder, and that of its jobs. Raises StateUnwritableError."""
        make(self._root, self.path, PRIVATE)
        ensure_folders(self.jobs)

    def submissions(self) -> list[SubmissionDocument]:
        """Return all submissions of this sweep, the oldest first. Raises StateUnreadableError."""
        return [document for document in self.files.all() if document.sweep == str(self.sweep)]
