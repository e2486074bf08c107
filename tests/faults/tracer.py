"""Run a function in a child process, one system call at a time: to kill it there, or to let a call fail.

ptrace(2) by ctypes: a child is forked from a warm interpreter and stopped at the entry and the exit of each call, so that
thousands of faults take a minute where starting strace for each would take an hour. Linux on x86-64 only: the numbers
below are that machine's.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SUPPORTED = platform.system() == "Linux" and platform.machine() == "x86_64"

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long

# <sys/ptrace.h>
_TRACEME, _PEEKUSER, _POKEUSER, _CONT, _SYSCALL, _SETOPTIONS = 0, 3, 6, 7, 24, 0x4200
_TRACESYSGOOD, _EXITKILL = 1, 0x100000
_AT_SYSCALL = signal.SIGTRAP | 0x80

# <sys/user.h>: offsets of the registers with the result, the number and the first two arguments of a call
_RAX, _ORIG_RAX, _RDI, _RSI = 80, 120, 112, 104

#: <asm/unistd_64.h>: calls with the descriptor of a file as their first argument ...
_ON_DESCRIPTORS = {
    0: "read",
    1: "write",
    3: "close",
    5: "fstat",
    17: "pread64",
    73: "flock",
    74: "fsync",
    18: "pwrite64",
    77: "ftruncate",
    91: "fchmod",
    93: "fchown",
    217: "getdents64",
}

#: ... with a path as their first, and with one as their second.
_ON_PATHS = {
    4: "stat",
    82: "rename",
    83: "mkdir",
    84: "rmdir",
    86: "link",
    87: "unlink",
    6: "lstat",
    21: "access",
    89: "readlink",
    90: "chmod",
    92: "chown",
}
_ON_PATHS_AT = {
    257: "openat",
    262: "newfstatat",
    258: "mkdirat",
    263: "unlinkat",
    332: "statx",
    88: "symlink",
    267: "readlinkat",
    268: "fchmodat",
    269: "faccessat",
    439: "faccessat2",
}
_LONGEST_PATH = 4096


@dataclass
class Trace:
    """What a traced child did.

    Attributes:
        stops: entries and exits of system calls that were met.
        calls: names and paths of the calls on files, in order.
        said: lines the function said before its end.
        status: as os.waitpid gives it; None while it is stopped.
        pid: of the child.
    """

    pid: int
    stops: int = 0
    calls: list[tuple[str, str]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    status: int | None = None
    _pipe: int = -1

    def hear(self) -> None:
        """Take in what the child said, up to its end."""
        with os.fdopen(self._pipe) as pipe:
            self.said = pipe.read().split("\n")[:-1]


def trace(
    work: Callable[[Callable[[str], None]], None],
    kill_at: int | None = None,
    fail: Callable[[str, str], int] = lambda name, path: 0,
) -> Trace:
    """Run ``work`` to its end, or to the stop at which it is killed.

    Args:
        work: runs in a child; it is given a function to say lines with, which count once it has returned.
        kill_at: number of the stop (from 1) at which the child gets SIGKILL.
        fail: asked at each call on a file, by the call's name and the file's path, for the errno to fail with; 0 lets
            it be.
    """
    found = _start(work)
    entering = True
    error = 0
    while _step(found):
        found.stops += 1
        if found.stops == kill_at:
            os.kill(found.pid, signal.SIGKILL)
        elif entering:
            error = _enter(found, fail)
        elif error:
            _libc.ptrace(_POKEUSER, found.pid, _RAX, ctypes.c_void_p(-error & 0xFFFFFFFFFFFFFFFF))
            error = 0
        entering = not entering
    found.hear()
    return found


def stop_after(work: Callable[[Callable[[str], None]], None], is_there: Callable[[], bool]) -> Trace:
    """Run ``work`` until something is there, and leave it stopped; :func:`wake` lets it go on."""
    found = _start(work)
    while _step(found):
        if is_there():
            return found
    raise AssertionError("the child ended before")


def stop_before(work: Callable[[Callable[[str], None]], None], is_it: Callable[[str, str], bool]) -> Trace | None:
    """Run ``work`` until a call on a file is the one that is meant, and leave it stopped before it; None if none was.

    ``is_it`` is asked as ``fail`` of :func:`trace` is.
    """
    found = _start(work)
    entering = True
    while _step(found):
        if entering and (call := _call(found.pid)) and is_it(*call):
            return found
        entering = not entering
    found.hear()
    return None


def wake(found: Trace) -> None:
    """Let a stopped child run to its end; signals that came meanwhile reach it."""
    number = 0
    while True:
        _libc.ptrace(_CONT, found.pid, None, number)
        found.status = os.waitpid(found.pid, 0)[1]
        if not os.WIFSTOPPED(found.status):
            return found.hear()
        number = os.WSTOPSIG(found.status)


def _start(work: Callable[[Callable[[str], None]], None]) -> Trace:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be_traced(work, writing)
    os.close(writing)
    os.waitpid(pid, 0)
    _libc.ptrace(_SETOPTIONS, pid, None, _TRACESYSGOOD | _EXITKILL)
    return Trace(pid, _pipe=reading)


def _be_traced(work: Callable[[Callable[[str], None]], None], writing: int) -> None:
    code = 1
    try:
        _libc.ptrace(_TRACEME, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        work(lambda line: os.write(writing, f"{line}\n".encode()))
        code = 0
    finally:
        os._exit(code)


def _step(found: Trace) -> bool:
    """Let the child go on to its next stop at a system call; False where it ended."""
    number = 0
    while True:
        _libc.ptrace(_SYSCALL, found.pid, None, number)
        _, status = os.waitpid(found.pid, 0)
        if not os.WIFSTOPPED(status):
            found.status = status
            return False
        if os.WSTOPSIG(status) == _AT_SYSCALL:
            return True
        number = os.WSTOPSIG(status)


def _enter(found: Trace, fail: Callable[[str, str], int]) -> int:
    """Note the call; the errno it is to fail with instead of being made, 0 for none."""
    call = _call(found.pid)
    if call is None:
        return 0
    error = fail(*call)
    found.calls.append(call)
    if error and call[0] != "close":  # which on Linux lets go of the descriptor even where it fails (close(2))
        _libc.ptrace(_POKEUSER, found.pid, _ORIG_RAX, ctypes.c_void_p(0xFFFFFFFFFFFFFFFF))
    return error


def _call(pid: int) -> tuple[str, str] | None:
    """Name and file of the call that a stopped child is about to make; None where it is of no file."""
    number = _libc.ptrace(_PEEKUSER, pid, _ORIG_RAX, None)
    if number in _ON_DESCRIPTORS:
        descriptor = _libc.ptrace(_PEEKUSER, pid, _RDI, None)
        try:
            return _ON_DESCRIPTORS[number], os.readlink(f"/proc/{pid}/fd/{descriptor}")
        except FileNotFoundError:
            return None
    if number in _ON_PATHS:
        return _ON_PATHS[number], _string(pid, _libc.ptrace(_PEEKUSER, pid, _RDI, None))
    if number in _ON_PATHS_AT:
        path = _string(pid, _libc.ptrace(_PEEKUSER, pid, _RSI, None))
        if path:
            return _ON_PATHS_AT[number], path
        descriptor = _libc.ptrace(_PEEKUSER, pid, _RDI, None)
        return _ON_PATHS_AT[number], os.readlink(f"/proc/{pid}/fd/{descriptor}")
    return None


def _string(pid: int, address: int) -> str:
    """Return a string in the child's memory."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        page = _LONGEST_PATH - address % _LONGEST_PATH
        data = memory.read(page)
        if b"\0" not in data:
            data += memory.read(_LONGEST_PATH)
    return os.fsdecode(data.partition(b"\0")[0])
