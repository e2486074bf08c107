"""Say with which code trials are started: asked of git once for all of them, on the machine that starts them."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from slurmsweep.control.creation.code_files import CODE, CONFIGURATION
from slurmsweep.control.creation.repository import find_repository
from slurmsweep.errors import UsageError
from slurmsweep.state.code_version import CHANGES, CodeState, state_of

if TYPE_CHECKING:
    from slurmsweep.state.store import SweepStore

#: Files of code that agents look at before each trial.
_MOST_FILES = 64


def note_code_state(store: SweepStore) -> None:
    """Write down with which code the next trials are started; nothing where it is in no repository that git can tell.

    A sweep with a copy of its code needs none. Raises StateUnwritableError.
    """
    manifest = store.manifest
    if manifest.snapshot:
        return
    with suppress(UsageError):  # a node without git, or a repository of another user: what was known before stays
        repository = find_repository(manifest.workdir)
        commit = repository.commit() if repository else None
        if repository is None or commit is None:
            return
        changes = repository.changes()
        folder = os.path.realpath(os.path.dirname(manifest.script or "") or manifest.workdir)
        inside = os.path.relpath(folder, repository.root)
        program = os.path.normpath(os.path.join(inside, os.path.basename(manifest.script or "")))
        named = {name for name in repository.tracked() if name.lower().endswith((*CODE, *CONFIGURATION))}
        own = {program} if manifest.script else set()

        def distance(name: str) -> tuple[bool, int, bool, str]:
            """Sort the program first, then by the folders in between; configuration comes behind code."""
            steps = os.path.relpath(os.path.dirname(name) or os.curdir, inside).split("/")
            away = len([step for step in steps if step != os.curdir])
            return name != program, away, name.lower().endswith(CONFIGURATION), name

        nearest = sorted(named | own, key=distance)
        found = (state_of(repository.root, name) for name in nearest[:_MOST_FILES])
        digest = hashlib.sha256(changes).hexdigest()[:CHANGES] if changes else ""
        watched = tuple(one for one in found if one.size >= 0)
        state = CodeState(repository.root, repository.git, repository.common, commit, digest, watched)
        state.write(store.layout, store.access)
