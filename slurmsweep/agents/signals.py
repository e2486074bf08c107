"""Decide how a running command is asked to stop, and what its end then means. No processes here.

Source of the three steps: ``wandb.wandb_agent`` (TerminationTier): pass the signal on, then terminate, then kill.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from slurmsweep.errors import UsageError
from slurmsweep.state.assignment import whole_number
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import STOPPED_EARLY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Seconds between the first request to stop and SIGKILL, as W&B's agent, and the variable that says others.
_KILL_DELAY = 30.0
_KILL_DELAY_VARIABLE = "WANDB_AGENT_KILL_DELAY"

#: Seconds between Slurm's warning and the time limit: the submission writes them into the batch script.
_WARNING_VARIABLE = "SLURMSWEEP_WARNING_SECONDS"

#: Seconds that an agent has, where no scheduler keeps a time limit (Amazon ECS, machines of EC2), and how long before
#: the limit its trial is told where the variable above says nothing: as Slurm warns.
_LIMIT_VARIABLE = "SLURMSWEEP_TIME_LIMIT_SECONDS"
_WARNING = 60.0

#: Seconds before the time limit at which the grace is over, so that the outcome can be recorded.
_MARGIN = 15

#: Seconds between two looks at a trial that may be stopped early, at most, and the variable that says others.
_LOOKS = 5.0
_LOOKS_VARIABLE = "SLURMSWEEP_EARLY_TERMINATE_SECONDS"

#: Signals by which a template may ask a command to stop: those a script can handle and usually does.
_AUDIBLE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

#: Slurm's warning before the time limit, and that of the agent's own (:func:`seconds_to_warning`).
_OUT_OF_TIME = (signal.SIGUSR1, signal.SIGALRM)

#: State and cause of a trial whose agent was asked to stop by a signal.
_MEANINGS = {
    signal.SIGUSR1: (TrialState.CRASHED, "timeout"),
    signal.SIGALRM: (TrialState.CRASHED, "timeout"),
    signal.SIGINT: (TrialState.KILLED, "interrupted"),
    signal.SIGTERM: (TrialState.KILLED, "terminated"),
    signal.SIGHUP: (TrialState.KILLED, "hangup"),
    signal.SIGQUIT: (TrialState.KILLED, "quit"),
}


def asks_to_stop(number: signal.Signals) -> bool:
    """Return whether the signal orders the agent to end its trial; others are only passed on."""
    return number in _MEANINGS


def signal_for_command(number: signal.Signals, environ: Mapping[str, str]) -> signal.Signals:
    """Return the signal for the command when Slurm warns or ends the job: SIGTERM, or the job template's choice.

    Slurm's warning is not passed on as it is: by default SIGUSR1 ends a command, and it saves nothing. So it is with
    the agent's own time limit (SIGALRM). Raises as :func:`stop_signal`.
    """
    return stop_signal(environ) if number in (*_OUT_OF_TIME, signal.SIGTERM) else number


def stop_signal(environ: Mapping[str, str]) -> signal.Signals:
    """Return ``SLURMSWEEP_STOP_SIGNAL`` (``TERM``, ``SIGUSR2``, ...); SIGTERM if it is not set. Raises UsageError."""
    name = environ.get("SLURMSWEEP_STOP_SIGNAL") or "TERM"
    known = {number.name: number for number in _AUDIBLE}
    number = known.get("SIG" + name.upper().removeprefix("SIG"))
    if number is None:
        words = ", ".join(sorted(word.removeprefix("SIG") for word in known))
        raise UsageError(f"SLURMSWEEP_STOP_SIGNAL={name!r} is not a signal to stop by: use one of {words}")
    return number


def requeue_bound(environ: Mapping[str, str]) -> int:
    """Return ``SLURMSWEEP_REQUEUE``: how often a job out of time starts again by itself; 0 where it is not set.

    Raises UsageError if it is not a number.
    """
    return whole_number(environ, "SLURMSWEEP_REQUEUE") or 0


def seconds_between_looks(environ: Mapping[str, str]) -> float:
    """Return ``SLURMSWEEP_EARLY_TERMINATE_SECONDS``: a trial that may be stopped early is looked at as often at least.

    Raises UsageError if it is no number greater than 0.
    """
    return _seconds(environ, _LOOKS_VARIABLE, _LOOKS, above_zero=True)


def grace(number: signal.Signals, environ: Mapping[str, str]) -> float:
    """Return the seconds that the command has to end by itself. Raises UsageError for a wrong variable.

    After Slurm's warning they are those between warning and time limit (``SLURMSWEEP_WARNING_SECONDS``), less a margin
    in which the outcome is recorded. So it is after the agent's own, and never longer than until its limit.
    """
    delay = _seconds(environ, _KILL_DELAY_VARIABLE, _KILL_DELAY)
    if number not in _OUT_OF_TIME:
        return delay
    until = seconds_to_warning(environ) if number is signal.SIGALRM else None
    if until is None:
        return max(delay, _seconds(environ, _WARNING_VARIABLE, 0) - _MARGIN)
    warned = _seconds(environ, _LIMIT_VARIABLE, 0) - until
    return max(min(delay, warned), warned - _MARGIN)


def seconds_to_warning(environ: Mapping[str, str]) -> float | None:
    """Return after how many seconds an agent tells its trial to end, by ``SLURMSWEEP_TIME_LIMIT_SECONDS``; else None.

    That is as long before the limit as Slurm would warn (``SLURMSWEEP_WARNING_SECONDS``, else 60 s), so that the grace
    is over by then; of a short limit in its middle. Raises UsageError for a wrong variable.
    """
    if not environ.get(_LIMIT_VARIABLE):
        return None
    limit = _seconds(environ, _LIMIT_VARIABLE, 0, above_zero=True)
    return max(limit - _seconds(environ, _WARNING_VARIABLE, _WARNING), limit / 2)


def check_variables(environ: Mapping[str, str]) -> None:
    """Refuse a wrong value of a variable that is read only when a trial runs: then the trial would be lost with it.

    Raises UsageError.
    """
    stop_signal(environ)
    requeue_bound(environ)
    seconds_between_looks(environ)
    grace(signal.SIGUSR1, environ)
    seconds_to_warning(environ)


def _seconds(environ: Mapping[str, str], name: str, default: float, *, above_zero: bool = False) -> float:
    text = environ.get(name) or str(default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf") or (above_zero and not seconds):
        bound = " greater than 0" if above_zero else ""
        example = f"{default:g}" if default else "60"
        raise UsageError(f"{name}={text!r} is not a number of seconds{bound}, such as {example}, without a unit")
    return seconds


def verdict(
    status: int, stop: signal.Signals | None, said_preempting: Callable[[], bool], *, is_early: bool = False
) -> tuple[TrialState, str]:
    """Return state and cause of a command that ended with ``status`` (minus n for signal n); ``stop`` asked it to.

    ``said_preempting`` returns whether the script called ``mark_preempting``: called only if nothing else is known.
    With ``is_early`` its agent stopped it because other trials are better, however it ended then.

    Exit code 0 is finished even after another request to stop, as for W&B: a script that only saved a checkpoint should
    exit with 128 + the signal's number.
    """
    if is_early:
        return TrialState.KILLED, STOPPED_EARLY
    if status == 0:
        return TrialState.FINISHED, ""
    if stop is not None:
        return _MEANINGS[stop]
    if said_preempting():
        return TrialState.PREEMPTED, "preempted"
    if status < 0:
        return TrialState.CRASHED, f"signal {-status}"
    return TrialState.FAILED, f"exit {status}"


def exit_code(status: int) -> int:
    """Return the exit code for a status: 128 + n for signal n, as shells do, so that Slurm's state is right."""
    return 128 - status if status < 0 else status
