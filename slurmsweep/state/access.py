"""Give a sweep, with all that is in it, other modes: for its owner alone, or for a group."""

from __future__ import annotations

import os
import stat

from slurmsweep.state.files import Access, writing


def give_folder(folder: str, access: Access, group: int) -> None:
    """Give one folder that mode and group. Raises StateUnwritableError."""
    with writing(folder):
        os.chown(folder, -1, group)
        os.chmod(folder, access.folder)


def give(folder: str, access: Access, group: int) -> int:
    """Give a folder, and all of this user's in it, these modes and that group; return how many others there are.

    Files keep what their owner may not do (an executable stays one, a read-only file too). The folder itself comes
    first: what is made in it from then on has the new modes. Links are left alone.

    Raises:
        StateUnwritableError: the folder itself is another user's, the group is none of this user's, or a file could not
            be changed, as where the group's quota is used up.
    """
    give_folder(folder, access, group)
    found = (os.path.join(above, name) for above, folders, names in os.walk(folder) for name in (*folders, *names))
    return sum(not _give(path, access, group) for path in found if not os.path.islink(path))


def _give(path: str, access: Access, group: int) -> bool:
    """Give one file or folder its modes and group; return False where it is another user's."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return isinstance(error, FileNotFoundError)  # a temporary file of an agent
    with writing(path):
        try:
            status = os.fstat(descriptor)
            if os.geteuid() not in (status.st_uid, 0):
                return False
            own = status.st_mode & stat.S_IRWXU
            mode = access.folder if stat.S_ISDIR(status.st_mode) else own | (own >> 3 & access.folder)
            os.fchown(descriptor, -1, group)
            os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)
    return True


def group_name(group: int) -> str:
    """Return the name of a group by number."""
    import grp

    try:
        return grp.getgrgid(group).gr_name
    except KeyError:
        return str(group)


def closed_to_us(folder: str) -> str | None:
    """Return another user's folder, of a tree, in which this user may remove nothing; None where there is none.

    Folders of this user's that are read-only do not count: :func:`.files.remove_tree` opens them.
    """
    for above, folders, names in os.walk(folder):
        if (folders or names) and not os.access(above, os.W_OK | os.X_OK) and _is_others(above):
            return above
        for name in folders:
            path = os.path.join(above, name)
            if not os.path.islink(path) and not os.access(path, os.R_OK | os.X_OK) and _is_others(path):
                return path
    return None


def _is_others(path: str) -> bool:
    return os.lstat(path).st_uid != os.geteuid()
