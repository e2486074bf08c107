"""The only place that changes bytes on disk, and checks of owners. Each function says what holds once it has returned.

Failures to write become :class:`~slurmsweep.errors.StateUnwritableError` with the advice that fits the error number;
an existing file is the one failure that callers decide upon, so :class:`FileExistsError` passes through. Failures to
read become :class:`~slurmsweep.errors.StateUnreadableError`; a missing file passes through.

Folders that any user could have changed are refused, and sweeps of strangers are not run. That is against accidents and
against other users of the machine: members of a group that shares a sweep can do anything to it, and so can a process
with the same user id.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeVar

from slurmsweep.errors import StateUnreadableError, StateUnwritableError
from slurmsweep.state.fields import WrongFieldError, parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")


class Access(NamedTuple):
    """The modes of what is made here, whatever the umask says.

    Attributes:
        folder: mode of folders.
        file: mode of files.
    """

    folder: int
    file: int


#: For the user alone: parameters and logs of a sweep are private unless the user says otherwise.
PRIVATE = Access(0o700, 0o600)

#: For the group of the folder, to read; what is made in it belongs to the same group.
READABLE = Access(0o2750, 0o640)

#: For the group of the folder, to read and to change.
SHARED = Access(0o2770, 0o660)


_ADVICE = {
    errno.ENOSPC: "free some space there and run the command again",
    errno.EDQUOT: "your quota is used up: free space or files there and run the command again",
    errno.EROFS: "the filesystem is mounted read-only: choose another folder by WANDB_DIR",
    errno.EACCES: "you may not write there: choose another folder by WANDB_DIR, or ask its owner",
    errno.EPERM: "you may not write there: choose another folder by WANDB_DIR, or ask its owner",
    errno.ESTALE: "the file server lost the file: run the command again",
    errno.EIO: "the filesystem reports an input/output error: run the command again, and tell its administrator",
    errno.ENOTDIR: "a file stands where a folder is needed: choose another folder by WANDB_DIR",
    errno.ENOENT: "a folder of this path is missing: was it moved or removed?",
    errno.ELOOP: "a symbolic link stands where the sweep's own file should be: nothing was written through it",
}


class FolderSize(NamedTuple):
    """What a folder holds.

    Attributes:
        size: bytes of its files together.
        entries: number of files and folders in it.
        is_whole: False where the counting ended early.
    """

    size: int = 0
    entries: int = 0
    is_whole: bool = True


#: The user that a file server or a container shows where it knows no better one.
_NOBODY = 65534

#: Seconds between tries where this machine's view of the filesystem may be behind.
_VIEW_LAGS = (0.01, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Turn an operating-system error on ``path`` into a StateUnwritableError that says what to do."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        number = error.errno or 0
        reason = f"{os.strerror(number)} (errno {number})" if number else str(error)
        advice = _ADVICE.get(number, "run the command again when that is mended")
        raise StateUnwritableError(f"cannot write {path}: {reason}; {advice}") from error


def despite_stale_view(action: Callable[[], None]) -> None:
    """Do something in a folder that is there, though this machine may not see it yet.

    Two clients of a network filesystem that make one folder at the same moment are told that it exists, and then for a
    while that it does not (seen on GlusterFS; NFS keeps such a view for seconds too). ``action`` is done again for some
    seconds where it fails so; it must be harmless to do twice.

    Raises:
        FileExistsError, StateUnwritableError: as ``action`` does, the second after the last try.
    """
    for delay in _VIEW_LAGS:
        try:
            action()
        except StateUnwritableError as error:
            if getattr(error.__cause__, "errno", None) not in (errno.ENOENT, errno.ESTALE):
                raise
        else:
            return
        time.sleep(delay)
    action()


def make_folder(path: str, access: Access = PRIVATE) -> None:
    """Make one folder.

    Exclusive on every filesystem: of any number of callers exactly one returns.

    Raises:
        FileExistsError: it is there already.
        StateUnwritableError: it could not be made; the parent folder is missing, full, or not writable.
    """
    with writing(path):
        os.mkdir(path, access.folder)
        if access is not PRIVATE:  # the umask took bits away, and mkdir sets no group bit
            os.chmod(path, access.folder)


def ensure_folder(path: str, access: Access = PRIVATE) -> None:
    """Make one folder unless it is there already. Its parent must exist."""
    with suppress(FileExistsError):
        make_folder(path, access)


def ensure_folders(path: str, access: Access = PRIVATE) -> None:
    """Make a folder and those above it that are missing."""
    try:
        ensure_folder(path, access)
    except StateUnwritableError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        ensure_folders(os.path.dirname(path), access)
        ensure_folder(path, access)


def give_to_group_of_parent(path: str, access: Access) -> None:
    """Let a folder belong to the group that the folder above it belongs to. Raises StateUnwritableError."""
    with writing(path):
        group = os.stat(os.path.dirname(path)).st_gid
        if os.stat(path).st_gid != group:
            os.chown(path, -1, group)
            os.chmod(path, access.folder)  # chown takes the group bit away


def access_by_mode(folder: str, otherwise: Access) -> Access:
    """Return for whom a sweep is: the mode of its folder says so, which ``share`` changes, also while agents run.

    Args:
        folder: of the sweep.
        otherwise: where the mode does not say it, as on a filesystem that has no group bits, or where it is gone.
    """
    try:
        return access_of(os.stat(folder), otherwise)
    except OSError:
        return otherwise


def access_of(status: os.stat_result, otherwise: Access) -> Access:
    """Return what :func:`access_by_mode` returns, from a status of the folder that was just asked for."""
    mode = status.st_mode
    if not mode & stat.S_IRWXG:
        return PRIVATE
    if not mode & stat.S_ISGID:
        return otherwise
    return SHARED if mode & stat.S_IWGRP else READABLE


def umask_of_commands(access: Access) -> int:
    """Return the umask for the commands of trials: this process's, but what the group may do is not taken away."""
    return _own_umask() & ~(access.folder & stat.S_IRWXG)


