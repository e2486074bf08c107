"""Run several agents side by side in one job: one process loads their modules and forks, so they share that cost.

Nearly all CPU time of an agent with a very short trial is the start of Python and the import of modules.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from slurmsweep.agents import child, gpus, signals
from slurmsweep.agents.agent import remove_own_job_output
from slurmsweep.state.assignment import AGENTS, SEAT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def run_packed(packed: int, environ: Mapping[str, str], run: Callable[[Mapping[str, str]], int]) -> int:
    """Run so many agents, each in a process of its own, and wait for all of them.

    Returns once in each of these processes: in that of an agent its exit code, as ``run`` returned it; in the first
    process that of the first agent that did not end with 0. A signal for the first process is passed on to all agents:
    Slurm's warning (``--signal=B:``) reaches the batch script's process alone.

    The number of each agent is in the environment that ``run`` gets, and part of the owner of its claims: after a
    requeue, or another start of the job, each agent finds its own trial again. So is its part of the job's GPUs.
    """
    with child.signals_blocked():  # from before the first agent is there, so that no agent misses a signal
        agents = []
        for number in range(1, packed + 1):
            pid = os.fork()
            if pid == 0:
                own = {AGENTS: str(packed), SEAT: str(number), **gpus.dealt(environ, number - 1, packed)}
                return run({**environ, **own})
            agents.append(pid)
        codes = _attend(agents)
    code = next((codes[pid] for pid in agents if codes[pid]), 0)
    if code == 0:
        remove_own_job_output(environ)
    return code


def _attend(agents: list[int]) -> dict[int, int]:
    """Pass signals on to the agents until all have ended; return the exit code of each.

    A SIGTERM that Slurm sent to every process of the job is not repeated.
    """
    sigterm_origin = child.SigtermOrigin()
    codes: dict[int, int] = {}
    while len(codes) < len(agents):
        info = signal.sigwaitinfo(child.WAITED_FOR)
        running = [pid for pid in agents if pid not in codes]
        if info.si_signo == signal.SIGCHLD:  # one may stand for several ends
            for pid in running:
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    codes[pid] = signals.exit_code(os.waitstatus_to_exitcode(status))
        elif info.si_signo == signal.SIGCONT:
            sigterm_origin.continued(info.si_pid)
        elif info.si_signo != signal.SIGTERM or not sigterm_origin.was_for_all(info.si_pid):
            for pid in running:
                os.kill(pid, info.si_signo)
    return codes
