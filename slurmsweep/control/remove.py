"""Remove a sweep from disk: all of it, and only where nothing of it runs.

The folder gets another name first, under the journal's lock: from then on there is no such sweep, whatever happens to
this process, and the next call removes what is left.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.control.snapshot import look, look_at_jobs, running_attempts
from slurmsweep.errors import NotFoundError, UsageError
from slurmsweep.state import access, files, paths

if TYPE_CHECKING:
    from slurmsweep.control.session import Session

#: Begins the name of the folder of a sweep that is being removed.
_REMOVED = ".removed-"


class Removal(NamedTuple):
    """What is removed with a sweep.

    Attributes:
        sweep: its id.
        folder: of the sweep, under the name that it has now.
        links: to it.
        size: of its files, in bytes.
        entries: number of its files and folders.
    """

    sweep: str
    folder: str
    links: tuple[str, ...]
    size: int
    entries: int


def refuse_live(session: Session) -> None:
    """Raise UsageError where a job of the sweep is left, or a trial runs or may run; SchedulerUnavailableError too."""
    sweep = session.store.manifest.sweep_id
    session.refresh()
    jobs, snapshot = look_at_jobs(session), look(session)
    if jobs.alive:
        raise UsageError(f"sweep {sweep} has {len(jobs.alive)} live jobs: `slurmsweep cancel {sweep}` ends them")
    if jobs.elsewhere:
        raise UsageError(f"sweep {sweep} has jobs on cluster {jobs.elsewhere[0]}, which must be asked: go there")
    running = {attempt_id.trial: seen.note for attempt_id, seen in snapshot.seen.items() if seen.outcome is None}
    if running:
        number, note = next(iter(running.items()))
        raise UsageError(f"trial {number} of sweep {sweep} runs, or may run ({note}); `slurmsweep cancel {sweep}`")


def planned(session: Session) -> Removal:
    """Return what :func:`remove` would remove.

    Raises:
        UsageError: the sweep is alive, or is another user's, or others' folders in it keep this user out.
        SchedulerUnavailableError: whether it has jobs cannot be told.
    """
    refuse_live(session)
    place = session.store.layout
    status = files.status_of(place.folder)
    if status and os.geteuid() not in (status.st_uid, 0):
        raise UsageError(f"sweep {place.sweep_id} belongs to {files.user_name(status.st_uid)}, who alone removes it")
    return _removal(place.sweep_id, place.folder)


def broken_off(sweep: str) -> Removal | None:
    """Return the rest of a sweep whose removal was broken off; None where there is none."""
    for root in paths.roots_from_here():
        for folder in paths.places(root, _REMOVED + sweep):
            if files.is_folder(folder):
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
        UsageError: a trial began meanwhile.
        NotFoundError: another process removed it.
        StateError: the folder could not be renamed, and is as it was; or some of it could not be removed.
    """
    folder = removal.folder
    if session:
        doomed = os.path.join(os.path.dirname(folder), _REMOVED + removal.sweep)
        reading = session.store.reading()
        known = set(running_attempts(session.view))
        with session.store.transaction(reading):  # no agent claims a trial meanwhile
            begun = running_attempts(reading.view).keys() - known
            if begun:
                raise UsageError(f"trial {min(begun).trial} of sweep {removal.sweep} began to run: nothing was removed")
            if not files.is_folder(folder):
                raise NotFoundError(f"sweep {removal.sweep} was removed by another process")
            files.move(folder, doomed)
        folder = doomed
    for link in removal.links:
        files.remove_file(link)
    files.remove_tree(folder)
