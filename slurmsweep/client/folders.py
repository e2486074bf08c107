"""Folders of a run, with the permissions of their parent folders."""

from __future__ import annotations

import os
import stat


def make_like_parent(folder: str) -> None:
    """Make a folder and its missing parents with the permissions of the nearest existing parent. Raises OSError.

    So folders in a sweep that a group shares are shared, too. An existing folder is not changed.
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
