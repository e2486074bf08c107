"""A trial's command as a process: start it, pass signals on, wait, leave nothing behind.

The agent has one thread and takes its signals by waiting for them (``sigtimedwait``), so that no signal is lost between
two instructions and no handler runs in the middle of another thing. They are blocked before the trial is claimed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

#: What an agent passes on to its command. SIGUSR1 is Slurm's warning before the time limit (``--signal=B:USR1@N``).
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)

#: And what it takes besides: ends of its children, and what tells whom Slurm meant by a SIGTERM (:class:`Told`).
WAITED_FOR = frozenset({*FORWARDED, signal.SIGCHLD, signal.SIGCONT})

#: The program by which Slurm starts and signals the processes of a job.
_SLURMS_OWN = "slurmstepd"

#: Linux, <sys/prctl.h>
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

#: Seconds that a command's left-over processes have between SIGTERM and SIGKILL.
_LEFTOVER_GRACE = 2.0


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Keep the signals an agent waits for from interrupting it; what came meanwhile is delivered afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_FOR)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def pending_stop() -> signal.Signals | None:
    """A signal that came while signals were blocked and that asks the agent to stop; taken, so it is seen once."""
    with suppress(BlockingIOError):
        info = signal.sigtimedwait(FORWARDED, 0)
        return signal.Signals(info.si_signo) if info else None
    return None


class SigtermOrigin:
    """Tells the SIGTERMs that Slurm sent to every process of the job from those that only this process was sent.

    Slurm sends SIGCONT and then SIGTERM to every process when it ends a job (scancel, preemption, requeue, time limit).
    Made when the process is there that may have heard them too.
    """

    def __init__(self) -> None:
        self._continued_by: int | None = None
        # one that came before that process was there: it went to every process there was, and this was none of them
        self._is_older_term = signal.SIGTERM in signal.sigpending()

    def continued(self, sender: int) -> None:
        """A SIGCONT was taken."""
        self._continued_by = sender

    def was_for_all(self, sender: int) -> bool:
        """Whether the SIGTERM just taken went from Slurm to every process of the job."""
        waiting = signal.sigtimedwait((signal.SIGCONT,), 0)  # of two that wait SIGTERM is taken first, the lower number
        continued_by = waiting.si_pid if waiting else self._continued_by
        self._continued_by = None
        is_older, self._is_older_term = self._is_older_term, False
        return not is_older and sender == continued_by and _program(sender) == _SLURMS_OWN


class Child:
    """A running command, leader of its own process group.

    Dies with its agent even if that is killed by SIGKILL (``PR_SET_PDEATHSIG``), so that a trial given back is not
    still running somewhere. Limit: this reaches the command itself, not processes it started that moved to a session
    of their own; those are found and ended when the agent sees the command's end.

    Is told to stop once: when Slurm ends a job (scancel, preemption, requeue, time limit) it sends SIGCONT and then
    SIGTERM to every process of it, so the command has heard it already, and a second SIGTERM might come in the middle
    of the checkpoint that it saves upon the first. ``docs/decisions/0016-told-once.md`` has what was seen.

    Raises:
        OSError: the command cannot be started.
    """

    def __init__(self, argv: Sequence[str], *, cwd: str, environ: Mapping[str, str], output: int) -> None:
        self.started = time.monotonic()
        self._process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=_in_child(os.getpid()),  # noqa: PLW1509 - this process has one thread
        )
        self._told = SigtermOrigin()
        self._has_heard_term = False

    @property
    def pid(self) -> int:
        """Of the command, and of its process group."""
        return self._process.pid

    def wait(self, timeout: float | None = None) -> signal.Signals | None:
        """Sleep until a signal for the agent comes, the child ends, or ``timeout`` is over; the signal, else None.

        None says only that it is time to look again.
        """
        if self.exit_status() is not None:
            return None
        info = signal.sigwaitinfo(WAITED_FOR) if timeout is None else signal.sigtimedwait(WAITED_FOR, timeout)
        if info is None or info.si_signo == signal.SIGCHLD:
            return None
        if info.si_signo == signal.SIGCONT:
            self._told.continued(info.si_pid)
            return None
        number = signal.Signals(info.si_signo)
        self._has_heard_term = number is signal.SIGTERM and self._told.was_for_all(info.si_pid)
        return number

    def exit_status(self) -> int | None:
        """None while it runs; then its exit code, or minus the number of the signal that ended it."""
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        """Signal the command alone: wandb's own helper process would lose what it has not written.

        A SIGTERM that the command has got from Slurm itself is not sent again.
        """
        if number is signal.SIGTERM and self._has_heard_term:
            return
        if self.exit_status() is None:
            self._process.send_signal(number)

    def kill_group(self) -> None:
        """SIGKILL for the command and everything in its process group."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def end_leftovers(self) -> None:
        """End what the command left running: its process group, and descendants in sessions of their own."""
        leftovers = _end_all(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + _LEFTOVER_GRACE
        while leftovers and time.monotonic() < deadline:
            time.sleep(0.02)
            leftovers = _descendants()
        if leftovers:
            _end_all(self.pid, signal.SIGKILL)
            _descendants()


def adopt_orphans() -> None:
    """Become the parent of processes whose own parent ends, so that none escapes :meth:`Child.end_leftovers`."""
    _prctl()(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _prctl() -> Callable[..., int]:
    prctl = ctypes.CDLL(None).prctl
    prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    return prctl


def _in_child(agent: int) -> Callable[[], None]:
    """What the new process does before it becomes the command. Prepared here: after fork as little as possible runs."""
    prctl = _prctl()

    def prepare() -> None:
        os.setpgid(0, 0)
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != agent:
            os._exit(127)  # the agent was killed before the line above took hold
        for number in FORWARDED:
            signal.signal(number, signal.SIG_DFL)  # what a shell in the background ignores, the command must hear
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    return prepare


def _end_all(group: int, number: signal.Signals) -> list[int]:
    """Signal a process group and every descendant; the descendants that were there."""
    with suppress(ProcessLookupError):
        os.killpg(group, number)
    left = _descendants()
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    return left


def _descendants() -> list[int]:
    """Children of this process that live, and theirs; those that have ended are reaped."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    found: list[int] = []
    waiting = [os.getpid()]
    while waiting:
        children = _children(waiting.pop())
        found += children
        waiting += children
    return found


def _program(pid: int) -> str:
    """Name of the program a process runs; empty where it is gone, or in another container."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _children(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
