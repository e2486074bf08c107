"""Read the names of sweeps that a Python program gives."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from slurmsweep.errors import NotFoundError, UsageError
from slurmsweep.state.naming import meant
from slurmsweep.state.paths import find

if TYPE_CHECKING:
    from slurmsweep.state.store import SweepStore

#: Folders of the sweeps that this program made or opened, by id: its current folder may be another one by now.
_known: dict[str, str] = {}


def known(store: SweepStore) -> SweepStore:
    """Return the sweep; from now on its id alone finds it in this program, whatever the current folder is."""
    _known[store.manifest.sweep_id] = store.layout.folder
    return store


def sweep_name(path: object) -> str:
    """Return the id or folder in ``id``, ``project/id``, ``entity/project/id`` or a folder.

    Entity and project say where W&B keeps a sweep; slurmsweep finds its own by id alone, and one that this program made
    or opened by the folder that it had then. Source: ``wandb.sdk.launch.sweeps.utils.parse_sweep_id``.

    Raises:
        UsageError: the path is no text, or has no id at its end.
    """
    if not isinstance(path, str) or not path:
        raise UsageError(f"{path!r} is not a sweep: give the id that sweep() returned, as text")
    if os.path.isabs(path) or os.path.isfile(os.path.join(path, "sweep.json")) or path.count("/") > 2:
        return path
    name = path.rpartition("/")[2]
    if not name:
        raise UsageError(f"{path!r} names no sweep: write entity/project/id, or the id alone")
    return whereabouts(name)


def whereabouts(name: str) -> str:
    """Return the folder of a sweep that this program made or opened; else the sweep that the name means here.

    That is as on the command line (:func:`slurmsweep.state.naming.meant`): also ``last``, the beginning of an id, or
    the sweep's name. Raises NotFoundError, UsageError.
    """
    if name in _known:
        try:
            find(name)
        except NotFoundError:
            return _known[name]
    return meant(name)
