"""The signature of a failure, from the end of a log: equal for equal mistakes. The innermost line, and the error."""

from __future__ import annotations

import os
import re

from slurmsweep.agents.attempt import NOTE

#: Bytes of the end of a log that are looked at.
_TAIL = 8192

_TRACEBACK = "Traceback (most recent call last):"
_FRAME = re.compile(r'^\s*File "(.+)", line (\d+), in (.+)$')

#: What the agent adds below the command's last words.
_NOTE = re.compile(re.escape(NOTE) + ".*")

#: What differs between two trials that make the same mistake: numbers, addresses, quoted values, paths of attempts.
_VARYING = re.compile(r"0x[0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|'[^']*'|\"[^\"]*\"")


def last_words(path: str) -> str:
    """Return the end of a log; empty where there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def signature(text: str) -> str:
    """Return ``train.py, line 12: ValueError: # is no size``; the last line of what is no Python traceback."""
    _, found, traceback = _NOTE.sub("", text).rpartition(_TRACEBACK)
    lines = [line for line in traceback.splitlines() if line.strip()]
    if not lines:
        return ""
    error = _VARYING.sub("#", lines[-1].strip())
    frames = [match for line in lines if (match := _FRAME.match(line))] if found else []
    if not frames:
        return error
    path, number, _ = frames[-1].groups()
    return f"{os.path.basename(path)}, line {number}: {error}"
