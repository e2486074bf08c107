"""Folders that a run makes: as open, or as closed, as those around them."""

from __future__ import annotations

import os
import stat


def make_like_parent(folder: str) -> None:
    """Make a folder, and those around it that are missing, with the permissions of what is there.

    So what is made in a sweep that a group shares is shared, too. One that is there already stays as it is.

    Raises:
        OSError: it cannot be made.
    """
    if os.path.isdir(folder):
        return
    parent = os.path.dirname(folder)
    make_like_parent(parent)
    try:
        os.mkdir(folder)
    except FileExistsError:
        return
    os.chmod(folder, stat.S_IMODE(os.stat(parent).st_mode))
