"""What a message may ask of a machine that listens: one trial of a sweep that the machine was told to work for.

Any process that may write to the queue wrote the message, so nothing in it is believed: it carries no command and no
option, and its sweep has to be one of those that the machine's own user allowed and may run.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from typing import Any, NamedTuple

from slurmsweep.errors import NotFoundError, SlurmsweepError, UsageError
from slurmsweep.state import files
from slurmsweep.state.paths import SWEEP_ID, places
from slurmsweep.state.store import SweepStore

#: Characters of a message at most, and of what is shown of one.
_LONGEST, _SHOWN = 4096, 60

#: All keys that a message may have, each with the type of its value.
_KEYS: dict[str, type] = {"sweep": str, "submission": str, "n": int}

#: Of W&B's names the parts are: no option of a program, no `.` or `..`.
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_HOSTED = re.compile(rf"({_PART})/({_PART})/({_PART})")


class Allowed(NamedTuple):
    """The sweeps that messages may ask for.

    Attributes:
        roots: folders without links in them; sweeps below them.
        entity: of W&B, whose sweeps may be run; empty for none.
        project: the one project of it; empty for each.
    """

    roots: tuple[str, ...]
    entity: str = ""
    project: str = ""


class Work(NamedTuple):
    """What a message asks for.

    Attributes:
        argument: of the agent: the folder of a sweep, or ``entity/project/sweep``.
        store: of the sweep; None where W&B holds it.
    """

    argument: str
    store: SweepStore | None


def read(body: str) -> str:
    """Return the sweep that a message names: of our JSON, or the bare text that W&B's examples send. Pure.

    Raises:
        UsageError: the message is of no such kind. The error shows little of it.
    """
    if len(body) > _LONGEST:
        raise UsageError(f"it has {len(body)} characters, and none of ours has more than {_LONGEST}")
    text = body.strip()
    document: Any = text
    if text.startswith(("{", "[", '"')):
        try:
            document = json.loads(text, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"it is no JSON: {str(error)[:_SHOWN]}") from error
    if isinstance(document, dict):
        wrong = [key for key, value in document.items() if type(value) is not _KEYS.get(key)]
        if wrong or "sweep" not in document:
            about = f"{wrong[0][:_SHOWN]!a} is none of them, or of a wrong type" if wrong else "it names no sweep"
            raise UsageError(f"a message has the keys {', '.join(_KEYS)}: {about}")
        document = document["sweep"]
    if not isinstance(document, str) or not document or not document.isprintable():
        raise UsageError(f"it names no sweep: {str(document)[:_SHOWN]!a}")
    return document


def work_of(name: str, allowed: Allowed) -> Work:
    """Return the sweep of that name, if the machine may work for it.

    Args:
        name: absolute path of the folder of a sweep, its id, or ``entity/project/sweep``.
        allowed: by the machine's user.

    Raises:
        SlurmsweepError: it is none, is not allowed, or may not be run by this user; the message says why.
    """
    if os.path.isabs(name):
        return _of_folder(name, allowed)
    if SWEEP_ID.fullmatch(name):
        folders = [place for root in allowed.roots for place in places(root, f"sweep-{name}") if _is_folder(place)]
        if folders:
            return _of_folder(os.path.realpath(folders[0]), allowed)
        if not (allowed.entity and allowed.project):
            raise NotFoundError(f"there is no sweep {name} directly in {_in_words(allowed.roots)}")
        name = f"{allowed.entity}/{allowed.project}/{name}"
    found = _HOSTED.fullmatch(name)
    if found is None:
        raise UsageError(f"{name[:_SHOWN]!a} is no absolute path, no id, and no entity/project/sweep")
    if found[1] != allowed.entity or allowed.project not in ("", found[2]):
        permitted = "/".join(part for part in (allowed.entity, allowed.project) if part) or "no entity: say --entity"
        raise UsageError(f"{name[:_SHOWN]!a} is a sweep that W&B holds, and this machine runs those of {permitted}")
    return Work(name, None)


def _of_folder(folder: str, allowed: Allowed) -> Work:
    """Return the sweep of a folder. Its path, with all links followed, has to be below a root."""
    shown = f"{folder[:_SHOWN]!a}"
    if ".." in folder.split(os.sep) or os.path.normpath(folder) != folder:
        raise UsageError(f"{shown} is not the plain path of a folder")
    real = os.path.realpath(folder)
    if not any(real.startswith(os.path.join(root, "")) for root in allowed.roots):
        raise UsageError(f"{shown} is not below {_in_words(allowed.roots)}: `listen --root` names where sweeps may be")
    store = SweepStore.open_to_run(folder)
    if os.path.realpath(store.layout.folder) != real:
        raise UsageError(f"{shown} leads to another folder")
    return Work(store.layout.folder, store)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object. Raises ValueError where a key is there twice: readers differ in which one counts."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _is_folder(path: str) -> bool:
    with suppress(SlurmsweepError):
        return files.is_folder(path)
    return False


def _in_words(roots: tuple[str, ...]) -> str:
    return ", ".join(roots) or "any folder, as none is allowed"
