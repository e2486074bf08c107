"""Run a trial's command as a process: start it, pass signals on, wait, leave nothing behind.

The agent has one thread and takes its signals by waiting for them (``sigtimedwait``), so that no signal is lost between
two instructions and no handler interrupts other work. They are blocked before the trial is claimed.
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

#: The signals an agent waits for: also ends of its children, and SIGCONT for :class:`SigtermOrigin`.
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
    """Block the signals that an agent waits for; those that came meanwhile are delivered afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_FOR)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def pending_stop() -> signal.Signals | None:
    """Take and return a signal that came while signals were blocked; None where none did."""
    with suppress(BlockingIOError):
        info = signal.sigtimedwait(FORWARDED, 0)
        return signal.Signals(info.si_signo) if info else None
    return None


class SigtermOrigin:
    """The origin of each SIGTERM: sent by Slurm to every process of the job, or sent to this process alone.

    Slurm sends SIGCONT and then SIGTERM to every process when it ends a job (scancel, preemption, requeue, time limit).
    Make it directly after the start of the process that may have got them, too.
    """

    def __init__(self) -> None:
        self._continued_by: int | None = None
        # a SIGTERM from before the start of the other process did not reach that process
        self._is_older_term = signal.SIGTERM in signal.sigpending()

    def continued(self, sender: int) -> None:
        """Note that a SIGCONT was taken."""
        self._continued_by = sender

    def was_for_all(self, sender: int) -> bool:
        """Return whether the SIGTERM just taken went from Slurm to every process of the job."""
        waiting = signal.sigtimedwait((signal.SIGCONT,), 0)  # if both wait, SIGTERM is taken first: the lower number
        continued_by = waiting.si_pid if waiting else self._continued_by
        self._continued_by = None
        is_older, self._is_older_term = self._is_older_term, False
        if is_older or sender != continued_by:
            return False
        try:
            with open(f"/proc/{sender}/comm", encoding="utf-8", errors="replace") as file:
                return file.read().strip() == _SLURMS_OWN
        except (FileNotFoundError, ProcessLookupError):  # gone, or in another container
            return False


class Child:
    """A running command, leader of its own process group.

    The command dies with its agent even if the agent is killed by SIGKILL (``PR_SET_PDEATHSIG``), so that a trial given
    back is not still running somewhere. Limit: this reaches the command itself, not processes of the command in
    sessions of their own; those are ended when the agent sees the command's end.

    The command gets one SIGTERM: when Slurm ends a job it sends SIGTERM to every process itself, and a second one might
    interrupt the checkpoint that the command saves upon the first. ``docs/decisions/0016-told-once.md`` has the
    observations.

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
        self._sigterm_origin = SigtermOrigin()
        self._has_heard_term = False

    @property
    def pid(self) -> int:
        """The id of the command, and of its process group."""
        return self._process.pid

    def wait(self, timeout: float | None = None) -> signal.Signals | None:
        """Sleep until a signal for the agent comes, the child ends, or ``timeout`` is over; return the signal or None.

        After None, look at :meth:`exit_status`: the child may run or not.
        """
        if self.exit_status() is not None:
            return None
        info = signal.sigwaitinfo(WAITED_FOR) if timeout is None else signal.sigtimedwait(WAITED_FOR, timeout)
        if info is None or info.si_signo == signal.SIGCHLD:
            return None
        if info.si_signo == signal.SIGCONT:
            self._sigterm_origin.continued(info.si_pid)
            return None
        number = signal.Signals(info.si_signo)
        self._has_heard_term = number is signal.SIGTERM and self._sigterm_origin.was_for_all(info.si_pid)
        return number

    def exit_status(self) -> int | None:
        """Return None while the command runs, then its exit code, or minus the number of the signal that ended it."""
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        """Signal the command alone: wandb's own helper process would lose its unwritten data.

        A SIGTERM that the command has got from Slurm itself is not sent again.
        """
        if number is signal.SIGTERM and self._has_heard_term:
            return
        if self.exit_status() is None:
            self._process.send_signal(number)

    def kill_group(self) -> None:
        """Send SIGKILL to the command and everything in its process group."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def end_leftovers(self) -> None:
        """End the processes that the command left running: its process group, and descendants in other sessions."""
        leftovers = _end_all(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + _LEFTOVER_GRACE
        while leftovers and time.monotonic() < deadline:
            time.sleep(0.02)
            leftovers = _descendants()
        if leftovers:
            _end_all(self.pid, signal.SIGKILL)
            _descendants()


def adopt_orphans() -> None:
    """Become the parent of processes whose own parent ends, so that :meth:`Child.end_leftovers` finds all of them."""
    _prctl()(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _prctl() -> Callable[..., int]:
    prctl = ctypes.CDLL(None).prctl
    prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    return prctl


def _in_child(agent: int) -> Callable[[], None]:
    """Return what the new process runs before the command: prepared here, because little may run after a fork."""
    prctl = _prctl()

    def prepare() -> None:
        os.setpgid(0, 0)
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != agent:
            os._exit(127)  # the agent was killed before the line above took effect
        for number in FORWARDED:
            signal.signal(number, signal.SIG_DFL)  # a shell may ignore some in the background, the command must not
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    return prepare


def _end_all(group: int, number: signal.Signals) -> list[int]:
    """Signal a process group and every descendant; return the descendants that were there."""
    with suppress(ProcessLookupError):
        os.killpg(group, number)
    left = _descendants()
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    return left


def _descendants() -> list[int]:
    """Return the living children of this process, and theirs; reap those that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    found: list[int] = []
    waiting = [os.getpid()]
    while waiting:
        pid = waiting.pop()
        with suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/task/{pid}/children", "rb") as file:
            children = [int(word) for word in file.read().split()]
            found += children
            waiting += children
    return found
