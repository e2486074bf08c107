"""Where a run has its clusters: folders and ports that no other run on this machine has."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Ports that the clusters of a run may need: a hundred each. The kernel gives none of these to other programs by chance
#: (ip_local_port_range): they begin at 26800 or below.
_PORTS = 500

#: Places on one machine.
_RUNS = 20


class Place(NamedTuple):
    """Where one cluster is.

    Attributes:
        folder: of all its files.
        ports: the first of its hundred ports.
    """

    folder: Path
    ports: int

    @property
    def knobs(self) -> dict[str, str]:
        """What ``tests/cluster/up`` and ``down`` take."""
        return {"SLURMSWEEP_LAB": str(self.folder), "SLURMSWEEP_LAB_PORTS": str(self.ports)}

    def beside(self, word: str, further: int) -> Place:
        """Return the place of another cluster of this run, at ports that are further on."""
        return Place(self.folder.with_name(f"{self.folder.name}-{word}"), self.ports + further)


@contextmanager
def own_place(name: str, below: Path = Path("/tmp")) -> Iterator[Place]:
    """Return SLURMSWEEP_LAB and SLURMSWEEP_LAB_PORTS where they are set, else a place that is this process's own.

    It is the first one that no living process holds, by a lock: a cluster that was started there by hand is used.
    """
    first = int(os.environ.get("SLURMSWEEP_LAB_PORTS", "26800"))
    if folder := os.environ.get("SLURMSWEEP_LAB"):
        yield Place(Path(folder), first)
        return
    for run in range(_RUNS):
        # one lock for all names: their ports are the same
        with open(below / f"slurmsweep-lab-{first - run * _PORTS}.lock", "a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield Place(below / (f"{name}-{run}" if run else name), first - run * _PORTS)
            return
    raise RuntimeError(f"{_RUNS} runs have clusters on this machine already")
