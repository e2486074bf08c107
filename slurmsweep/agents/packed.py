"""Several agents side by side in one job: one process loads what they need and forks, so they share that cost.

Of an agent with a trial of no length nearly all CPU time is the start of Python and the import of modules.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from slurmsweep.agents import child
from slurmsweep.agents import signals as stopping
from slurmsweep.agents.agent import remove_own_job_output
from slurmsweep.state.assignment import AGENTS, SEAT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def run_seats(seats: int, environ: Mapping[str, str], run: Callable[[Mapping[str, str]], int]) -> int:
    """Run so many agents, each in a process of its own, and wait for all of them.

    Returns once in each of these processes. What this one is told, all of them are told: Slurm's warning
    (``--signal=B:``) reaches the batch script's process alone.

    Args:
        seats: number of agents. The seat is part of who claims a trial: started again after a requeue, each agent finds
            its own one.
        environ: of this process.
        run: one agent, with the environment that has its seat; gives its exit code.

    Returns:
        In the process of an agent, its exit code; in the first process, that of the first agent that did not end
        with 0.
    """
    with child.signals_blocked():  # from before the first agent is there, so that none misses what comes meanwhile
        agents = []
        for seat in range(1, seats + 1):
            pid = os.fork()
            if pid == 0:
                return run({**environ, AGENTS: str(seats), SEAT: str(seat)})
            agents.append(pid)
        codes = _attend(agents)
    code = next((codes[pid] for pid in agents if codes[pid]), 0)
    if code == 0:
        remove_own_job_output(environ)
    return code


def _attend(agents: list[int]) -> dict[int, int]:
    """Pass on what this process is told until all agents have ended; the exit code of each.

    What Slurm told every process of the job is not repeated.
    """
    told = child.SigtermOrigin()
    codes: dict[int, int] = {}
    while len(codes) < len(agents):
        info = signal.sigwaitinfo(child.WAITED_FOR)
        if info.si_signo == signal.SIGCHLD:
            codes |= _ended(set(agents) - set(codes))
        elif info.si_signo == signal.SIGCONT:
            told.continued(info.si_pid)
        elif info.si_signo != signal.SIGTERM or not told.was_for_all(info.si_pid):
            for pid in set(agents) - set(codes):
                os.kill(pid, info.si_signo)
    return codes


def _ended(running: set[int]) -> dict[int, int]:
    """Those of the agents that have ended, with their exit codes: one SIGCHLD may stand for several ends."""
    statuses = {pid: os.waitpid(pid, os.WNOHANG) for pid in running}
    return {
        pid: stopping.exit_code(os.waitstatus_to_exitcode(status)) for pid, (ended, status) in statuses.items() if ended
    }