def _own_umask() -> int:
    """Return this process's umask, which can be read by setting it alone: what is made meanwhile is private."""
    own = os.umask(0o077)
    os.umask(own)
    return own


def remove_empty_folder(path: str) -> bool:
    """Remove a folder if nothing is in it; return whether it is gone now. Never removes content."""
    try:
        os.rmdir(path)
    except OSError:
        return False
    return True


def write_new(path: str, data: bytes, access: Access = PRIVATE) -> None:
    """Make a file that does not exist yet. Exclusive; not fsynced: a power cut may leave it empty.

    Raises:
        FileExistsError: it is there already, and is left as it is.
        StateUnwritableError: nothing was made, or only part of the content was written.
    """
    with writing(path):
        descriptor = _create(path, os.O_EXCL, access)
        try:
            write_all(descriptor, data)
        finally:
            os.close(descriptor)


def write_whole_unless_folder(path: str, data: bytes, access: Access = PRIVATE) -> None:
    """Make a whole file, unless a folder of that name is there: readers see all of it or nothing. Not fsynced.

    Written beside, then renamed: none is left half-written. Of it and :func:`make_folder` exactly one succeeds.

    Raises:
        FileExistsError: a folder is there.
        StateUnwritableError: nothing was made under that name.
    """
    temporary = _write_beside(path, data, access, sync=False)
    try:
        with writing(path):
            os.rename(temporary, path)
    except StateUnwritableError as error:
        remove_leftover(temporary)
        if isinstance(error.__cause__, IsADirectoryError):
            raise FileExistsError(path) from error
        raise


def write_once(path: str, data: bytes, access: Access = PRIVATE) -> None:
    """Make a whole, durable file that does not exist yet: readers see all of it or nothing.

    Written beside, fsynced, then linked: unlike a rename, a link never replaces what another process made first.

    Raises:
        FileExistsError: it is there already, and is left as it is.
        StateUnwritableError: nothing was made.
    """
    temporary = _write_beside(path, data, access, sync=True)
    try:
        with writing(path):
            os.link(temporary, path)
    finally:
        remove_leftover(temporary)
    sync_folder(os.path.dirname(path))


def replace(path: str, data: bytes, access: Access = PRIVATE, *, sync: bool = True, made: int | None = None) -> None:
    """Make a whole file, in the place of an older one if there is one: readers see the old or the new, never a part.

    The content is on disk before the name points to it, unless ``sync`` is False. The folder is not fsynced: a power
    cut may bring the older state back, so the journal says the same. ``made``: the file's time, in ns since the epoch.

    Raises:
        StateUnwritableError: the older file, if any, is unchanged.
    """
    temporary = _write_beside(path, data, access, sync=sync)
    try:
        with writing(path):
            if made is not None:
                os.utime(temporary, ns=(made, made))
            os.replace(temporary, path)
    except StateUnwritableError:
        remove_leftover(temporary)
        raise


def move(old: str, new: str) -> None:
    """Give a file another name in the same folder, replacing what has it, and put that on disk."""
    with writing(new):
        os.replace(old, new)
    sync_folder(os.path.dirname(new))


