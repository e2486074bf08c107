"""Which sweep a word means: an id, its beginning, the sweep's name, ``last``, ``last~1`` before it, or a path.

The canary of a plan has the name of its file and is newer than the sweep that the plan was for: an id or a path means
it, ``last`` and names do not.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from slurmsweep.errors import NotFoundError, StateError, UsageError
from slurmsweep.state import files, paths

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: The word for the newest sweep here.
LAST = "last"

#: ``last~2``: made two before the newest, as git counts commits.
_BEFORE_LAST = re.compile(rf"{LAST}(?:~([0-9]{{0,6}}))?")

#: Sweeps that are named where a word may mean several.
_NAMED = 8


def meant(word: str | None) -> str:
    """Return the id or path that a word means; what is no sweep here is returned as it is, for the command's error.

    Args:
        word: as it was written; None where none was, which means the newest sweep.

    Raises:
        NotFoundError: there is no sweep here.
        UsageError: several sweeps have this name or an id that begins so, or ``last`` is the name of another one.
    """
    if word is not None and (not word or os.sep in word or word in (".", "..")):
        return word
    if word and paths.SWEEP_ID.fullmatch(word) and _is_id(word):
        return word
    root = paths.project_folder()
    known = paths.sweep_ids(root)
    back = steps_back(word)
    newest = None if back is None else _newest(root, known, back)
    # a name that is also the beginning of another sweep's id would otherwise give the order to that one
    found = [s for s in known if s == newest or (word and (s.startswith(word) or _name(s) == word))]
    if len(found) > 1:
        shown = ", ".join(found[:_NAMED]) + (", ..." if len(found) > _NAMED else "")
        raise UsageError(f"{word!r} may mean {len(found)} sweeps: {shown}; write more of the id")
    with suppress(StateError):  # a word that can be no path
        if word and not found and files.is_file(paths.Layout(word).manifest):
            return os.path.join(os.curdir, word)
    return found[0] if found else word or ""


def steps_back(word: str | None) -> int | None:
    """Return how many sweeps before the newest one a word means; None for a word that means no such sweep."""
    found = _BEFORE_LAST.fullmatch(LAST if word is None else word)
    if found is None:
        return None
    return 0 if found[1] is None else int(found[1] or 1)


def _is_id(word: str) -> bool:
    """Return whether a sweep here has that id, or that cannot be told: no other sweep is looked at for it."""
    try:
        paths.find(word)
    except NotFoundError:
        return False
    except StateError:
        pass
    return True


def _newest(root: str, known: Sequence[str], back: int) -> str:
    """Return the newest sweep, or the one made so many before it; canaries do not count. Raises NotFoundError."""
    newest_first = sorted(known, key=lambda sweep: (paths.made(root, sweep), sweep), reverse=True)
    found = list(islice((sweep for sweep in newest_first if not _is_canary(_document(sweep))), back + 1))
    if len(found) > back:
        return found[back]
    if found:
        raise NotFoundError(f"{root} has no sweep {LAST}~{back}: the oldest is {LAST}~{len(found) - 1}")
    but = " but canaries of plans, which their ids alone name" if known else ""
    raise NotFoundError(
        f"no sweeps in {root}{but}: `slurmsweep run FILE` makes one; or give the path of a sweep's folder"
    )


def _name(sweep: str) -> str | None:
    """Return the name that a word may mean a sweep by; None where it has none, is a canary, or cannot be read."""
    document = _document(sweep)
    config = document.get("config")
    name = config.get("name") if isinstance(config, dict) and not _is_canary(document) else None
    return name if isinstance(name, str) else None


def _is_canary(document: Mapping[str, Any]) -> bool:
    return document.get("canary") is True


def _document(sweep: str) -> Mapping[str, Any]:
    """Return what ``sweep.json`` has; nothing where it cannot be read, which opening that sweep explains."""
    with suppress(StateError, NotFoundError, ValueError, RecursionError):
        document = json.loads(files.read_plain_file(paths.find(sweep).manifest) or b"{}")
        return document if isinstance(document, dict) else {}
    return {}
