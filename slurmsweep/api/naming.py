"""Read the names of sweeps that a Python program gives."""

from __future__ import annotations

import os

from slurmsweep.errors import UsageError


def sweep_name(path: object) -> str:
    """Return the id or folder in ``id``, ``project/id``, ``entity/project/id`` or a folder.

    Entity and project say where W&B keeps a sweep; slurmsweep finds its own by id alone. Source:
    ``wandb.sdk.launch.sweeps.utils.parse_sweep_id``.

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
    return name
