"""The copy of the code that a sweep keeps, so that each trial runs the code as it was when the sweep was made.

``source/`` holds the files, read-only, and ``source.json`` lists them with their checksums. ``sweep.json`` has the
checksum of that list, and says with it what every file holds. What trials write beside these files is their own.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.errors import StateUnreadableError
from slurmsweep.state import files
from slurmsweep.state.fields import Fields, document, flag, maybe, path, row, rows, text, whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slurmsweep.state.paths import Layout


class CodeCopy(NamedTuple):
    """What ``sweep.json`` says of a copy.

    Attributes:
        root: the folder that was copied, absolute.
        inside: the folder in which trials run, relative to it.
        files, size: how many files, and their bytes.
        digest: checksum of the list of files; empty while the sweep is only planned.
        commit: of git, which the folder was at; None where it was in no repository, or had no commit.
        changed: it held more than the commit: changes, or files that git did not know.
    """

    root: str
    inside: str
    files: int
    size: int
    digest: str = ""
    commit: str | None = None
    changed: bool = False

    @property
    def original(self) -> str:
        """The folder in which trials would run without the copy."""
        return os.path.normpath(os.path.join(self.root, self.inside))

    def workdir(self, layout: Layout) -> str:
        """Return the folder in which trials run: wherever the sweep is now, the copy is in it."""
        return os.path.normpath(os.path.join(layout.source, self.inside))

    def to_json(self) -> dict[str, Any]:
        """Return the document."""
        return self._asdict()

    @classmethod
    def from_json(cls, data: Any) -> CodeCopy:
        """Return what :meth:`to_json` gave. Raises WrongFieldError."""
        return cls(**_FIELDS(data))


class CopiedFile(NamedTuple):
    """One entry of the list.

    Attributes:
        path: relative to the copy.
        kind: ``file``, ``program`` (it may be executed) or ``link``.
        content: SHA-256 of a file; the target of a link.
    """

    path: str
    kind: str
    content: str


class Copied(NamedTuple):
    """A copy that was just made, under a temporary name.

    Attributes:
        folder: where it is.
        listed: its files.
        what: what ``sweep.json`` will say of it.
    """

    folder: str
    listed: tuple[CopiedFile, ...]
    what: CodeCopy

    def move_into(self, layout: Layout, access: files.Access) -> None:
        """Make it the copy of a sweep. Raises StateUnwritableError."""
        files.move(self.folder, layout.source)
        files.write_once(layout.source_list, list_text(self.listed), access)


def list_text(listed: Sequence[CopiedFile]) -> bytes:
    """Return the content of ``source.json``."""
    return document({"files": listed}, indent=0)


def digest_of(content: bytes) -> str:
    """Return the checksum of the list of files."""
    return hashlib.sha256(content).hexdigest()


def read_list(layout: Layout, what: CodeCopy) -> tuple[CopiedFile, ...]:
    """Return the list of the files of a copy. Raises StateUnreadableError: it is gone, or not what was written."""
    content = files.read_plain_file(layout.source_list)
    if content is None or digest_of(content) != what.digest:
        raise StateUnreadableError(f"{layout.source_list} is {'gone' if content is None else 'not what was written'}")
    found = files.read_document(layout.source_list, _LIST)
    return tuple(found["files"]) if found else ()


def differences(folder: str, listed: Sequence[CopiedFile]) -> Iterator[tuple[str, str]]:
    """Yield the files of a list that a folder does not have as they were, and in which way.

    Files that are not in the list do not count. Reads every file.
    """
    for one in listed:
        there = os.path.join(folder, one.path)
        if one.kind == "link":
            if not os.path.islink(there) or os.readlink(there) != one.content:
                yield one.path, "is another link, or gone"
            continue
        try:
            digest, is_program = digest_of_file(there)
        except FileNotFoundError:
            yield one.path, "is gone"
            continue
        except StateUnreadableError as error:
            yield one.path, str(error)
            continue
        if digest != one.content:
            yield one.path, "has changed"
        elif is_program != (one.kind == "program"):
            yield one.path, "may be executed now" if is_program else "may not be executed any more"


def copy_read_only(source: str, path: str) -> str:
    """Make a durable copy of a user's file that may only be read, and executed where that could be; return its SHA-256.

    The checksum is of what was written, also where the file is changed meanwhile.

    Raises:
        StateUnreadableError: it is no plain file, or may not be read. A missing one passes through.
        StateUnwritableError: the copy could not be made.
    """
    digest = hashlib.sha256()
    with files.reading(source):
        original = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(original, "rb", buffering=0) as file:
        status = os.fstat(original)
        if not stat.S_ISREG(status.st_mode):
            raise StateUnreadableError(f"{source} is not a plain file")
        with files.writing(path):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(path, flags, files.PRIVATE.file)
        with os.fdopen(descriptor, "wb", buffering=0):
            while True:
                with files.reading(source):
                    piece = file.read(1 << 20)
                if not piece:
                    break
                digest.update(piece)
                with files.writing(path):
                    files.write_all(descriptor, piece)
            with files.writing(path):
                os.fchmod(descriptor, 0o500 if status.st_mode & stat.S_IXUSR else 0o400)
                os.fsync(descriptor)
    return digest.hexdigest()


def digest_of_file(path: str) -> tuple[str, bool]:
    """Return the SHA-256 of a file, and whether its owner may execute it. Raises as :func:`reading` says."""
    digest = hashlib.sha256()
    with files.opened(path) as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
        return digest.hexdigest(), bool(os.fstat(file.fileno()).st_mode & stat.S_IXUSR)


_FIELDS = Fields(
    {"root": path, "inside": text, "files": whole(), "size": whole(), "digest": text},
    {"commit": maybe(text), "changed": flag},
)
_LIST = Fields({"files": rows(row(CopiedFile, text, text, text))})
