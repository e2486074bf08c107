"""Files that a run keeps: its code, and the files that the script saves."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
from fnmatch import fnmatch
from functools import partial
from glob import glob as paths_matching
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slurmsweep.client.folders import make_like_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    #: Tells whether a file is chosen, by its path, or by its path and the root.
    Chooser = Callable[..., Any]

#: Names of code by default, as for wandb (``wandb_run._is_py_requirements_or_dockerfile``).
_CODE = ("*.py", "requirements*.txt", "Dockerfile*")

#: Folders in the root that hold results of runs and no code.
_NOT_CODE = ("wandb", ".wandb", ".slurmsweep")

#: The earliest time in a zip archive: so equal content gives equal archives at any time.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


def keep_code(
    root: str, home: str, name: str | None, include: Chooser | None = None, exclude: Chooser | None = None
) -> str | None:
    """Archive the code below ``root`` as ``<home>/code/<name>-<digest>.zip``, unless that file exists.

    Any number of processes may call this at once: the file appears whole, and later processes use it. Returns the path
    of the archive; None if there is no code.
    """
    root = os.path.abspath(root)
    contents = {os.path.relpath(path, root): Path(path).read_bytes() for path in _code_files(root, include, exclude)}
    if not contents:
        return None
    digest = hashlib.sha256()
    for file, data in sorted(contents.items()):
        digest.update(f"{len(file)} {file} {len(data)}\n".encode("utf-8", "surrogateescape") + data)
    shown = "".join(c if c.isalnum() or c in "-_." else "-" for c in name or os.path.basename(root)).strip(".")
    path = os.path.join(home, "code", f"{shown or 'code'}-{digest.hexdigest()[:16]}.zip")

    def fill(temporary: str) -> None:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for file, data in sorted(contents.items()):
                archive.writestr(zipfile.ZipInfo(file, _NO_TIME), data, zipfile.ZIP_DEFLATED)

    if not os.path.exists(path):
        make_like_parent(os.path.dirname(path))
        _replace(path, fill)
    return path


def targets(pattern: str, base_path: str | os.PathLike[str] | None, folder: str, *, glob: bool) -> dict[str, str]:
    """Return the files that match, each with the place of its copy in ``folder``, by the rules of ``wandb.Run.save``.

    The structure below the base is kept. A file that is in ``folder`` already stays where it is.
    """
    absolute = os.path.abspath(pattern)
    if base_path is not None:
        base = os.path.abspath(base_path)
    else:
        base = os.path.dirname(os.path.dirname(absolute)) if os.path.isabs(pattern) else os.getcwd()
    found = paths_matching(absolute, recursive=True) if glob else [absolute]
    places = {}
    for path in sorted(filter(os.path.isfile, found)):
        inside = os.path.relpath(path, base)
        place = os.path.basename(path) if inside.startswith(os.pardir) else inside
        places[path] = path if path.startswith(folder + os.sep) else os.path.join(folder, place)
    return places


def copy_changed(copies: Mapping[str, str]) -> None:
    """Copy each file to its place, unless size and time are equal there; a removed file keeps its earlier copy."""
    for source, copy in copies.items():
        if source == copy or not os.path.exists(source):
            continue
        here, there = os.stat(source), os.stat(copy) if os.path.exists(copy) else None
        if there is None or (here.st_size, here.st_mtime_ns) != (there.st_size, there.st_mtime_ns):
            make_like_parent(os.path.dirname(copy))
            _replace(copy, partial(shutil.copy2, source))


def _code_files(root: str, include: Chooser | None, exclude: Chooser | None) -> Iterator[str]:
    includes, excludes = _by_path(include, root), _by_path(exclude, root)
    for folder, inner, names in os.walk(root):
        mine = _NOT_CODE if folder == root else ()
        inner[:] = sorted(
            name for name in inner if name not in mine and not os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))
        )
        for name in sorted(names):
            path = os.path.join(folder, name)
            chosen = includes(path) if includes else any(fnmatch(name, pattern) for pattern in _CODE)
            if chosen and not (excludes and excludes(path)) and os.path.isfile(path):
                yield path


def _by_path(chooser: Chooser | None, root: str) -> Callable[[str], Any] | None:
    """Return the script's function as one of a path only; wandb also accepts a function of path and root."""
    if chooser is None:
        return None
    import inspect

    if len(inspect.signature(chooser).parameters) == 1:
        return chooser
    return lambda path: chooser(path, root)


def _replace(path: str, fill: Callable[[str], Any]) -> None:
    """Make a file appear whole: until then readers see the earlier file, or none."""
    folder = os.path.dirname(path)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".")
    os.close(handle)
    try:
        fill(temporary)
        os.chmod(temporary, 0o666 & os.stat(folder).st_mode)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
