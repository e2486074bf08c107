"""Remove a sweep from disk: all of it, and only where nothing of it runs.

The folder gets another name first, under the journal's lock: from then on there is no such sweep, whatever happens to
this process, and the next call removes what is left.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.control.snapshot import running_attempts
from slurmsweep.control.upkeep.alive import refuse_living
from slurmsweep.errors import NotFoundError, UsageError
from slurmsweep.state import access, files, paths

if TYPE_CHECKING:
    from slurmsweep.control.session import Session


class Removal(NamedTuple):
    """What is removed with a sweep.

    Attributes:
        sweep: its id.
        folder: of the sweep, under the name that it has now.
        links: to it.
        size: of its files, in bytes.
        entries: number of its files and folders.
        unknown: what of it may be alive, in words.
    """

    sweep: str
    folder: str
    links: tuple[str, ...]
    size: int
    entries: int
    unknown: tuple[str, ...] = ()


def plan_removal(session: Session, *, force: bool = False) -> Removal:
    """Return what :func:`remove` would remove. Args as :func:`slurmsweep.control.upkeep.alive.refuse_living`.

    Raises:
        UsageError: the sweep is or may be alive, or is another user's, or others' folders in it keep this user out; or
            the folder has another name than a sweep's has, so that it is more than the sweep.
        SchedulerUnavailableError: whether it has jobs cannot be told.
    """
    place, sweep = session.store.layout, session.store.manifest.sweep_id
    if os.path.basename(place.folder) != f"sweep-{sweep}":
        raise UsageError(
            f"{place.folder} holds the sweep.json of sweep {sweep}, and is not its folder sweep-{sweep}: nothing was "
            "removed; remove it by hand if you know what is in it"
        )
    passed_over = refuse_living(session, force=force)
    status = files.status_of(place.folder)
    if status and os.geteuid() not in (status.st_uid, 0):
        raise UsageError(f"sweep {place.sweep_id} belongs to {files.user_name(status.st_uid)}, who alone removes it")
    return _removal(place.sweep_id, place.folder)._replace(unknown=passed_over)


def broken_off(sweep: str) -> Removal | None:
    """Return the rest of a sweep whose removal was broken off; None where there is none."""
    for root in paths.roots_from_here():
        for half, folder in paths.half_removed(root):
            if half == sweep:
                return _removal(sweep, folder)
    return None


def _removal(sweep: str, folder: str) -> Removal:
    closed = access.closed_to_us(folder)
    if closed:
        raise UsageError(f"{closed} is another user's, and you may not remove what is in it: nothing was removed")
    found = files.measure(folder)
    name = f"sweep-{sweep}"
    roots = dict.fromkeys([os.path.dirname(os.path.dirname(folder)), paths.root_folder(), paths.project_folder()])
    links = [path for root in roots for path in paths.places(root, name) if os.path.islink(path)]
    ours = [link for link in links if os.path.basename(os.readlink(link)) == name]
    return Removal(sweep, folder, tuple(ours), found.size, found.entries + 1)


def remove(removal: Removal, session: Session | None = None) -> None:
    """Remove a sweep, or with no session what an earlier call left of it.

    Raises:
        UsageError: a trial began meanwhile, or jobs were submitted.
        NotFoundError: another process removed it.
        StateError: the folder could not be renamed, and is as it was; or some of it could not be removed.
    """
    folder = removal.folder
    if session:
        doomed = os.path.join(os.path.dirname(folder), paths.REMOVED + removal.sweep)
        reading = session.store.reading()
        known, submitted = set(running_attempts(session.view)), set(session.view.submissions)
        with session.store.transaction(reading):  # no agent claims a trial meanwhile
            begun = running_attempts(reading.view).keys() - known
            if begun:
                raise UsageError(f"trial {min(begun).trial} of sweep {removal.sweep} began to run: nothing was removed")
            if reading.view.submissions.keys() - submitted:
                raise UsageError(f"jobs were submitted for sweep {removal.sweep} meanwhile: nothing was removed")
            if not files.is_folder(folder):
                raise NotFoundError(f"sweep {removal.sweep} was removed by another process")
            files.move(folder, doomed)
        folder = doomed
    for link in filter(os.path.islink, removal.links):
        files.remove_file(link)
    files.remove_tree(folder)
