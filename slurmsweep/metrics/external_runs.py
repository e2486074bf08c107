"""Find runs of the real wandb outside of the trial's folder: the script chose another folder (``dir=``).

wandb writes into the trial's log where its run is: when it begins (0.22 and 0.31 do, 0.18 does not), and when it ends.
With a relative ``dir=`` that path is relative to the folder in which the script was when it called ``init``, and that
folder is written nowhere. It is searched for where scripts go: see :func:`_bases`.
"""

from __future__ import annotations

import os
import re
from collections import deque
from contextlib import suppress
from glob import escape, glob
from itertools import islice
from typing import TYPE_CHECKING

from slurmsweep.errors import SlurmsweepError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slurmsweep.state.paths import Layout
    from slurmsweep.state.tail import AttemptId

#: Bytes of a log that one call reads at most; the next call goes on from there.
AT_ONCE = 1 << 20

#: Bytes that are read at a time.
_PIECE = 256 << 10

#: wandb's longest line holds a path: a longer line (a progress bar's) is not wandb's.
_LONGEST_LINE = 8 << 10

#: wandb colours its last lines even in a file.
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

#: Bounds of the search for a relative folder: levels, folders, and entries read of each folder.
_DEPTH, _FOLDERS, _ENTRIES = 3, 1000, 1000


class ExternalRuns:
    """Follower of a trial's log that finds the runs which wandb says it writes; each byte of the log is read once.

    Limits: there is nothing to find if wandb is told to be silent, or if its output does not go to the trial's log; one
    call reads 1 MiB. A log that was truncated or replaced by another file is read from its start.
    """

    def __init__(self, layout: Layout, attempt_id: AttemptId) -> None:
        self._layout = layout
        self._path = layout.log(attempt_id)
        run = re.escape(layout.run_id(attempt_id.trial))
        self._needle = layout.run_id(attempt_id.trial).encode()
        self._said = re.compile(
            rf"(?:Run data is saved locally in|wandb sync) (\S.*?(?:offline-)?run-[0-9_]+-{run}(?:-[0-9]+)?)\s*$"
        )
        self._inode = self._offset = 0
        self._torn = b""
        self._is_within_long_line = False
        self._found: dict[str, str | None] = {}

    def files(self) -> list[str]:
        """Return the run files found so far that can be seen from here, in the order in which wandb named them.

        Raises OSError if the log is there and cannot be read.
        """
        with suppress(FileNotFoundError):
            self._read_on()
        for said, folder in self._found.items():
            if folder is None:
                bases = _bases(self._layout, self._path)
                places = [said] if os.path.isabs(said) else (os.path.normpath(os.path.join(b, said)) for b in bases)
                self._found[said] = next((place for place in places if os.path.isdir(place)), None)
        folders = dict.fromkeys(folder for folder in self._found.values() if folder)
        return [path for folder in folders for path in sorted(glob(os.path.join(escape(folder), "*.wandb")))]

    @property
    def unseen(self) -> list[str]:
        """Places where wandb said that it writes runs, of those that cannot be seen from here."""
        return [said for said, folder in self._found.items() if folder is None]

    def _read_on(self) -> None:
        with open(self._path, "rb") as file:
            known = os.fstat(file.fileno())
            if known.st_ino != self._inode or known.st_size < self._offset:
                self._inode, self._offset, self._torn, self._is_within_long_line = known.st_ino, 0, b"", False
            file.seek(self._offset)
            left = AT_ONCE
            while left > 0 and (piece := file.read(min(left, _PIECE))):
                left -= len(piece)
                self._offset += len(piece)
                self._take(piece)

    def _take(self, piece: bytes) -> None:
        """Search the whole lines of what was added to the log; keep the rest until its end is there."""
        whole, newline, rest = piece.rpartition(b"\n")
        if newline:
            lines = self._torn + whole
            if self._is_within_long_line:
                lines = lines.partition(b"\n")[2]
            if self._needle in lines:
                for line in lines.decode("utf-8", "surrogateescape").split("\n"):
                    if said := self._said.search(_ESCAPES.sub("", line)):
                        self._found.setdefault(said[1], None)
            self._torn, self._is_within_long_line = rest, False
        else:
            self._torn += rest
        if len(self._torn) > _LONGEST_LINE:
            self._torn, self._is_within_long_line = b"", True


def _bases(layout: Layout, log: str) -> Iterator[str]:
    """Yield folders in which a script may be when it calls ``init``, likely ones first.

    The one its command starts in; its program's own; the attempt's and the trial's, which are in its environment; then
    folders below the first, level by level and a bounded number, as for ``chdir`` into a folder of results. The run's
    name holds its id and its second, so that a folder of that name is the right one.
    """
    from slurmsweep.state.store import SweepStore  # few trials get here

    try:
        known = SweepStore.open(layout.folder).manifest
    except SlurmsweepError:
        return
    yield known.workdir
    if known.script:
        yield os.path.dirname(known.script)
    yield os.path.dirname(log)
    yield os.path.dirname(os.path.dirname(log))
    yield from _below(known.workdir)


def _below(top: str) -> Iterator[str]:
    """Yield folders below ``top``, upper levels first; without hidden ones and wandb's own."""
    waiting = deque([(top, 0)])
    count = 0
    while waiting:
        folder, depth = waiting.popleft()
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in islice(entries, _ENTRIES):
                if entry.name.startswith(".") or entry.name == "wandb" or not entry.is_dir(follow_symlinks=False):
                    continue
                yield entry.path
                count += 1
                if count >= _FOLDERS:
                    return
                if depth + 1 < _DEPTH:
                    waiting.append((entry.path, depth + 1))
