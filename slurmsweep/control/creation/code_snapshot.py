"""Keep the code of a new sweep: copy the chosen files, so that each trial runs what was there then."""

from __future__ import annotations

import os
import re
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from slurmsweep.agents.identity import process_start
from slurmsweep.control.creation.code_selection import leads_outside
from slurmsweep.state import files, paths, place
from slurmsweep.state.code_copy import Copied, CopiedFile, copy_read_only, digest_of, list_text
from slurmsweep.state.paths import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slurmsweep.control.creation.code_selection import Selection

#: The folder of a process that makes a copy: it has the copy, and an empty folder with the name of the sweep's.
_MADE_BY = re.compile(rf"{re.escape(paths.COPYING)}(?P<process>[0-9]+)-(?P<start>[^-]+)-(?P<host>.+)", re.ASCII)
_OF_SWEEP, _COPY = re.compile(rf"sweep-{paths.SWEEP_ID.pattern}"), "source"


@contextmanager
def copied(selection: Selection | None, folder: str, access: files.Access) -> Iterator[Copied | None]:
    """Copy the files beside the folder of a sweep that is about to be made; the body moves the copy into it.

    A copy that the body did not take is removed, and so is what processes of this machine left that were killed: their
    copies, and the folders of their sweeps, which are none without ``sweep.json``.

    Raises:
        StateUnwritableError, StateUnreadableError: there is no copy.
    """
    if selection is None:
        yield None
        return
    state = os.path.dirname(folder)
    place.make_state(state, access)
    host, number = os.uname().nodename, os.getpid()
    for name in files.names_in(state):
        made = _MADE_BY.fullmatch(name)
        if made and made["host"] == host and str(process_start(int(made["process"]))) != made["start"]:
            left = os.path.join(state, name)
            for sweep in filter(_OF_SWEEP.fullmatch, files.names_in(left)):
                begun = os.path.join(state, sweep)
                if not files.is_file(Layout(begun).manifest):
                    place.unmake(paths.root_folder(), begun)
            files.remove_tree(left)
    temporary = os.path.join(state, f"{paths.COPYING}{number}-{process_start(number)}-{host}")
    copy = os.path.join(temporary, _COPY)
    try:
        for one in (temporary, os.path.join(temporary, os.path.basename(folder)), copy):
            files.make_folder(one)
        listed = tuple(_copy(selection, copy))
        what = selection.what._replace(digest=digest_of(list_text(listed)))
        yield Copied(copy, listed, what)
    finally:
        files.remove_tree(temporary)


def _copy(selection: Selection, folder: str) -> Iterator[CopiedFile]:
    root, made = selection.what.root, {folder}
    for name in sorted((*selection.names, *selection.links)):
        original, path = os.path.join(root, name), os.path.join(folder, name)
        _make_folders(os.path.dirname(path), made)
        try:
            if name in selection.links or os.path.islink(original):
                target = original if name in selection.links else os.readlink(original)
                if leads_outside(root, name):  # from the copy a relative one would lead elsewhere
                    target = os.path.normpath(os.path.join(os.path.dirname(original), target))
                files.link_to(target, path)
                yield CopiedFile(name, "link", target)
            else:
                digest = copy_read_only(original, path)
                yield CopiedFile(name, "program" if os.stat(path).st_mode & stat.S_IXUSR else "file", digest)
        except FileNotFoundError:  # removed since the files were chosen
            continue
    _make_folders(os.path.join(folder, selection.what.inside), made)
    for one in sorted(made, reverse=True):
        files.sync_folder(one)


def _make_folders(path: str, made: set[str]) -> None:
    path = os.path.normpath(path)
    if path not in made:
        _make_folders(os.path.dirname(path), made)
        files.ensure_folder(path)
        made.add(path)
