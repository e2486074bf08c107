"""Ask the Python that trials run with: it may be of another environment than this process's."""

from __future__ import annotations

import subprocess

#: Seconds for an answer: on a cold filesystem an interpreter starts slowly.
_PATIENCE = 60


def ask_interpreter(program: str, *words: str, folder: str, interpreter: str = "python") -> str | None:
    """Return what a short program prints; None where it fails, or gives no answer in time.

    Args:
        program: text of the program.
        words: its arguments.
        folder: that it is run in.
        interpreter: path of the interpreter, or its name on the PATH.
    """
    argv = [interpreter, "-c", program, *words]
    try:
        return subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=_PATIENCE, check=True).stdout
    except (OSError, subprocess.SubprocessError, UnicodeError):
        return None
