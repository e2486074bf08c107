"""Load a checked configuration from a path. For the login node only, because it needs YAML."""

from __future__ import annotations

from slurmsweep.errors import SweepFileError, Violation
from slurmsweep.sweepfile import yaml12
from slurmsweep.sweepfile.config import Checked, check


def load(path: str) -> Checked:
    """Read and check a sweep file, YAML or JSON.

    Raises SweepFileError with all violations: the file cannot be read, is not YAML, or breaks rules.
    """
    try:
        with open(path, "rb") as file:
            # one byte more than allowed: a pipe has no size to ask for
            content = file.read(yaml12.MAX_BYTES + 1)
    except IsADirectoryError as error:
        raise _unreadable(path, "is a folder", "name the sweep file in it") from error
    except FileNotFoundError as error:
        raise _unreadable(path, "there is no such file", "give the path of a sweep file") from error
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
    data, lines = yaml12.load(text, path)
    return check(data, path, lines)


def _unreadable(path: str, problem: str, hint: str = "") -> SweepFileError:
    return SweepFileError(path, [Violation("", problem, hint)])
