"""Make the folder of what slurmsweep keeps of one sweep, and the links by which people find it in ``wandb/``.

:mod:`.paths` says where both are. A link is for people: a sweep is found without it, so a filesystem that has no links,
and a ``wandb/`` of another user, do no harm.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from slurmsweep.errors import StateUnreadableError, StateUnwritableError
from slurmsweep.state import files, manifest, paths
from slurmsweep.state.journal import header

if TYPE_CHECKING:
    from slurmsweep.state.code_copy import Copied
    from slurmsweep.state.manifest import Manifest
    from slurmsweep.state.paths import Layout


def make(root: str, folder: str, access: files.Access) -> None:
    """Make ``folder``, whose place below ``root`` :func:`.paths.state_folder` gives, and the links to it.

    Raises:
        StateUnwritableError: the folder is not there; or a file stands in the place of ``wandb/``.
    """
    wandb = os.path.join(root, "wandb")
    with files.writing(wandb):
        if os.path.isfile(wandb):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), wandb)
    make_state(os.path.dirname(folder), access)
    _make_top_folder(folder, access)
    link(root, folder, access)


def unmake(root: str, folder: str) -> None:
    """Remove what :func:`make` made, where a full disk or a quota kept the rest of a sweep from being written."""
    with suppress(StateUnwritableError):  # the error that led here says more
        for path in filter(os.path.islink, paths.places(root, os.path.basename(folder))):
            files.remove_file(path)
        files.remove_tree(folder)


def make_sweep(root: str, layout: Layout, sweep: Manifest, access: files.Access, code: Copied | None) -> None:
    """Make the folder of a new sweep below ``root`` with all that it has before its first trial, ``sweep.json`` last.

    Raises:
        StateUnwritableError: there is no such sweep, and nothing of it is left where it could be removed.
    """
    try:
        make(root, layout.folder, access)
        files.ensure_folder(layout.trials, access)
        files.ensure_folder(layout.jobs, access)
        files.write_once(layout.journal, header(sweep.sweep_id), access)
        if sweep.function:
            sweep.function.write(layout, access)
        if code:
            code.move_into(layout, access)
        manifest.write(layout, sweep, access)
    except StateUnwritableError:
        if not files.is_file(layout.manifest):  # the sweep of that id, if there is one already, is left alone
            unmake(root, layout.folder)
        raise


def link(root: str, folder: str, access: files.Access) -> None:
    """Make the links to ``folder`` that are missing below ``root``, where it is a folder of that root and links can be.

    Such links are gone after a script has removed ``wandb/``.
    """
    name = os.path.basename(folder)
    if folder != paths.state_folder(root, name):
        return
    beside, in_wandb = paths.places(root, name)
    with suppress(StateUnwritableError):
        if paths.without_links(in_wandb) != folder:
            _make_top_folder(os.path.realpath(os.path.dirname(in_wandb)), access)
            files.link_to(paths.target_of(in_wandb, folder), in_wandb)
    with suppress(StateUnwritableError):
        if paths.without_links(beside) != folder:  # `wandb` is a link to elsewhere, and may be removed, too
            make_state(os.path.dirname(beside), access)
            files.link_to(paths.target_of(beside, folder), beside)


def is_removed(folder: str, device: int | None) -> bool:
    """Return whether the sweep in ``folder`` was removed: its ``sweep.json`` is gone, and its filesystem says so.

    A file server that does not answer (ESTALE, EIO), and a filesystem that is not mounted at the moment, are not that:
    the nearest folder above that is there has to be on ``device``, on which the sweep was.
    """
    path = wanted = os.path.join(folder, "sweep.json")
    try:
        while (found := files.status_of(path)) is None:
            path = os.path.dirname(path)
    except StateUnreadableError:
        return False
    return path != wanted and device in (None, found.st_dev)


def make_state(path: str, access: files.Access) -> None:
    """Make the folder of all sweeps, which git does not see: neither ``git status`` nor ``git clean -fd``."""
    if _make_top_folder(path, access):
        with suppress(FileExistsError):
            files.write_new(os.path.join(path, ".gitignore"), b"*\n", access)


def _make_top_folder(path: str, access: files.Access) -> bool:
    """Make a folder for the users that ``access`` means, unless it is there; return whether it was missing."""
    if os.path.isdir(path):
        return False
    files.ensure_folders(path, access)
    if access is not files.PRIVATE:
        files.give_to_group_of_parent(path, access)
    return True
