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

from slurmsweep.agents.identity import children_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from slurmsweep.agents.stopping import Order

#: What an agent passes on to its command. SIGUSR1 is Slurm's warning before the time limit (``--signal=B:USR1@N``),
#: SIGALRM that of :func:`time_limit`.
FORWARDED = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM),
)

#: The signals an agent waits for: also ends of its children, and SIGCONT for :class:`SigtermOrigin`.
WAITED_FOR = frozenset({*FORWARDED, signal.SIGCHLD, signal.SIGCONT})

#: The program by which Slurm starts and signals the processes of a job.
_SLURMS_OWN = "slurmstepd"

#: Seconds within which Slurm has told a SIGTERM to all processes of a job: one after the other, on a busy node.
_TELLING = 2.0

#: Linux, <sys/prctl.h>
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

#: Seconds that the left-over processes of a command that ended by itself have between SIGTERM and SIGKILL.
_LEFTOVER_GRACE = 2.0


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Block the signals that an agent waits for; those that came meanwhile are delivered afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_FOR)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Let SIGALRM come to this process after so many seconds, unless the body, with signals blocked, has ended before.

    None for no limit. The kernel keeps the time (setitimer(2)); processes that are started in the body have no part in
    it.
    """
    if seconds is None:
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.sigtimedwait((signal.SIGALRM,), 0)  # it would end this process as soon as it is no longer blocked


def pending_stop(seconds: float = 0) -> signal.Signals | None:
    """Take and return a signal that came while signals were blocked, or comes within ``seconds``; None if none does."""
    with suppress(BlockingIOError):
        info = signal.sigtimedwait(FORWARDED, seconds)
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

    Each process of the command hears of one order to stop once: from Slurm, if Slurm itself told every process of the
    job (``docs/decisions/0016-told-once.md``), else as :mod:`.stopping` does it, the programs before what
    stands in front of them.

    Raises:
        OSError: the command cannot be started.
    """

    def __init__(
        self, argv: Sequence[str], *, cwd: str, environ: Mapping[str, str], output: int, umask: int = -1
    ) -> None:
        self.started = time.monotonic()
        self._process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            umask=umask,
            preexec_fn=dies_with(os.getpid()),  # noqa: PLW1509 - this process has one thread
        )
        self._sigterm_origin = SigtermOrigin()
        self._has_heard_term = False
        self._order: Order | None = None

    @property
    def pid(self) -> int:
        """The id of the command, and of its process group."""
        return self._process.pid

    def wait(self, timeout: float | None = None) -> signal.Signals | None:
        """Sleep until a signal for the agent comes, the child ends, or ``timeout`` is over; return the signal or None.

        After None, look at :meth:`is_over`: the child may run or not. While a command that was asked to stop has
        processes, the sleep is short, and afterwards those are told whose turn it is.
        """
        if self._order is None:
            return self._take(timeout)
        look = self._order.seconds_to_look()
        number = self._take(look if timeout is None else min(look, timeout))
        self._order.remind()
        return number

    def _take(self, timeout: float | None) -> signal.Signals | None:
        """Wait for a signal as :meth:`wait`, and return one that is for the command."""
        if self._order is None and self.exit_status() is not None:
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

    def overtaken_by(self) -> signal.Signals | None:
        """Return the signal that a command without success heard, and ended of, before this agent heard it; else None.

        Slurm tells the processes of a job one after the other. Where the command ended of SIGTERM, the agent's own is
        waited for.
        """
        status = self.exit_status()
        is_terminated = status in (-signal.SIGTERM, 128 + signal.SIGTERM)
        return pending_stop(_TELLING if is_terminated else 0) if status else None

    def is_over(self) -> bool:
        """Return whether the command has ended and, if it was asked to stop, all processes that were behind it."""
        if self.exit_status() is None:
            return False
        if self._order is None:
            return True
        _reap()
        return not any(children_of(os.getpid()))

    def program_status(self) -> int | None:
        """Return :meth:`exit_status`, but minus the signal where a launcher ended with 0 whose program was told first.

        A shell goes on after a program that handled Ctrl-C, and ``| tee`` ends well whatever was in front of it.
        """
        status = self.exit_status()
        return -self._order.number if status == 0 and self._order and self.pid in self._order.later else status

    def pass_on(self, number: signal.Signals) -> None:
        """Send a signal that is no order to stop to the programs of the command alone."""
        from slurmsweep.agents import stopping  # few trials are signalled

        stopping.pass_on(number, self.pid)

    def ask_to_stop(self, number: signal.Signals) -> None:
        """Order every process of the command to stop, each in its turn, see :meth:`wait`; a new order replaces an old.

        Not helpers of a program that runs: without its own helper process wandb would lose what it has not written.
        """
        from slurmsweep.agents.stopping import Order

        held = self._order.held if self._order else ()
        self._order = Order(number, held, is_known=number is signal.SIGTERM and self._has_heard_term)

    def kill(self) -> None:
        """Send SIGKILL to the command and everything that it started, held or not."""
        from slurmsweep.agents import stopping

        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        stopping.tell_all(signal.SIGKILL)

    def end_leftovers(self) -> None:
        """End the processes that a command left running which ended by itself, also those in other sessions."""
        _reap()
        if not any(children_of(os.getpid())):
            return
        from slurmsweep.agents import stopping

        stopping.tell_all(signal.SIGTERM)
        deadline = time.monotonic() + _LEFTOVER_GRACE
        while stopping.are_left() and time.monotonic() < deadline:
            time.sleep(0.02)
            _reap()
        if stopping.are_left():
            self.kill()
            _reap()


def adopt_orphans() -> None:
    """Become the parent of processes whose own parent ends, so that an agent finds all of them."""
    _prctl()(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _prctl() -> Callable[..., int]:
    prctl = ctypes.CDLL(None).prctl
    prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    return prctl


def dies_with(parent: int) -> Callable[[], None]:
    """Return what a new process runs before its program, so that it dies with its parent: killed when that is gone.

    It leads a process group of its own, and ignores no signal of those that are passed on. Prepared here, because
    little may run after a fork. The thread that starts the process has to live as long as the parent.
    """
    prctl = _prctl()

    def prepare() -> None:
        os.setpgid(0, 0)
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(127)  # the parent was killed before the line above took effect
        for number in FORWARDED:
            signal.signal(number, signal.SIG_DFL)  # a shell may ignore some in the background, the command must not
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    return prepare


def _reap() -> None:
    """Take the exit status of all children that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
