"""How a running command is asked to stop, and what its end then means: decisions only, no processes.

Source of the three steps: ``wandb.wandb_agent`` (TerminationTier): pass the signal on, then terminate, then kill.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from slurmsweep.state.lifecycle import TrialState

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds between the first request to stop and SIGKILL, as W&B's agent (``WANDB_AGENT_KILL_DELAY``).
_KILL_DELAY = 30.0

#: What being asked to stop by a signal says of the trial.
_MEANINGS = {
    signal.SIGUSR1: (TrialState.CRASHED, "timeout"),
    signal.SIGINT: (TrialState.KILLED, "interrupted"),
    signal.SIGTERM: (TrialState.KILLED, "terminated"),
    signal.SIGHUP: (TrialState.KILLED, "hangup"),
    signal.SIGQUIT: (TrialState.KILLED, "quit"),
}


def asks_to_stop(number: signal.Signals) -> bool:
    """Whether the agent takes the signal as the order to end its trial; others are passed on and change nothing."""
    return number in _MEANINGS


def signal_for_command(number: signal.Signals) -> signal.Signals:
    """What the command hears. Slurm's warning becomes SIGTERM: by default SIGUSR1 would end it without a word."""
    return signal.SIGTERM if number is signal.SIGUSR1 else number


def grace(number: signal.Signals, environ: Mapping[str, str]) -> float:
    """Seconds the command has to end by itself.

    After Slurm's warning as long as the submission left it (``SLURMSWEEP_WARNING_SECONDS``), less a margin to record
    the outcome in.
    """
    delay = float(environ.get("WANDB_AGENT_KILL_DELAY") or _KILL_DELAY)
    warned = environ.get("SLURMSWEEP_WARNING_SECONDS")
    if number is signal.SIGUSR1 and warned:
        return max(delay, float(warned) - 15)
    return delay


def verdict(status: int, stop: signal.Signals | None) -> tuple[TrialState, str]:
    """State and cause of a command that ended with ``status`` (minus n for signal n), asked to stop by ``stop``.

    Exit code 0 is finished even after a request to stop, as for W&B: a script that only saved a checkpoint should exit
    with 128 + the signal's number.
    """
    if status == 0:
        return TrialState.FINISHED, ""
    if stop is not None:
        return _MEANINGS[stop]
    if status < 0:
        return TrialState.CRASHED, f"signal {-status}"
    return TrialState.FAILED, f"exit {status}"


def exit_code(status: int) -> int:
    """The exit code that says the same: 128 + n for signal n, as shells do, so that Slurm's state tells the truth."""
    return 128 - status if status < 0 else status
