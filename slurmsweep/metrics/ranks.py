"""Tell wandb runs apart that several processes of one attempt wrote at the same time: ranks that all called ``init``.

wandb writes the rank into no file. It writes the id of the process into ``logs/debug.log`` of the run's folder (0.12 to
0.31 do), and launchers start rank 0 first. So of runs at the same time that of the lowest id counts. Limit: this holds
for processes of one machine.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress

#: What wandb writes when a process begins a run.
_PROCESS = re.compile(rb"Configure stats pid to (\d+)")

#: Bytes of the log that are searched for it: it is among the first lines.
_HEAD = 64 << 10

#: How the warning begins where a metric has a value that may be another rank's.
IN_DOUBT = "in doubt: "

_REMEDY = "call wandb.init on rank 0 alone"


def in_order(files: list[str]) -> list[str]:
    """Return run files, oldest first, so that of those written at the same time rank 0's is the last, which counts."""
    if len(files) < 2:
        return files
    ordered: list[str] = []
    for group in _at_the_same_time(files):
        ordered += sorted(group, key=lambda path: -min(_processes(path), default=0))
    return ordered


def warning(files: list[str]) -> str:
    """Return what to say where several processes wrote runs of one attempt at the same time; empty where none did."""
    for group in _at_the_same_time(files):
        writers = [_processes(path) for path in group]
        number = len(set().union(*writers))
        if any(len(pids) > 1 for pids in writers):  # both began in the same second: what one of them logged is lost
            return f"{IN_DOUBT}{number} processes wrote one run; {_REMEDY}"
        if number > 1:
            return f"{IN_DOUBT}{number} processes wrote a wandb run; {_REMEDY}"
    return ""


def _at_the_same_time(files: list[str]) -> list[list[str]]:
    """Return the files in groups, each of runs that were written together: one began before another's last write.

    Both times are by the clock of the file system.
    """
    groups: list[list[str]] = []
    latest = 0
    times = []
    for path in files:
        written = begun = os.stat(path).st_mtime_ns
        with suppress(FileNotFoundError):  # made by init, and kept empty
            begun = os.stat(os.path.join(os.path.dirname(path), "tmp", "code")).st_mtime_ns
        times.append((begun, written, path))
    for begun, written, path in sorted(times):
        if groups and begun < latest:
            groups[-1].append(path)
        else:
            groups.append([path])
        latest = max(latest, written)
    return groups


def _processes(path: str) -> set[int]:
    """Return the ids of the processes that wrote a run."""
    with suppress(FileNotFoundError), open(os.path.join(os.path.dirname(path), "logs", "debug.log"), "rb") as file:
        return {int(pid) for pid in _PROCESS.findall(file.read(_HEAD))}
    return set()
