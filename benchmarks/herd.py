"""Processes that want the journal's lock in the same moment: tries each, and time beside a plain FileLock, in one run.

    python benchmarks/herd.py [PROCESSES]

Each holds the lock for 2 ms. Tries are what a file server sees; the time is a ratio to holding it one after the other.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from slurmsweep.agents.agent import first_wait
from slurmsweep.state.journal import Journal, header

if TYPE_CHECKING:
    from collections.abc import Callable

HOLD = 0.002


def journal_lock(path: str, crowd: int) -> int:
    journal = Journal(path)
    journal.first_wait = first_wait(crowd)
    with journal.locked():
        time.sleep(HOLD)
    return journal.tries


def file_lock(path: str, _crowd: int) -> int:
    """Return a FileLock with its default poll of 50 ms, which counts its own tries."""
    lock = FileLock(path + ".lock", fallback_to_soft=False)
    tries = 0
    try_once = lock._acquire

    def counting() -> None:
        nonlocal tries
        tries += 1
        try_once()

    lock._acquire = counting  # type: ignore[method-assign]
    with lock:
        time.sleep(HOLD)
    return tries


def herd(take: Callable[[str, int], int], path: str, crowd: int) -> tuple[float, float, int]:
    """Seconds from the start to the last, tries on average, tries at most."""
    start = time.time() + 1 + crowd / 150
    reading, writing = os.pipe()
    pids = []
    for _ in range(crowd):
        pid = os.fork()
        if pid == 0:
            time.sleep(max(0.0, start - time.time()))
            os.write(writing, f"{take(path, crowd)}\n".encode())
            os._exit(0)
        pids.append(pid)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        tries = [int(line) for line in pipe]
    seconds = time.time() - start
    for pid in pids:
        os.waitpid(pid, 0)
    return seconds, sum(tries) / crowd, max(tries)


def main() -> None:
    crowd = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "journal.log")
        Path(path).write_bytes(header("abcd1234"))
        print(f"{crowd} processes want the lock at once, each holds it {HOLD * 1000:.0f} ms")
        kinds = [
            ("slurmsweep, as an array", journal_lock, crowd),
            ("slurmsweep, alone", lambda path, _: journal_lock(path, 1), crowd),
            ("FileLock, 50 ms poll", file_lock, crowd),
        ]
        for title, take, count in kinds:
            seconds, mean, most = herd(take, path, count)
            ratio = seconds / (HOLD * count)
            print(
                f"{title:24} {mean:5.1f} tries each, {most} at most; {ratio:.1f} times as long as one after the other"
            )


if __name__ == "__main__":
    main()
