"""Load a checked configuration from a path. For the login node only, because it needs YAML."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from slurmsweep.errors import SweepFileError, Violation
from slurmsweep.sweepfile import yaml12
from slurmsweep.sweepfile.config import Checked, Examined, examine
from slurmsweep.sweepfile.findings import nearest

if TYPE_CHECKING:
    from slurmsweep.sweepfile.findings import Path


def load(path: str) -> Checked:
    """Read and check a sweep file, YAML or JSON.

    Raises SweepFileError with all violations: the file cannot be read, is not YAML, or breaks rules.
    """
    return examine_file(path).checked()


def examine_file(path: str) -> Examined:
    """Read and examine a sweep file, YAML or JSON.

    Raises SweepFileError if its content cannot be examined: it cannot be read, is not YAML, or no mapping.
    """
    data, lines = read_yaml(path)
    if data is None:
        raise _unreadable(path, "is empty", "a sweep file needs method and parameters")
    return examine(data, path, lines)


def _sweep_file_like(path: str) -> str | None:
    """Return the YAML file beside a path that has almost its name."""
    folder, name = os.path.split(path)
    with suppress(OSError):
        close = nearest(name, (one for one in os.listdir(folder or os.curdir) if one.endswith((".yaml", ".yml"))))
        return os.path.join(folder, close) if close else None
    return None


def read_yaml(path: str) -> tuple[Any, dict[Path, int]]:
    """Return the content of a file, YAML or JSON (None of an empty one), and the 1-based line of each key path.

    Raises SweepFileError if it cannot be read, or is not YAML.
    """
    try:
        with open(path, "rb", opener=_open) as file:
            # one byte more than allowed: a pipe has no size to ask for
            content = file.read(yaml12.MAX_BYTES + 1)
            if not content and not os.path.isfile(path):
                raise _unreadable(path, "gives nothing to read: it is no file", "name the sweep file")
    except IsADirectoryError as error:
        raise _unreadable(path, "is a folder", "name the sweep file in it") from error
    except FileNotFoundError as error:
        close, hint = _sweep_file_like(path), "give the path of a sweep file"
        raise _unreadable(path, "there is no such file", f"did you mean {close!r}?" if close else hint) from error
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise _unreadable(path, f"is not a path: {error}") from error
    if len(content) > yaml12.MAX_BYTES:
        hint = "a sweep file describes, it does not list"
        raise _unreadable(path, f"is larger than {yaml12.MAX_BYTES >> 20} MiB", hint)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 text: byte {error.start} is {content[error.start]:#04x}"
        raise _unreadable(path, problem, "save it as UTF-8") from error
    return yaml12.load(text, path)


def _open(path: str, flags: int) -> int:
    """Open a file, and a pipe without waiting for a program that writes to it: without one there is nothing in it."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    return descriptor


def _unreadable(path: str, problem: str, hint: str = "") -> SweepFileError:
    return SweepFileError(path, [Violation("", problem, hint)])
