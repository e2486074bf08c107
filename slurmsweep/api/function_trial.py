"""Run one trial in this process: set its environment, copy its output, call the function, finish open runs, tidy up."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING

from slurmsweep.agents import signals
from slurmsweep.agents.attempt import CommandEnd
from slurmsweep.api import console
from slurmsweep.api.early_stop import EarlyStop, StoppedEarly
from slurmsweep.api.interrupts import Terminated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from slurmsweep.agents.watch import TrialWatch
    from slurmsweep.api.interrupts import Interrupts

#: Set by wandb for child processes: the address of its service, which ends with the trial.
_SERVICE = "WANDB_SERVICE"


def call(
    function: Callable[[], object],
    environ: Mapping[str, str],
    log: int,
    interrupts: Interrupts,
    watch: TrialWatch | None = None,
) -> CommandEnd:
    """Call the function as if it were a script; return how it ended. Raises nothing that the function raises.

    What ends a script means the same here: an exception is exit code 1, ``sys.exit(3)`` is 3, Ctrl-C is SIGINT. By
    ``sys.exit(128 + n)`` a function with a handler of its own says that signal n stopped it. Limit: memory is the
    largest so far of this process, in which other trials ran before.

    Args:
        function: takes no arguments.
        environ: the whole environment that it sees; afterwards ``os.environ`` is as before, but for its own changes.
            The current folder, the umask and ``sys.argv`` are as before in any case.
        log: descriptor of the attempt's log.
        interrupts: lets signals through to the function alone.
        watch: says when other trials are better; None where they do not matter.
    """
    with _surroundings(environ, log), console.copied_to(log):
        with _errors_shown(log):
            _teardown_wandb()  # it keeps the environment it was set up in, and with it the run id of the last trial
        started, cpu_before = time.monotonic(), _cpu_seconds()
        early = EarlyStop(watch)
        status, stop = _status(function, log, interrupts, early)
        early.close()
        seconds, cpu_seconds = time.monotonic() - started, _cpu_seconds() - cpu_before
        _end_runs(signals.exit_code(status), log)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return CommandEnd(status, stop, seconds, cpu_seconds, memory, early.has_come)


def _status(
    function: Callable[[], object], log: int, interrupts: Interrupts, early: EarlyStop
) -> tuple[int, signal.Signals | None]:
    """Return the exit code, or minus the number of a signal; and the signal that stopped the function."""
    try:
        with interrupts.allowed(), early:
            result = function()
        if hasattr(result, "__await__"):
            console.report("slurmsweep: the function is asynchronous, and nothing of it has run\n", log)
            return 1, None
    except (KeyboardInterrupt, Terminated) as interrupt:
        console.report(_traceback(interrupt), log)
        number = signal.SIGINT if isinstance(interrupt, KeyboardInterrupt) else signal.SIGTERM
        return -number, number
    except StoppedEarly:
        return -signal.SIGTERM, None
    except SystemExit as ending:  # the code is the one that Python would end with
        code = 0 if ending.code is None else ending.code
        if not isinstance(code, int):
            console.report(f"{code}\n", log)
            code = 1
        code &= 0xFF
        asked = [number for number in signal.Signals if code == 128 + number and signals.asks_to_stop(number)]
        return code, asked[0] if asked else None
    except BaseException as error:  # noqa: BLE001 - whatever ends a script ends the trial, and not the agent
        console.report(_traceback(error), log)
        return 1, None
    return 0, None


def _traceback(error: BaseException) -> str:
    """Return the traceback as Python prints it, without the frame that called the function."""
    inside = error.__traceback__.tb_next if error.__traceback__ else None
    return "".join(traceback.format_exception(type(error), error, inside or error.__traceback__))


@contextmanager
def _surroundings(seen: Mapping[str, str], log: int) -> Iterator[None]:
    """Make ``seen`` the environment in the body; put back after it what a script has for itself.

    That is the environment, but for what the body itself changed; current folder, umask and arguments. A descriptor
    holds the folder, because it may be renamed or removed meanwhile; by it the way back is always open.
    """
    here, argv = os.open(".", os.O_PATH | os.O_CLOEXEC), list(sys.argv)
    umask = os.umask(0o077)
    os.umask(umask)
    before = dict(os.environ)
    changed = {name for name in before.keys() | seen.keys() | {_SERVICE} if before.get(name) != seen.get(name)}
    _set({name: seen.get(name) for name in changed})
    try:
        yield
    finally:
        with _errors_shown(log):
            os.fchdir(here)
        os.close(here)
        os.umask(umask)
        sys.argv = argv
        _set({name: before.get(name) for name in {*changed, _SERVICE}})


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _end_runs(exit_code: int, log: int) -> None:
    """Finish the runs of the native client and of wandb, if the function left them open."""
    if "slurmsweep.client" in sys.modules:
        import slurmsweep

        with _errors_shown(log):
            slurmsweep.finish(exit_code=exit_code)
    wandb = sys.modules.get("wandb")
    if wandb is not None and getattr(wandb, "run", None) is not None:
        with _errors_shown(log):
            wandb.finish(exit_code=exit_code)
    with _errors_shown(log):
        _teardown_wandb()


def _teardown_wandb() -> None:
    wandb = sys.modules.get("wandb")
    if wandb is not None and hasattr(wandb, "teardown"):  # else a mere folder of that name
        wandb.teardown()


@contextmanager
def _errors_shown(log: int) -> Iterator[None]:
    """Show what wandb raises, and go on: it changes nothing of how the trial ended."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever wandb has
        console.report(_traceback(error), log)


def _cpu_seconds() -> float:
    """Return the CPU time of this process and of the children it has waited for (getrusage(2))."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
