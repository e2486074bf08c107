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
from slurmsweep.metrics.told import EMPTY_ROWS, END, WORD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slurmsweep.state.paths import Layout
    from slurmsweep.state.tail import AttemptId

#: Bytes that are read at a time.
_PIECE = 1 << 20

#: wandb's longest line holds a path: of a longer line (a progress bar's) this much before its end is searched.
_LONGEST_LINE = 8 << 10

#: Words without which a piece of a log holds nothing that is searched for.
_WANDB_NEEDLES = (b"saved locally in", b"wandb sync", b"Ignoring ")
_NEEDLES = (*_WANDB_NEEDLES, WORD)

#: Where a piece has one of these, each of its lines is looked at by itself: escapes are taken out, and wandb's words.
_BY_LINE = (*_WANDB_NEEDLES, b"\x1b")

#: wandb colours its last lines even in a file.
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

#: wandb, and the native client, say so where they run in a sweep.
_IGNORED = re.compile(r"""Ignoring (project|entity) (['"])(.+?)\2 when running""")

#: Bounds of the search for a relative folder: levels, folders, and entries read of each folder.
_DEPTH, _FOLDERS, ENTRIES = 3, 1000, 1000


class ExternalRuns:
    """Follower of the log of an attempt that finds the runs which wandb says it writes; each byte is read once.

    Runs of any id count, as a script may choose it, but none of another trial. Limits: there is nothing to find if
    wandb is told to be silent, or if its output does not go to the trial's log. A log that was truncated or replaced by
    another file is read from its start. Of more than 128 MiB that were added since the last look the first and the last
    64 MiB are read: wandb says where its runs are when they begin and end. Of the printed rows
    in them fewer may count (:data:`.told.ROWS`).

    Attributes:
        asked_for: ``project`` and ``entity`` that the script named and wandb ignored, because it runs in a sweep.
        printed: lines that may hold values which the program prints, many in a text, because each alone takes several
            times its length: :func:`.told.printed_rows` takes them.
    """

    def __init__(self, layout: Layout, attempt_id: AttemptId) -> None:
        self._layout = layout
        self._path, self._own = layout.log(attempt_id), layout.runs(attempt_id.trial)
        other_trial = rf"{re.escape(layout.sweep_id)}-(?!{attempt_id.trial}(?:-|\s*$))"
        self._said = re.compile(
            r"(?:Run data is saved locally in|wandb sync) "
            rf"(\S.*?(?:offline-)?run-[0-9]+_[0-9]+-(?!{other_trial})[^/\s]+)\s*$"
        )
        self._inode = self._offset = 0
        self._torn = b""
        self._found: dict[str, str | None] = {}
        self.asked_for: dict[str, str] = {}
        self.printed: list[str] = []

    def files(self) -> list[str]:
        """Return the run files found so far that can be seen from here, in the order in which wandb named them.

        Raises OSError if the log is there and cannot be read.
        """
        with suppress(FileNotFoundError):
            self._read_on()
        for said, folder in self._found.items():
            if folder is None:
                self._found[said] = next((place for place in self._places(said) if os.path.isdir(place)), None)
        folders = dict.fromkeys(folder for folder in self._found.values() if folder)
        return [path for folder in folders for path in files_in(folder)]

    def _places(self, said: str) -> Iterator[str]:
        """Yield where a run may be that wandb named; one in the trial's own folder is there also in a moved sweep."""
        folder, name = os.path.split(said)
        if folder.endswith(f"/{os.path.relpath(self._own, os.path.dirname(self._layout.folder))}"):
            yield os.path.join(self._own, name)
        elif os.path.isabs(said):
            yield said
        else:
            around = bases(self._layout, self._path, is_deep=True)
            yield from (os.path.normpath(os.path.join(base, said)) for base in around)

    @property
    def said(self) -> list[str]:
        """Places where wandb said that it writes runs."""
        return list(self._found)

    @property
    def unseen(self) -> list[str]:
        """Those of them that cannot be seen from here."""
        return [said for said, folder in self._found.items() if folder is None]

    def _read_on(self) -> None:
        with open(self._path, "rb") as file:
            known = os.fstat(file.fileno())
            if known.st_ino != self._inode or known.st_size < self._offset:
                self._inode, self._offset, self._torn = known.st_ino, 0, b""
            passed_over = known.st_size - END
            is_long = passed_over - self._offset > END
            first_end = self._offset + END
            file.seek(self._offset)
            while piece := file.read(_PIECE):
                self._offset += len(piece)
                self._take(piece)
                if is_long and self._offset >= first_end:
                    is_long, self._offset, self._torn = False, passed_over, b""
                    file.seek(passed_over)

    def _take(self, piece: bytes) -> None:
        """Search the whole lines of what was added to the log; keep the rest until its end is there."""
        text = self._torn + piece
        end = max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
        self._torn = text[max(end, len(text) - _LONGEST_LINE) :]
        if all(text.find(needle, 0, end) < 0 for needle in _NEEDLES):
            return
        lines = (line[-_LONGEST_LINE:] for line in text[:end].splitlines() if line not in EMPTY_ROWS)
        if any(needle in text for needle in _BY_LINE):
            told = (line for line in lines if any(needle in line for needle in _NEEDLES))
            short = (_ESCAPES.sub("", line.decode("utf-8", "surrogateescape")) for line in told)
            printed = "\n".join(line for line in short if self._has_values(line))
        else:
            printed = b"\n".join(line for line in lines if WORD in line).decode("utf-8", "surrogateescape")
        if printed:
            self.printed.append(printed)

    def _has_values(self, line: str) -> bool:
        """Take in what wandb says of its runs in a line; return whether the line may hold values instead."""
        if said := self._said.search(line):
            self._found.setdefault(said[1], None)
            return False
        if ignored := _IGNORED.search(line):
            self.asked_for[ignored[1]] = ignored[3]
            return False
        return WORD.decode() in line


def files_in(folder: str) -> list[str]:
    """Return the run files in the folder of a run."""
    return sorted(glob(os.path.join(escape(folder), "*.wandb")))


def bases(layout: Layout, log: str, *, is_deep: bool = False) -> Iterator[str]:
    """Yield folders in which a script may be when it calls ``init``, likely ones first.

    The one its command starts in; its program's own; those of attempt, trial and checkpoints, by its environment; with
    ``is_deep`` also folders below the first, level by level and a bounded number, as for ``chdir`` into a folder of
    results. The run's name holds its id and its second, so that a folder of that name is the right one.
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
    trial = os.path.dirname(os.path.dirname(log))
    yield trial
    yield layout.checkpoints(int(os.path.basename(trial)))
    if is_deep:
        yield from below(known.workdir)


def below(top: str) -> Iterator[str]:
    """Yield folders below ``top``, upper levels first; without hidden ones and wandb's own."""
    waiting = deque([(top, 0)])
    count = 0
    while waiting:
        folder, depth = waiting.popleft()
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in islice(entries, ENTRIES):
                if entry.name.startswith(".") or entry.name == "wandb" or not entry.is_dir(follow_symlinks=False):
                    continue
                yield entry.path
                count += 1
                if count >= _FOLDERS:
                    return
                if depth + 1 < _DEPTH:
                    waiting.append((entry.path, depth + 1))