def name_too(path: str, further: str) -> None:
    """Give a file a further name in the same folder. Raises FileExistsError, StateUnwritableError."""
    with writing(further):
        os.link(path, further)


def remove_leftover(path: str) -> None:
    """Remove a temporary file of ours; one that cannot be removed does no harm."""
    with suppress(OSError):
        os.unlink(path)


def remove_file(path: str) -> None:
    """Remove a file if it is there."""
    with writing(path), suppress(FileNotFoundError):
        os.unlink(path)


def remove_tree(path: str) -> None:
    """Remove a folder of ours with all that is in it, if it is there. Links in it are removed, not followed.

    Read-only folders in it are opened, where they are this user's.
    """
    import shutil  # agents never remove one

    with writing(path), suppress(FileNotFoundError):
        try:
            shutil.rmtree(path)
        except PermissionError:
            for folder, names, _ in os.walk(path):
                for one in (folder, *(os.path.join(folder, name) for name in names)):
                    status = os.lstat(one)
                    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
                        os.chmod(one, stat.S_IRWXU)
            shutil.rmtree(path)


def link_to(target: str, path: str) -> None:
    """Make a symbolic link at ``path`` to ``target``, in the place of one to anything else. What is no link stays."""
    with writing(path), suppress(FileExistsError):
        with suppress(FileNotFoundError):
            if os.path.islink(path) and os.readlink(path) != target:
                os.unlink(path)
        os.symlink(target, path)


def write_pieces(path: str, pieces: Iterable[bytes], access: Access = PRIVATE) -> None:
    """Make a file, or make it anew, of pieces that together may be larger than memory. Not fsynced.

    Raises:
        StateUnwritableError: some of it may be there.
    """
    with writing(path):
        descriptor = _create(path, os.O_TRUNC, access)
        try:
            for piece in pieces:
                write_all(descriptor, piece)
        finally:
            os.close(descriptor)


def write_where_named(path: str, data: bytes) -> None:
    """Write to where a user's name leads: a file is replaced, what is none (a pipe, ``/dev/stdout``) takes the data.

    A file gets the modes with which other programs make files: the user's umask says who may read it.

    Raises:
        StateUnwritableError: a file that was there is unchanged.
    """
    try:
        status = status_of(path)
        if status and not stat.S_ISREG(status.st_mode):
            with writing(path), open(path, "wb", buffering=0) as stream:
                write_all(stream.fileno(), data)
        else:
            umask = _own_umask()
            replace(os.path.realpath(path), data, Access(0o777 & ~umask, 0o666 & ~umask), sync=False)
    except StateUnwritableError as error:  # the advice that it gives is about the folder of a sweep
        reason = error.__cause__.strerror if isinstance(error.__cause__, OSError) else str(error)
        raise StateUnwritableError(f"cannot write {path}: {reason}") from error


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte; the system may take them in several pieces. No fsync."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def open_log(path: str, access: Access = PRIVATE) -> int:
    """Open the log file of an attempt to append to it, and make it if it is not there. Raises StateUnwritableError."""
    with writing(path):
        return _create(path, os.O_APPEND, access)


def sync_folder(path: str) -> None:
    """Put a folder's entries on disk. Some network filesystems answer EINVAL: they need and offer no such thing."""
    with writing(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        finally:
            os.close(descriptor)


def _create(path: str, flags: int, access: Access) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | flags, access.file)
    if access is not PRIVATE and os.fstat(descriptor).st_uid == os.geteuid():
        os.fchmod(descriptor, access.file)
    return descriptor


