"""The projects in which this user has run sweeps: a list for ``ls --all``, in the user's folder for state.

``$XDG_STATE_HOME/slurmsweep/projects`` (default ``~/.local/state``) has one folder a line, the newest last. Commands of
people write it, agents do not. It may be deleted: each project is in it again after the next sweep there.

The folders of the sweeps for which a machine worked by messages are kept likewise, in ``worked-for``.
"""

from __future__ import annotations

import os
from contextlib import suppress

from slurmsweep.errors import StateError
from slurmsweep.state import files

#: Names of such lists: of projects, and of the sweeps that a machine worked for by messages of a queue.
PROJECTS, WORKED_FOR = "projects", "worked-for"

#: Projects that are kept at most; the oldest go first.
_MOST = 1000


def remember(root: str, name: str = PROJECTS) -> None:
    """Put a folder at the end of the list of that name. Where that cannot be written, nothing happens.

    The file is replaced as a whole; of two commands that write at the same moment, one may lose its line until the next
    sweep in that project.
    """
    path = _path(name)
    known = projects(name)
    if not path or "\n" in root or known[-1:] == [root]:
        return
    lines = [*(one for one in known if one != root), root][-_MOST:]
    with suppress(StateError):
        files.ensure_folders(os.path.dirname(path))
        files.replace(path, "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"), sync=False)


def projects(name: str = PROJECTS) -> list[str]:
    """Return the folders of the list, the newest last; none where it is not there or cannot be read."""
    path = _path(name)
    with suppress(StateError):
        content = files.read_plain_file(path) if path else None
        lines = (content or b"").decode("utf-8", "surrogateescape").split("\n")
        return [line for line in dict.fromkeys(lines) if os.path.isabs(line)]
    return []


def _path(name: str) -> str:
    """Return the path of the list; empty where this user has no home."""
    folder = os.environ.get("XDG_STATE_HOME") or ""
    if not os.path.isabs(folder):  # the specification: a relative one is ignored
        folder = os.path.expanduser("~/.local/state")
    return os.path.join(folder, "slurmsweep", name) if os.path.isabs(folder) else ""
