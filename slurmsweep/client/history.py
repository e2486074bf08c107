"""The history of a run on disk: one JSON object per line, written by one process of the trial."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from slurmsweep.client.values import warn

if TYPE_CHECKING:
    from collections.abc import Mapping

#: ``state/paths.py`` repeats the name, because the client imports nothing from there.
NAME = "history.jsonl"

#: What launchers tell each process of its rank, the launcher nearest to the process first: torchrun, MPI, srun.
#: ``agents/environment.py`` repeats the names, and that of the variable below.
RANKS = ("RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")

#: In a trial's environment: those of the names above that are not its own.
AGENT_RANKS = "SLURMSWEEP_AGENT_RANKS"


#: The key of rows of values that the script sets in the summary itself; ``metrics/reported.py`` repeats the name.
SET = "_summary_set"


class History:
    """An append-only file of rows.

    Guarantee: every reader of the file sees a row when :meth:`write` returns, also if the script is killed then. Limit:
    after a crash of the machine the last seconds may be missing. A row that cannot be written (disk full, over quota)
    is lost with one warning, so that no training stops for it.

    One process of a trial writes: the one with rank 0 (torchrun, srun, MPI), and among processes without a rank the one
    that locks the file (flock). On a filesystem without such locks every process without a rank writes.

    Args:
        folder: the existing folder of the file.
    """

    def __init__(self, folder: str) -> None:
        path = os.path.join(folder, NAME)
        self._path = path
        self._pid = os.getpid()
        self._warned = False
        self._file: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if not _locked(self._file):
            warn(f"another process of this trial writes {path}: what this one logs is not kept")
            os.close(self._file)
            self._file = None
            return
        if os.stat(folder).st_mode & stat.S_IWGRP:  # a sweep that a group shares
            os.fchmod(self._file, 0o660)
        size = os.fstat(self._file).st_size
        #: Whether an earlier process was killed in the middle of a line, or this one wrote a part of a line.
        self._torn = size > 0 and os.pread(self._file, 1, size - 1) != b"\n"

    def write(self, row: Mapping[str, Any]) -> None:
        """Append a row by one system call: a killed script leaves at most its last line incomplete."""
        if self._file is None:
            return
        if os.getpid() != self._pid:
            self._warn_once("a forked process logs: only the one that called init() is kept")
            return
        data = (b"\n" if self._torn else b"") + json.dumps(row).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self._file, data) :]
                self._torn = bool(data)
        except OSError as error:
            self._warn_once(f"{self._path} cannot be written ({error.strerror}): logged values are lost")

    def close(self) -> None:
        """Release the file for another run of this process; later rows are not kept."""
        if self._file is not None and os.getpid() == self._pid:
            with suppress(OSError):  # the descriptor is closed next in any case
                fcntl.flock(self._file, fcntl.LOCK_UN)  # else a forked process that still lives would hold the lock
            os.close(self._file)
        self._file = None

    def _warn_once(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            warn(message)


def rank() -> int:
    """Return the rank of this process among those of its trial; 0 for a single process.

    An agent may have a rank among other agents, and a shell one of an earlier program. The agent passes those on as 0
    and names them in ``SLURMSWEEP_AGENT_RANKS``; what a launcher of the trial itself sets replaces them.
    """
    of_the_agent = os.environ.get(AGENT_RANKS, "").split(",")
    for name in RANKS:
        text = os.environ.get(name, "")
        if text.isdecimal() and (int(text) > 0 or name not in of_the_agent):
            return int(text)
    return 0


def _locked(file: int) -> bool:
    """Lock the file; return False if another process holds it, and True also if the filesystem has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True
