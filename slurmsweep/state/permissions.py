"""Whose sweep it is: folders that anybody could have changed are refused, and strangers' sweeps are not run.

Against accidents and against other users of the machine. Members of a group that shares a sweep can do anything to it,
as they can to each other's files there; so can whoever has the same user id.
"""

from __future__ import annotations

import os
import stat

from slurmsweep.errors import StateUnreadableError
from slurmsweep.state.plainfile import reading

#: The user that a file server or a container shows where it knows no better one.
_NOBODY = 65534


def refuse_open_folder(folder: str) -> None:
    """Refuse a sweep that everybody can write to: its commands could be anybody's.

    Raises:
        StateUnreadableError: the folder is writable by all users.
    """
    with reading(folder):
        mode = os.stat(folder).st_mode
    if mode & stat.S_IWOTH:
        raise StateUnreadableError(
            f"{folder} is writable by everybody, so its contents may be anybody's: `chmod -R o-w {folder}` if you know "
            "that they are yours"
        )


def refuse_strangers_sweep(folder: str, *, shared: bool) -> None:
    """Refuse to run, as this user, what another user keeps for themselves.

    Raises:
        StateUnreadableError: the folder is another user's, and the sweep was not created with ``--shared``.
    """
    with reading(folder):
        owner = os.stat(folder).st_uid
    if shared or owner in (os.geteuid(), 0, _NOBODY):
        return
    raise StateUnreadableError(
        f"{folder} belongs to {_name(owner)}: its commands are not run as you. To share a sweep with a group, create "
        "it with `slurmsweep create --shared`"
    )


def _name(user: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
