"""Try what a sweep needs of a filesystem, between processes.

``python -m slurmsweep.doctor.probe FOLDER NUMBER COUNT``: each of ``COUNT`` processes, on as many machines as there
are, leaves what it saw in ``FOLDER/seen-NUMBER.json``:

- *mkdir*: all processes try to make the same folders; each folder must have exactly one maker.
- *lock*: the holder of a file's lock makes a folder and removes it; a holder that finds it there met a second holder.
- *delay*: the first two processes send each other new names, and bytes appended to a file; half a round trip counts.
- *clock*: the second process's clock against the first's, as exactly as that delay allows.
"""

from __future__ import annotations

import json
import os
import platform
import random
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

from filelock import lock_descriptor

if TYPE_CHECKING:
    from collections.abc import Callable

#: Number of folders to make, of turns at the lock, and of round trips.
ROUNDS = 100
_HOLDS = 30
_PINGS = 10

#: Seconds to wait for the other processes, and between two looks.
_PATIENCE = 60.0
_POLL = 0.001


@dataclass
class Seen:
    """What one process saw.

    Attributes:
        host: its machine.
        python: version of the interpreter that runs it.
        wandb: version of wandb for the ``python`` on its PATH; None without.
        made: number of folders it was the maker of.
        intruders: how many times it met another holder of the lock while it held it.
        lock_error: why the lock could not be taken; None where it could.
        name_delay: seconds until another process sees a new name, the median; None for all but the first process.
        byte_delay: seconds until another process sees an appended byte, likewise.
        clock: seconds that the second process's clock is ahead of the first's, likewise.
    """

    host: str
    python: str
    wandb: str | None
    made: int = 0
    intruders: int = 0
    lock_error: str | None = None
    name_delay: float | None = None
    byte_delay: float | None = None
    clock: float | None = None


def take_part(folder: str, number: int, count: int) -> Seen:
    """Play one of the processes; return what it saw. Raises TimeoutError if the others do not come, or are not seen."""
    seen = Seen(_machine(), platform.python_version(), _wandb_version())
    os.mkdir(f"{folder}/here-{number}")
    for other in range(count):
        _await(partial(os.path.isdir, f"{folder}/here-{other}"))
    seen.made = _make_folders(folder)
    _hold_lock(folder, seen)
    if number == 0 and count > 1:
        _serve(folder, seen)
    elif number == 1:
        _return(folder)
    return seen


def _machine() -> str:
    return os.environ.get("SLURMD_NODENAME") or os.uname().nodename


def _make_folders(folder: str) -> int:
    """Return how many of the folders this process made before any other."""
    made = 0
    for number in range(ROUNDS):
        with suppress(FileExistsError):
            os.mkdir(f"{folder}/round-{number}")
            made += 1
        time.sleep(random.uniform(0, 0.01))  # noqa: S311 - jitter, so that no process wins all
    return made


def _hold_lock(folder: str, seen: Seen) -> None:
    """Take the lock again and again; note other holders, or why it cannot be taken."""
    try:
        for _ in range(_HOLDS):
            with open(f"{folder}/locked", "a+b") as file:
                _await(partial(lock_descriptor, file.fileno(), blocking=False))
                try:
                    os.mkdir(f"{folder}/held")
                except FileExistsError:
                    seen.intruders += 1
                else:
                    time.sleep(0.001)
                    os.rmdir(f"{folder}/held")
    except OSError as error:
        seen.lock_error = error.strerror or str(error)  # a TimeoutError of ours has no strerror


def _serve(folder: str, seen: Seen) -> None:
    """Play the first process: send names and bytes, and wait for their return."""
    names, clocks, delays = [], [], []
    for number in range(_PINGS):
        sent, sent_at = time.monotonic(), time.time()
        os.mkdir(f"{folder}/ping-{number}")
        pong = f"{folder}/pong-{number}"
        _await(partial(os.path.exists, pong))
        names.append((time.monotonic() - sent) / 2)
        with open(pong, encoding="ascii") as file:
            clocks.append(float(file.read()) - (sent_at + time.time()) / 2)
    for number in range(1, _PINGS + 1):
        sent = time.monotonic()
        _append(f"{folder}/there")
        _await(partial(_has_bytes, f"{folder}/back", number))
        delays.append((time.monotonic() - sent) / 2)
    seen.name_delay, seen.clock, seen.byte_delay = (sorted(each)[_PINGS // 2] for each in (names, clocks, delays))


def _return(folder: str) -> None:
    """Play the second process: send back what comes."""
    for number in range(_PINGS):
        _await(partial(os.path.isdir, f"{folder}/ping-{number}"))
        with open(f"{folder}/.pong", "w", encoding="ascii") as file:
            file.write(repr(time.time()))
        os.rename(f"{folder}/.pong", f"{folder}/pong-{number}")
    for number in range(1, _PINGS + 1):
        _await(partial(_has_bytes, f"{folder}/there", number))
        _append(f"{folder}/back")


def _append(path: str) -> None:
    with open(path, "ab") as file:
        file.write(b"x")
        file.flush()
        os.fsync(file.fileno())


def _has_bytes(path: str, count: int) -> bool:
    """Return whether a file has so many bytes, as a process sees it that opens the file: NFS looks again then."""
    try:
        with open(path, "rb") as file:
            return len(file.read()) >= count
    except FileNotFoundError:
        return False


def _await(happens: Callable[[], bool]) -> None:
    """Wait until something happens; raise TimeoutError after a minute."""
    deadline = time.monotonic() + _PATIENCE
    while not happens():
        if time.monotonic() > deadline:
            raise TimeoutError("the other process did not come, or what it wrote is not seen here")
        time.sleep(_POLL)


def _wandb_version() -> str | None:
    """Return the version of wandb for the python that a sweep's command would find; None without wandb."""
    python = shutil.which("python") or shutil.which("python3") or sys.executable
    code = "from importlib.metadata import version; print(version('wandb'))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _main(folder: str, number: str, count: str) -> None:
    try:
        seen = asdict(take_part(folder, int(number), int(count)))
    except (OSError, TimeoutError) as error:
        seen = {"host": _machine(), "error": str(error)}
    with open(f"{folder}/.seen-{number}", "w", encoding="utf-8") as file:
        json.dump(seen, file)
    os.rename(f"{folder}/.seen-{number}", f"{folder}/seen-{number}.json")


if __name__ == "__main__":
    _main(*sys.argv[1:4])
