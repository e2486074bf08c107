"""Run the real ``wandb agent`` for a sweep that W&B's server holds, and pass on how its run ended."""

from __future__ import annotations

import math
import os
import signal
import sys
from typing import TYPE_CHECKING

from slurmsweep.agents import child, identity, signals
from slurmsweep.agents.attempt import attend
from slurmsweep.errors import UsageError
from slurmsweep.state.assignment import SEAT, place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slurmsweep.backends.wandb_hosted.folder import HostedSweep

#: Exit code of a shell for a command that is not there.
_NOT_FOUND = 127

#: Seconds over which the jobs of an array spread their first requests: for each job, and at most. W&B limits requests
#: per key and address, and answers what is too much with errors.
_SPREAD_A_JOB, _LONGEST_SPREAD = 2.0, 30.0

#: Multiples of it, less their whole part, lie evenly between 0 and 1 however many of them are taken, from any on.
_GOLDEN = 0.6180339887498949

_SHIM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "agent_shim.py")


def run_cloud_agent(sweep: HostedSweep, count: int, environ: Mapping[str, str], say: Callable[[str], None]) -> int:
    """Run ``wandb agent --count`` for a sweep of W&B's own; nothing of it is left running afterwards.

    Slurm's warning becomes SIGTERM for the run, which has as much time to end as other trials (``agents/signals.py``).

    Returns:
        The exit code: of the first run that did not end with 0 (128 + n for signal n); 0 where all ended well, W&B had
        nothing left, or another machine of this job runs the agent; the agent's own where it never got to a
        run; 127 where there is no wandb on this node.

    Raises:
        UsageError: ``SLURMSWEEP_STAGGER``, or another variable that is read here, is not a number.
    """
    signals.check_variables(environ)
    idle = identity.stands_by(environ)
    if idle:
        say(f"nothing left to do: {idle}")
        return 0
    python = find_python(environ)
    if python is None:
        say(
            "there is no wandb on this node: neither a `wandb` program on the PATH nor the package beside "
            f"{sys.executable}. Install it (`pip install wandb`), or activate its environment in the job template"
        )
        return _NOT_FOUND
    delay = stagger(environ)
    child.adopt_orphans()
    with child.signals_blocked(), child.time_limit(signals.seconds_to_warning(environ)):
        if delay:
            say(f"waiting {delay:.1f} s, so that the jobs of this array do not all ask W&B at once")
        stop = _stop_within(delay)
        if stop is not None:
            say(f"asked to stop by {stop.name} before anything was started")
            return 128 + stop
        # an inherited WANDB_SERVICE would make wandb talk to another process's
        seen = {name: value for name, value in environ.items() if name != "WANDB_SERVICE"}
        if seat := place(environ):
            seen[SEAT] = seat
        sys.stdout.flush()
        argv = [python, _SHIM, "--count", str(count), "--forward-signals", str(sweep)]
        agent = child.Child(argv, cwd=os.getcwd(), environ=seen, output=sys.stdout.fileno())
        attend(agent, environ)
        agent.end_leftovers()
        status = agent.exit_status()
        return 1 if status is None else signals.exit_code(status)


def find_python(environ: Mapping[str, str]) -> str | None:
    """Return the interpreter that has wandb: of the ``wandb`` program on the PATH, else our own; None without wandb.

    The PATH comes first, because ``wandb agent`` in the job script would be found there.
    """
    import shutil
    from importlib.util import find_spec

    program = shutil.which("wandb", path=environ.get("PATH"))
    if program and (named := _interpreter_of(program)):
        return named
    found = find_spec("wandb")
    # not merely a folder of that name in the current one, which is where wandb keeps its runs
    return sys.executable if found and found.origin else None


def stagger(environ: Mapping[str, str]) -> float:
    """Return how many seconds this array element waits before its first request; 0 outside an array.

    The same index waits the same time. ``SLURMSWEEP_STAGGER`` is the longest time (by default two seconds for each job,
    at most 30). Raises UsageError where one of these is not a number.
    """
    (index, tasks), wish = identity.array_of(environ), environ.get("SLURMSWEEP_STAGGER")
    try:
        longest = float(wish) if wish else min(_LONGEST_SPREAD, _SPREAD_A_JOB * ((tasks or 1) - 1))
    except ValueError:
        longest = math.nan
    if not math.isfinite(longest):
        raise UsageError(f"SLURMSWEEP_STAGGER is {wish!r}: give seconds, 0 for none")
    return max(0.0, longest) * (index * _GOLDEN % 1.0) if index else 0.0


def _interpreter_of(program: str) -> str | None:
    """Return the interpreter in the first line of a program; None where that is not a Python on this machine."""
    with open(program, "rb") as file:
        line = file.readline(1024).decode("utf-8", "replace").strip()
    interpreter = line[2:].strip() if line.startswith("#!") else ""
    is_python = os.path.basename(interpreter).startswith(("python", "pypy"))
    return interpreter if is_python and os.access(interpreter, os.X_OK) else None


def _stop_within(seconds: float) -> signal.Signals | None:
    """Sleep; return the signal that asked to stop meanwhile, or before."""
    if seconds:
        info = signal.sigtimedwait(child.FORWARDED, seconds)
        number = signal.Signals(info.si_signo) if info else None
    else:
        number = child.pending_stop()
    return number if number is not None and signals.asks_to_stop(number) else None
