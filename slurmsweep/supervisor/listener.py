"""Run trials as messages of a queue come: one message, one agent. What ``slurmsweep listen`` does on each machine.

The promises are the sweep's: which process runs a trial is decided in its folder, and never by a message. So a message
that comes twice, or out of order, costs an agent that finds nothing left. A message is deleted when its agent has
ended, however its trial did; it comes back by itself where this machine is lost, and is given back where the machine is
told that it will be.

One thread: while no agent runs it waits for a message, and while one runs it waits for what concerns that agent. An
agent dies with this process (``PR_SET_PDEATHSIG``), so that a trial is never left to run without its message.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from slurmsweep.agents import child
from slurmsweep.agents.identity import boot_id, process_start
from slurmsweep.control.jobs.machines import attempt_of, put_back, record_killed, recover
from slurmsweep.control.session import Session
from slurmsweep.errors import SlurmsweepError, StateError
from slurmsweep.state.assignment import AGENTS, LOCAL, SEAT, TRIALS, VARIABLE
from slurmsweep.state.lifecycle import SweepState
from slurmsweep.state.owner import Owner
from slurmsweep.state.projects import WORKED_FOR, projects, remember
from slurmsweep.state.view_cache import Follower
from slurmsweep.supervisor import messages
from slurmsweep.supervisor.delivery import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from slurmsweep.backends.queues import Machine, WorkQueue
    from slurmsweep.supervisor.messages import Allowed

#: Seconds of one question for a message, between two looks for the end of the machine, and at the sweep's order.
_POLL, _NOTICE, _ORDER = 20, 5.0, 15.0

#: Sweeps of the past that are looked at when a process begins to listen.
_MOST_REMEMBERED = 20

#: Exit code of an agent of W&B's that finds no wandb on its machine: what else it ends with may be its run's own.
_NOT_FOUND = 127

#: What ends this process in order.
_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

#: Of a job in which this command runs: they are for the job's own agents.
_OF_A_JOB = (VARIABLE, SEAT, AGENTS, TRIALS, LOCAL)

#: What agents read: which machine this is (:mod:`slurmsweep.agents.place`), and the seconds a trial has to end.
_INSTANCE, _REGION, _GRACE = "SLURMSWEEP_EC2_INSTANCE", "SLURMSWEEP_EC2_REGION", "WANDB_AGENT_KILL_DELAY"


class Stop(Enum):
    """Why an agent was told to end before its trial did; the value completes "the trial is ended: "."""

    MACHINE = "this machine is"
    ORDER = "the sweep is canceled"
    TIME = "it had its time"


@dataclass(frozen=True)
class Terms:
    """How a machine works.

    Attributes:
        allowed: sweeps for which it works.
        hidden: seconds for which a message is hidden from others by one order.
        idle: seconds without a message after which it ends; None for never.
        count: messages after which it ends; None for no bound.
        limit: seconds that a trial has; None for no limit.
        grace: seconds that a trial has to end once it was told to.
    """

    allowed: Allowed
    hidden: int = 120
    idle: float | None = None
    count: int | None = None
    limit: float | None = None
    grace: float = 90


@dataclass
class Listener:
    """One process that listens.

    Args:
        queue: from which messages come.
        machine: on which this process runs.
        terms: of its work.
        say: takes each line for people.
        now: a clock that goes on while this process is stopped.

    Attributes:
        next_look: when the machine is to be asked whether it ends.
    """

    queue: WorkQueue
    machine: Machine
    terms: Terms
    say: Callable[[str], None]
    now: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)
    next_look: float = field(default=0.0, init=False)
    _stops: list[str] = field(default_factory=list, init=False)

    def run(self) -> None:
        """Take messages until there is a reason to end; say it.

        Raises:
            SchedulerError: the queue did not answer, or refused.
            NotFoundError: there is no such queue.
            KeyboardInterrupt: this process was told twice to end while it waited for a message.
        """
        if self.queue.keeps_refused() is False:
            self.say(f"queue {self.queue.name} has no redrive policy: a message that no machine may run comes for ever")
        with child.signals_blocked():
            self._recover_own()
            self.say(f"{self.machine.instance} listens to {self.queue.name}")
            taken, waited_since, idle = 0, self.now(), self.terms.idle
            poll = _POLL if idle is None else max(1, min(_POLL, round(idle)))
            while not self._reason_to_end(taken, waited_since):
                began = self.now()
                with self._heard():
                    message = self.queue.receive(poll, self.terms.hidden)
                if message is not None:
                    taken += 1
                    self._take(Delivery(message, self.queue, self.terms.hidden, began, self.say, self.now))
                    waited_since = self.now()
        self.say(f"ended: {self._reason_to_end(taken, waited_since)}")

    def _reason_to_end(self, taken: int, waited_since: float) -> str:
        """Return why no further message is taken; empty where one is."""
        if self._is_told():
            return self._stops[0]
        if self.terms.count is not None and taken >= self.terms.count:
            return f"{taken} messages, as many as it was to take"
        if self.terms.idle is not None and self.now() - waited_since >= self.terms.idle:
            return f"no message for {self.terms.idle:g} s"
        return ""

    def _is_told(self) -> bool:
        """Return whether this process was told to end, by a signal that waits or by its machine."""
        number = child.pending_stop()
        if number in _STOPPING:
            self.told(number)
        return self.machine_ends()

    def machine_ends(self) -> bool:
        """Return whether this machine, or this process, is to end; asks the machine where that is due."""
        if not self._stops and self.now() >= self.next_look:
            self.next_look = self.now() + _NOTICE
            notice = self.machine.notice()
            if notice:
                self._stops.append(f"this machine is taken back: {notice}")
        return bool(self._stops)

    def told(self, number: int) -> None:
        """Take note of a signal to end."""
        self._stops.append(f"told by {signal.Signals(number).name}")

    @contextmanager
    def _heard(self) -> Iterator[None]:
        """Take note of signals to end while the body runs, so that no message is lost on its way here.

        The second one interrupts the body.
        """

        def hear(number: int, _frame: FrameType | None) -> None:
            if self._stops:
                raise KeyboardInterrupt
            self.told(number)
            self.say(f"{self._stops[0]}: ends within {_POLL} s; told again at once")

        before = {number: signal.signal(number, hear) for number in _STOPPING}
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take(self, delivery: Delivery) -> None:
        """Run one trial for a message, and settle the message. Raises SchedulerError, NotFoundError."""
        if self._is_told():  # while the message was on its way
            delivery.give_back()
            return
        message = delivery.message
        try:
            work = messages.work_of(messages.read(message.body), self.terms.allowed)
        except SlurmsweepError as error:
            self.say(f"a message is left alone (delivery {message.receives}): {error}")
            return
        session = Session(work.store, reading=Follower(work.store)) if work.store else None
        remember(work.argument, WORKED_FOR)
        if session and message.receives > 1:
            self.say(f"a message that was delivered {message.receives} times: first what lost machines left")
            self._recover(session)
        agent = _Agent(self, work.argument, session, delivery)
        self._settle(agent, session, agent.attend())

    def _recover_own(self) -> None:
        """Put back what a process of this machine left that listened before, and was killed.

        Their messages may come to another machine, which sees that this one lives, and cannot tell.
        """
        for folder in projects(WORKED_FOR)[-_MOST_REMEMBERED:]:
            with suppress(SlurmsweepError):  # it was removed, or is another user's by now
                work = messages.work_of(folder, self.terms.allowed)
                if work.store:
                    self._recover(Session(work.store, reading=Follower(work.store)))

    def _recover(self, session: Session) -> None:
        """Record what was lost with the machine that had a message before, so that its agent here finds the trial."""
        try:
            found = recover(session)
        except StateError as error:  # the agent says it too, where it matters
            self.say(str(error))
            return
        if found.silent:
            self.say(f"whether other machines live could not be asked: {found.silent}")
        for trial, attempt in found.again:
            self.say(f"trial {trial}: lost with its machine, attempt {attempt} may be claimed")
        for trial in found.given_up:
            self.say(f"trial {trial}: lost with its machine too often: `slurmsweep resubmit` runs it again")

    def _settle(self, agent: _Agent, session: Session | None, stop: Stop | None) -> None:
        """Put the trial back that was cut, and do what its message is owed: it is deleted, given back, or left."""
        if stop is Stop.MACHINE:
            if session is None or self._was_cut(session, agent.process):
                agent.delivery.give_back()
                return
        elif session is None and agent.code == _NOT_FOUND:
            self.say("this machine cannot run sweeps of W&B: the message comes again")
            return
        elif session and agent.code and not self._had_trial(session, agent.process):
            self.say(f"no trial was claimed (exit code {agent.code}): the message comes again")
            return
        elif session and agent.code and agent.code < 0:
            self._record_killed(session, agent.process, -agent.code)
        agent.delivery.delete()

    def _record_killed(self, session: Session, process: Owner, number: int) -> None:
        """Record the end of the trial of an agent that was killed from outside, as the kernel does for memory."""
        try:
            killed = record_killed(session, process, number)
            if killed:
                self.say(f"trial {killed.trial}, attempt {killed.attempt}: its agent was killed (signal {number})")
        except StateError as error:
            self.say(str(error))

    def _was_cut(self, session: Session, process: Owner) -> bool:
        """Put back the trial of an agent that was told to end; return False where the trial had ended by itself."""
        try:
            cut = put_back(session, process)
            if cut:
                self.say(f"trial {cut.trial}, attempt {cut.attempt}: preempted, and may be claimed again")
            return cut is not None or attempt_of(session, process) is None
        except StateError as error:
            self.say(f"{error}; `slurmsweep resubmit` runs the trial again")
            return True

    def _had_trial(self, session: Session, process: Owner) -> bool:
        try:
            session.refresh()
            return attempt_of(session, process) is not None
        except StateError as error:
            self.say(str(error))
            return False


class _Agent:
    """An agent for one message, as a process that dies with this one.

    Attributes:
        delivery: of the message that it runs for.
        process: of the agent, as the owner of its claim names it.
        code: its exit code, minus the number of a signal that killed it; None while it runs.
    """

    def __init__(self, listener: Listener, argument: str, session: Session | None, delivery: Delivery) -> None:
        self._listener, self._session, self.delivery = listener, session, delivery
        machine, terms = listener.machine, listener.terms
        inherited = {name: value for name, value in os.environ.items() if name not in _OF_A_JOB}
        inherited.setdefault(_GRACE, f"{terms.grace:g}")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "slurmsweep", "agent", "--count", "1", argument],
            env=inherited | {_INSTANCE: machine.instance, _REGION: machine.region},
            stdin=subprocess.DEVNULL,
            preexec_fn=child.dies_with(os.getpid()),  # noqa: PLW1509 - this process has one thread
        )
        self.process = Owner(
            host=os.uname().nodename,
            pid=self._process.pid,
            start=process_start(self._process.pid) or 0,
            boot=boot_id(),
            job=machine.instance,
        )
        self._ends = None if terms.limit is None else listener.now() + terms.limit
        self._next_order = listener.now() + _ORDER

    @property
    def code(self) -> int | None:
        """The exit code of the agent."""
        return self._process.poll()

    def attend(self) -> Stop | None:
        """Wait for the agent's end, and keep its message; return why the agent was told to end, if it was."""
        listener, stop = self._listener, None
        while self.code is None:
            if stop is None:
                stop = self._reason_to_stop()
                if stop:
                    listener.say(f"the trial is ended: {stop.value}")
                    self._process.send_signal(signal.SIGUSR1 if stop is Stop.TIME else signal.SIGTERM)
            self.delivery.keep()
            number = self._wait()
            if number in _STOPPING:
                listener.told(number)
                if stop is not None:  # once more: the agent waits no longer
                    self._process.send_signal(signal.SIGTERM)
        return stop

    def _reason_to_stop(self) -> Stop | None:
        now = self._listener.now()
        if self._listener.machine_ends():
            return Stop.MACHINE
        if self._ends is not None and now >= self._ends:
            return Stop.TIME
        if now >= self._next_order:
            self._next_order = now + _ORDER
            with suppress(StateError):  # a file server that is away for a while
                if self._session and self._session.refresh().word is SweepState.CANCELED:
                    return Stop.ORDER
        return None

    def _wait(self) -> int | None:
        """Sleep until the agent ends, a signal comes, or something is due; return the signal."""
        moments = [self._listener.next_look, self._next_order]
        moments += [self.delivery.due] if self.delivery.is_ours else []
        moments += [] if self._ends is None else [self._ends]
        seconds = min(moments) - self._listener.now()
        info = signal.sigtimedwait(child.WAITED_FOR, min(max(seconds, 0.05), _NOTICE))
        return info.si_signo if info else None
