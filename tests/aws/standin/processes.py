"""Runs the commands of jobs as real processes, a limited number at a time, each in place of a container.

Part of our stand-ins for AWS. A container's end is shown truly: with its first process all others end, a host that is
lost takes all of them in one moment. Not shown: namespaces, limits of memory, images, and that the first process of a
container ignores signals for which it has no handler.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: The variable by which all processes of one container are known, also those that were started in a session of their
#: own. A process that clears its environment is lost to the stand-in.
MARK = "STANDIN_CONTAINER"


class Container:
    """One run of a command; its output goes to a function, line by line.

    Attributes:
        process: the first process; None until it is started.
        exit_code: its exit status, 128 + n for a signal; None while it runs, and for one that could not be started.
        error: why it could not be started, in the system's words; else empty.
        orders: words of the orders it got ("term", "kill", "oom", "lost"), in this order.
    """

    def __init__(
        self, mark: str, command: Sequence[str], environ: Mapping[str, str], folder: str, told: Callable[[str], None]
    ) -> None:
        self.mark = mark
        self.process: subprocess.Popen[bytes] | None = None
        self.exit_code: int | None = None
        self.error = ""
        self.orders: list[str] = []
        self._command = list(command)
        self._environ = {**environ, MARK: mark}
        self._folder = folder
        self._told = told
        self._lock = threading.Lock()
        self._timers: list[threading.Timer] = []
        self._over = threading.Event()

    def run(self, started: Callable[[], None] = lambda: None) -> int | None:
        """Run it to its end and return the exit status; ``started`` is called once the process is there."""
        with self._lock:
            if not self.orders:
                try:
                    self.process = subprocess.Popen(
                        self._command,
                        env=self._environ,
                        cwd=self._folder,
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                except OSError as error:
                    self.error = f"exec: {error}"
        if self.process is None:
            self._over.set()
            return None
        reader = threading.Thread(target=self._read, daemon=True)
        reader.start()
        started()
        # the status is collected only when no order can be on its way to this process id
        os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            status = self.process.wait()
            self._over.set()
            for timer in self._timers:
                timer.cancel()
        send_to_all(self.mark, signal.SIGKILL)
        reader.join(10)
        self.exit_code = 128 - status if status < 0 else status
        return self.exit_code

    def stop(self, grace: float, order: str = "term") -> None:
        """Send SIGTERM to the first process and, after the grace in seconds, SIGKILL to all; once."""
        with self._lock:
            if self._over.is_set() or set(self.orders) - {"oom"}:
                return
            self.orders.append(order)
            if self.process is None:
                return
            os.kill(self.process.pid, signal.SIGTERM)
            timer = threading.Timer(grace, self.kill)
            timer.daemon = True
            self._timers.append(timer)
            timer.start()

    def later(self, seconds: float, order: Callable[[], None]) -> None:
        """Call a function after that many seconds unless the container is over then."""
        timer = threading.Timer(seconds, order)
        timer.daemon = True
        with self._lock:
            if not self._over.is_set():
                self._timers.append(timer)
                timer.start()

    def kill(self, order: str = "kill") -> None:
        """Send SIGKILL to all of its processes, in one moment: none of them sees another one die."""
        with self._lock:
            if self._over.is_set():
                return
            self.orders.append(order)
            if self.process is not None:
                # not by Popen, which would collect the exit status that run() waits for
                os.kill(self.process.pid, signal.SIGSTOP)
                send_to_all(self.mark, signal.SIGSTOP)
                send_to_all(self.mark, signal.SIGKILL)
                os.kill(self.process.pid, signal.SIGKILL)

    def kill_biggest(self) -> int:
        """Send SIGKILL to the process with the most memory, the first one only where there is no other; its pid.

        Raises:
            AssertionError: the container has no process.
        """
        with self._lock:
            assert self.process is not None, "the container has not started"
            first = self.process.pid
            sizes = {pid: resident(pid) for pid in pids_of(self.mark)}
            assert sizes, "the container has ended"
            self.orders.append("oom")
            biggest = max(sizes, key=lambda pid: (pid != first, sizes[pid]))
            os.kill(biggest, signal.SIGKILL)
            return biggest

    def _read(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                self._told(line.decode(errors="replace").rstrip("\n"))


def pids_of(mark: str) -> list[int]:
    """Return the processes of a container that have not ended."""
    return [int(word) for word in os.listdir("/proc") if word.isdigit() and _is_marked(int(word), mark)]


def _is_marked(pid: int, mark: str) -> bool:
    with suppress(OSError), open(f"/proc/{pid}/environ", "rb") as stream:
        return f"{MARK}={mark}".encode() in stream.read().split(b"\0")
    return False


def resident(pid: int) -> int:
    """Return the memory of a process in pages, 0 for one that has ended."""
    with suppress(OSError), open(f"/proc/{pid}/statm", encoding="ascii") as stream:
        return int(stream.read().split()[1])
    return 0


def send_to_all(mark: str, number: signal.Signals) -> None:
    """Send a signal to all processes of a container, again until no other one has appeared."""
    done: set[int] = set()
    while new := set(pids_of(mark)) - done:
        for pid in new:
            with suppress(OSError):
                handle = os.pidfd_open(pid)
                try:
                    if _is_marked(pid, mark):
                        signal.pidfd_send_signal(handle, number)
                finally:
                    os.close(handle)
        done |= new


class Slots:
    """Runs what is waiting in the order of its arrival, at most :attr:`number` at a time, each in a thread."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._running = 0
        self._waiting: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads: list[threading.Thread] = []
        self.failures: list[BaseException] = []
        self._starter = threading.Thread(target=self._start, daemon=True)
        self._starter.start()

    @property
    def number(self) -> int:
        """Return how many run at a time; 0 keeps all of them waiting."""
        return self._number

    @number.setter
    def number(self, number: int) -> None:
        with self._changed:
            self._number = number
            self._changed.notify_all()

    def add(self, run: Callable[[], None]) -> None:
        """Have a function called once there is room."""
        with self._changed:
            self._waiting.append(run)
            self._changed.notify_all()

    def close(self) -> None:
        """Start nothing more; wait for what runs, which the owner has ended before."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        deadline = time.monotonic() + 60
        for thread in [self._starter, *self._threads]:
            thread.join(max(0.0, deadline - time.monotonic()))
            assert not thread.is_alive(), "a container did not end"

    def _start(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or (self._waiting and self._running < self._number))
                if self._closed:
                    return
                run = self._waiting.popleft()
                self._running += 1
                self._threads = [thread for thread in self._threads if thread.is_alive()]
                thread = threading.Thread(target=self._run, args=(run,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _run(self, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001 - told at the end of the test, which this thread cannot fail
            self.failures.append(error)
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()
