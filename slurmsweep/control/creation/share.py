"""For whom a sweep is: its owner, or also the group of the folder that it was made in.

The mode of the sweep's folder says it (``state/files.py``, ``access_by_mode``): agents look at it before they write, so
what is written later has the same modes, whichever user writes it.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from slurmsweep.errors import NotFoundError, StateError, UsageError
from slurmsweep.state import access as access_of
from slurmsweep.state import files

if TYPE_CHECKING:
    from slurmsweep.state.store import SweepStore

#: By the word of the command line, what it makes of a sweep.
WAYS = {"off": files.PRIVATE, "read": files.READABLE, "write": files.SHARED}


def share(store: SweepStore, access: files.Access) -> int:
    """Let a sweep be its owner's alone, or the group's to read or to change, with all that is in it.

    Harmless to do again, and to be done again where it was broken off.

    Returns:
        How many files other users made in it, which keep their modes: closing the sweep's folder closes them, too.

    Raises:
        UsageError: the sweep is another user's.
        StateUnwritableError: the group is none of this user's.
    """
    folder = store.layout.folder
    own, project = files.status_of(folder), files.status_of(os.path.dirname(os.path.dirname(folder)))
    if own is None or project is None:
        raise NotFoundError(f"the folder of sweep {store.layout.sweep_id} was removed: {folder}")
    if os.geteuid() not in (own.st_uid, 0):
        owner = files.user_name(own.st_uid)
        raise UsageError(f"sweep {store.layout.sweep_id} belongs to {owner}, who alone can share it")
    others = access_of.give(folder, access, project.st_gid)
    store.access = access
    if access is not files.PRIVATE:
        open_way(folder)
    return others


def open_way(folder: str) -> None:
    """Let the group of a shared sweep through the folder around it, ``.slurmsweep``, where that is this user's.

    Sweeps beside it keep their own modes.
    """
    around = os.path.dirname(folder)
    with suppress(StateError):
        status, own = files.status_of(around), files.status_of(folder)
        if own and status and status.st_uid == os.geteuid() and not status.st_mode & stat.S_IXGRP:
            access_of.give_folder(around, files.READABLE, own.st_gid)


def in_words(store: SweepStore) -> str:
    """Return who can read the sweep: ``only you can read it``, ``group lab can read, run and change it``."""
    folder = store.layout.folder
    status = files.status_of(folder)
    if status is None:
        return "it was removed"
    who = "you" if status.st_uid == os.geteuid() else files.user_name(status.st_uid)
    if store.access is files.PRIVATE:
        return f"only {who} can read it (`slurmsweep share {store.layout.sweep_id}` opens it to a group)"
    may = "read, run and change it" if store.access is files.SHARED else "read it"
    above = ((str(one), files.status_of(str(one))) for one in Path(folder).parents[:-1])
    closed = [one for one, found in above if found and not found.st_mode & (stat.S_IXGRP | stat.S_IXOTH)]
    way = f", once `chmod g+x {' '.join(closed)}` lets them get there" if closed else ""
    return f"group {access_of.group_name(status.st_gid)} can {may}{way}"