def _write_beside(path: str, data: bytes, access: Access, *, sync: bool) -> str:
    """Write ``data`` to a new hidden file in the folder of ``path``; the name carries host and process."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.uname().nodename}.{os.getpid()}.tmp")
    with writing(path):
        descriptor = _create(temporary, os.O_TRUNC, access)
        try:
            write_all(descriptor, data)
            if sync:
                os.fsync(descriptor)
        except OSError:
            remove_leftover(temporary)
            raise
        finally:
            os.close(descriptor)
    return temporary


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn an operating-system error on ``path`` into a StateUnreadableError; a missing file passes through."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StateUnreadableError(f"cannot read {path}: {error.strerror}; nothing was changed") from error


def read_plain_file(path: str) -> bytes | None:
    """Return the whole content of a small file; None where there is none. A symbolic link is not followed.

    Raises:
        StateUnreadableError: it is not a plain file, or may not or cannot be read.
    """
    try:
        with reading(path):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise StateUnreadableError(f"{path} is not a plain file")
                data = os.read(descriptor, status.st_size + 1)
                while len(data) < status.st_size and (more := os.read(descriptor, status.st_size)):
                    data += more
                return data
            finally:
                os.close(descriptor)
    except FileNotFoundError:
        return None


def names_in(folder: str) -> list[str]:
    """Return the names of what is in a folder, in no order; none where it is missing. Raises StateUnreadableError."""
    try:
        with reading(folder):
            return os.listdir(folder)
    except FileNotFoundError:
        return []


def measure(folder: str, most: int | None = None, *, without: str = "") -> FolderSize:
    """Count what is in a folder; links are not followed, and what cannot be read is not counted.

    Args:
        folder: nothing is counted where it is missing.
        most: entries to look at: each costs a question to the file server.
        without: path of a folder in it that is left out.
    """
    size, entries, left = 0, 0, [folder]
    while left:
        with suppress(OSError), os.scandir(left.pop()) as found:
            for entry in found:
                if entry.path == without:
                    continue
                if entries == most:
                    return FolderSize(size, entries, is_whole=False)
                entries += 1
                if entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
                else:
                    size += entry.stat(follow_symlinks=False).st_size
    return FolderSize(size, entries)


def status_of(path: str) -> os.stat_result | None:
    """Return what the system says of a file or folder; None where there is none. Raises StateUnreadableError."""
    try:
        with reading(path):
            return os.stat(path)
    except (FileNotFoundError, StateUnreadableError) as error:
        if isinstance(error, FileNotFoundError) or isinstance(error.__cause__, NotADirectoryError):
            return None
        raise


def is_file(path: str) -> bool:
    """Return whether a plain file is there; unlike os.path.isfile, raise StateUnreadableError where that is unknown."""
    found = status_of(path)
    return found is not None and stat.S_ISREG(found.st_mode)


def is_folder(path: str) -> bool:
    """Return whether a folder is there; unlike os.path.isdir, raise StateUnreadableError where that is unknown."""
    found = status_of(path)
    return found is not None and stat.S_ISDIR(found.st_mode)


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """Open a plain file to read it: a link is followed, a pipe does not wait. Raises as :func:`reading` says."""
    with reading(path), os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise StateUnreadableError(f"{path} is not a plain file")
        yield file


def pieces_of(path: str, start: int = 0) -> Iterator[bytes]:
    """Yield a file's content from ``start`` on in pieces of 64 KiB.

    Raises as :func:`reading` says; no error of its caller's counts.
    """
    with opened(path) as file:
        file.seek(start)
        while piece := file.read(1 << 16):
            yield piece


def piece_of(path: str, start: int, size: int) -> tuple[int, bytes]:
    """Return the system's number of a file, and what it has from ``start`` on. Raises as :func:`reading` says."""
    with opened(path) as file:
        file.seek(start)
        return os.fstat(file.fileno()).st_ino, file.read(size)


def read_document(path: str, kind: Callable[[Any], T], remedy: str = "") -> T | None:
    """Return what a JSON file of the sweep says; None where there is none.

    Args:
        path: of the file.
        kind: takes the value in it (:mod:`slurmsweep.state.fields`).
        remedy: what a person can do about a damaged file.

    Raises:
        StateUnreadableError: it is damaged, no plain file, or may not or cannot be read.
    """
    content = read_plain_file(path)
    if content is None:
        return None
    try:
        return kind(parsed(content) if content else {})
    except WrongFieldError as error:
        raise StateUnreadableError(f"{path} is damaged: {error}{remedy and f'; {remedy}'}") from error


def refuse_open_folder(folder: str) -> os.stat_result:
    """Refuse a sweep that every user can write to: its commands could be from any of them. Return its status.

    Raises:
        StateUnreadableError: the folder is writable by all users.
    """
    with reading(folder):
        status = os.stat(folder)
    if status.st_mode & stat.S_IWOTH:
        raise StateUnreadableError(
            f"{folder} is writable by every user, so any user may have written its contents: `chmod -R o-w {folder}` "
            "if you know that they are yours"
        )
    return status


def refuse_strangers_sweep(folder: str, owner: int, *, shared: bool) -> None:
    """Refuse to run, as this user, the private sweep of another user, the owner of its folder.

    Raises:
        StateUnreadableError: the folder is another user's, and its group may not change the sweep.
    """
    if shared or owner in (os.geteuid(), 0, _NOBODY):
        return
    raise StateUnreadableError(
        f"{folder} belongs to {user_name(owner)}: its commands are not run as you. Its owner shares it with a group by "
        "`slurmsweep share SWEEP --write`"
    )


def user_name(user: int) -> str:
    """Return the name of a user by number."""
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
