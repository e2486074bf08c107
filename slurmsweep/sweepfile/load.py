"""From a path to a checked configuration. Login node only: it needs YAML."""

from __future__ import annotations

import os

from slurmsweep.errors import SweepFileError, Violation
from slurmsweep.sweepfile import yaml12
from slurmsweep.sweepfile.config import Checked, check


def load(path: str) -> Checked:
    """Read and check a sweep file, YAML or JSON.

    Raises:
        SweepFileError: it cannot be read, is not YAML, or breaks rules; all violations at once.
    """
    data, lines = yaml12.load(_read_text(path), path)
    return check(data, path, lines)


def _read_text(path: str) -> str:
    try:
        if os.stat(path).st_size > yaml12.MAX_BYTES:
            raise _unreadable(
                path, f"is larger than {yaml12.MAX_BYTES >> 20} MiB", "a sweep file describes, it does not list"
            )
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise _unreadable(
            path, f"is not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}", ""
        ) from error
    except IsADirectoryError as error:
        raise _unreadable(path, "is a folder", "name the sweep file in it") from error
    except FileNotFoundError as error:
        raise _unreadable(path, "there is no such file", "give the path of a sweep file") from error
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror}", "") from error


def _unreadable(path: str, problem: str, hint: str) -> SweepFileError:
    return SweepFileError(path, [Violation("", problem, hint)])
