"""``code.json``: what git said of the code when trials were started last; agents compare it with what they find.

A *version* is a word: ``3f2a1b4c9d0e`` for a commit, ``3f2a1b4c9d0e+5d41402a`` for a commit and changes that are not
committed, with a checksum of them, and ``3f2a1b4c9d0e?`` where it is not known whether there are changes.
"""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.state import files
from slurmsweep.state.fields import LARGEST, Fields, document, path, row, rows, text, whole

if TYPE_CHECKING:
    from slurmsweep.state.files import Access
    from slurmsweep.state.paths import Layout

#: Characters of a commit, and of a checksum, in a version.
COMMIT, CHANGES = 12, 8

#: How a file of git begins that names another one, as a branch can name a branch; and how many are followed.
_NAMES_ANOTHER, _MOST_NAMES = b"ref: ", 5


class WatchedFile(NamedTuple):
    """A tracked source file as it was: relative to the root of the repository; bytes, and nanoseconds of its time."""

    path: str
    size: int
    time: int


class CodeState(NamedTuple):
    """The repository of a sweep's program, as a command that starts trials found it.

    Attributes:
        root: of the working tree.
        git, common: folders of git in which the commit is named.
        commit: that was checked out.
        changes: a checksum of what had changed since; empty for nothing.
        watched: tracked source files, those nearest to the program.
    """

    root: str
    git: str
    common: str
    commit: str
    changes: str
    watched: tuple[WatchedFile, ...]

    def write(self, layout: Layout, access: Access) -> None:
        """Write the file, in the place of an older one. Raises StateUnwritableError."""
        files.replace(layout.code_version, document(self._asdict()), access)


def version_now(layout: Layout) -> str | None:
    """Return the version of the code at this moment; None where no command has said where it is.

    A few small files are read and no process is started: this is for agents. A change of a file that is not watched,
    and not committed, is not seen.

    Raises:
        StateUnreadableError: ``code.json`` is damaged, or git's files may not or cannot be read.
    """
    known = read(layout)
    commit = _commit(known) if known else None
    if known is None or commit is None:
        return None
    if commit != known.commit:
        return f"{commit[:COMMIT]}?"
    found = [state_of(known.root, one.path) for one in known.watched]
    changes = known.changes if found == list(known.watched) else f"{zlib.crc32(repr(found).encode()):08x}"
    return f"{commit[:COMMIT]}+{changes}" if changes else commit[:COMMIT]


def read(layout: Layout) -> CodeState | None:
    """Return what the file says; None where there is none. Raises StateUnreadableError."""
    found = files.read_document(layout.code_version, _FIELDS)
    return CodeState(**found) if found else None


def state_of(root: str, name: str) -> WatchedFile:
    """Return a file as it is now; with a size of -1 where it is gone or cannot be seen."""
    try:
        status = os.stat(os.path.join(root, name))
    except OSError:
        return WatchedFile(name, -1, 0)
    return WatchedFile(name, status.st_size, status.st_mtime_ns)


def _commit(known: CodeState) -> str | None:
    """Return the commit that is checked out now, as git's files say; None where they do not say it."""
    found = files.read_plain_file(os.path.join(known.git, "HEAD")) or b""
    for _ in range(_MOST_NAMES):
        if not found.startswith(_NAMES_ANOTHER):
            return found.strip().decode("ascii", "replace") or None
        name = found.removeprefix(_NAMES_ANOTHER).strip()
        own = files.read_plain_file(os.path.join(known.common, os.fsdecode(name)))
        packed = files.read_plain_file(os.path.join(known.common, "packed-refs")) or b"" if own is None else b""
        lines = (line.partition(b" ") for line in packed.splitlines())
        found = own or next((commit for commit, _, ref in lines if ref == name), b"")
    return None


_FIELDS = Fields(
    {
        "root": path,
        "git": path,
        "common": path,
        "commit": text,
        "changes": text,
        "watched": rows(row(WatchedFile, text, whole(-1), whole(-LARGEST))),
    }
)
