"""``slurmsweep: {snapshot: ...}``: whether a sweep keeps a copy of the code, and what of it is left out or linked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.sweepfile.findings import shown

if TYPE_CHECKING:
    from slurmsweep.sweepfile.findings import Findings, Path

_KEYS = ("exclude", "link")


class SnapshotRules(NamedTuple):
    """What a copy of the code holds beside what git knows.

    Attributes:
        exclude: patterns, as of a shell, of names or paths that are not copied.
        link: paths, relative to the folder in which trials run, that are links to the originals; also ``../data``.
    """

    exclude: tuple[str, ...] = ()
    link: tuple[str, ...] = ()


def read_snapshot(value: Any, findings: Findings) -> SnapshotRules | None:
    """Return the rules; None where no copy is wanted. Mistakes are added to ``findings``."""
    path: Path = ("slurmsweep", "snapshot")
    if isinstance(value, bool):
        return SnapshotRules() if value else None
    if not isinstance(value, dict):
        hint = "true copies the program's folder; {exclude: [results], link: [data]} says what is left out or linked"
        findings.error(path, f"must be true, false or a mapping, not {shown(value)}", hint)
        return None
    findings.keys(path, value, _KEYS, "is no key of snapshot")
    for key in _KEYS:
        listed = value.get(key, [])
        if not isinstance(listed, list) or not all(isinstance(one, str) and one.strip("/") for one in listed):
            findings.error((*path, key), "must be a list of paths", f"such as {key}: [data]")
            return None
    for one in value.get("link", []):
        if os.path.isabs(one) or os.path.normpath(one).strip("./") == "":
            hint = "an absolute path needs no link: the copy does not change what it means"
            findings.error((*path, "link"), f"{shown(one)} is no relative path of a file or folder", hint)
    return SnapshotRules(tuple(value.get("exclude", [])), tuple(value.get("link", [])))
