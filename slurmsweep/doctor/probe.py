"""Try what a sweep needs of a filesystem, between processes.

``python -m slurmsweep.doctor.probe FOLDER NUMBER COUNT``: each of ``COUNT`` processes, on as many machines as there
are, leaves what it saw in ``FOLDER/seen-NUMBER.json``:

- *mkdir*: all try to make the same folders; each folder must have exactly one maker.
- *lock*: the holder of a file's lock makes a folder and removes it; who finds it there met a second holder.
- *delay*: the first two send each other new names, and bytes appended to a file; half the way there and back counts.
- *clock*: the second's clock against the first's, as far as that delay lets one tell.
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
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from filelock import lock_descriptor

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 100
_HOLDS = 30
_PINGS = 10
#: Seconds to wait for the others.
_PATIENCE = 60.0
_POLL = 0.001


@dataclass
class Seen:
    """What one process saw.

    Attributes:
        host: its machine.
        python: version of the interpreter that runs it.
        wandb: version of wandb for the ``python`` on its PATH; None without.
        made: folders it was the maker of.
        intruders: holders of the lock it met while it held it.
        lock_error: why the lock could not be taken; None where it could.
        name_delay: seconds until another process sees a new name; None for all but the first.
        byte_delay: seconds until it sees an appended byte.
        clock: seconds that the second's clock is ahead of the first's.
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
    """Play one of the processes. Raises TimeoutError where the others do not come, or cannot be seen."""
    seen = Seen(_machine(), platform.python_version(), _wandb_version())
    os.mkdir(f"{folder}/here-{number}")
    for other in range(count):
        _await(lambda path=f"{folder}/here-{other}": os.path.isdir(path))  # type: ignore[misc]
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
    made = 0
    for number in range(ROUNDS):
        made += _is_maker(f"{folder}/round-{number}")
        time.sleep(random.uniform(0, 0.01))  # noqa: S311 - jitter, so that not one wins all
    return made


def _is_maker(path: str) -> bool:
    try:
        os.mkdir(path)
    except FileExistsError:
        return False
    return True


def _hold_lock(folder: str, seen: Seen) -> None:
    descriptor = os.open(f"{folder}/locked", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.close(descriptor)
    try:
        for _ in range(_HOLDS):
            _hold_once(folder, seen)
    except OSError as error:
        seen.lock_error = error.strerror


def _hold_once(folder: str, seen: Seen) -> None:
    descriptor = os.open(f"{folder}/locked", os.O_RDWR | os.O_CLOEXEC)
    try:
        _await(lambda: lock_descriptor(descriptor, blocking=False))
        try:
            os.mkdir(f"{folder}/held")
        except FileExistsError:
            seen.intruders += 1
        else:
            time.sleep(0.001)
            os.rmdir(f"{folder}/held")
    finally:
        os.close(descriptor)


def _serve(folder: str, seen: Seen) -> None:
    """The first: send, and wait for the return."""
    names, clocks = [], []
    for number in range(_PINGS):
        sent, sent_at = time.monotonic(), time.time()
        os.mkdir(f"{folder}/ping-{number}")
        pong = f"{folder}/pong-{number}"
        _await(lambda path=pong: os.path.exists(path))  # type: ignore[misc]
        names.append((time.monotonic() - sent) / 2)
        with open(pong, encoding="ascii") as file:
            clocks.append(float(file.read()) - (sent_at + time.time()) / 2)
    seen.name_delay, seen.clock = sorted(names)[len(names) // 2], sorted(clocks)[len(clocks) // 2]
    delays = []
    for number in range(1, _PINGS + 1):
        sent = time.monotonic()
        _append(f"{folder}/there")
        _await(lambda n=number: _size(f"{folder}/back") >= n)  # type: ignore[misc]
        delays.append((time.monotonic() - sent) / 2)
    seen.byte_delay = sorted(delays)[len(delays) // 2]


def _return(folder: str) -> None:
    """The second: send back what comes."""
    for number in range(_PINGS):
        _await(lambda path=f"{folder}/ping-{number}": os.path.isdir(path))  # type: ignore[misc]
        with open(f"{folder}/.pong", "w", encoding="ascii") as file:
            file.write(repr(time.time()))
        os.rename(f"{folder}/.pong", f"{folder}/pong-{number}")
    for number in range(1, _PINGS + 1):
        _await(lambda n=number: _size(f"{folder}/there") >= n)  # type: ignore[misc]
        _append(f"{folder}/back")


def _append(path: str) -> None:
    with open(path, "ab") as file:
        file.write(b"x")
        file.flush()
        os.fsync(file.fileno())


def _size(path: str) -> int:
    """As a process sees it that opens the file."""
    try:
        with open(path, "rb") as file:
            return len(file.read())
    except FileNotFoundError:
        return 0


def _await(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not happens():
        if time.monotonic() > deadline:
            raise TimeoutError("the other process did not come, or what it wrote is not seen here")
        time.sleep(_POLL)


def _wandb_version() -> str | None:
    """Of the python that a sweep's command would find."""
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
