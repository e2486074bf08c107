"""One trial in this process: its environment, its output, the function, and the end of the runs it left open."""

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
from slurmsweep.api.interrupts import Terminated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from slurmsweep.api.interrupts import Interrupts

#: Set by wandb for processes that its own starts: the address of its service, which ends with the trial.
_SERVICE = "WANDB_SERVICE"


def call(function: Callable[[], object], environ: Mapping[str, str], log: int, interrupts: Interrupts) -> CommandEnd:
    """Call the function as a script of its own would run; how it ended. Raises nothing that the function raises.

    What ends a script means the same here: an exception is exit code 1, ``sys.exit(3)`` is 3, Ctrl-C is SIGINT. With
    ``sys.exit(128 + n)`` a function says that it was stopped by signal n, for which it has a handler of its own. Memory
    is the largest so far of this process, which other trials had before.

    Args:
        function: takes no arguments.
        environ: the whole environment it sees; what it does not change itself is as before afterwards.
        log: descriptor of the attempt's log.
        interrupts: let Ctrl-C through to the function alone.
    """
    with _environment(environ), console.copied_to(log):
        _forget_wandb_runs(log)
        started, cpu_before = time.monotonic(), _cpu_seconds()
        status, stop = _status(function, log, interrupts)
        seconds, cpu_seconds = time.monotonic() - started, _cpu_seconds() - cpu_before
        _end_runs(signals.exit_code(status), log)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return CommandEnd(status, stop, seconds, cpu_seconds, memory)


def _status(function: Callable[[], object], log: int, interrupts: Interrupts) -> tuple[int, signal.Signals | None]:
    """Exit code, or minus the number of a signal; and the signal by which the function was stopped."""
    try:
        with interrupts.allowed():
            result = function()
        if hasattr(result, "__await__"):
            console.report("slurmsweep: the function is asynchronous, and nothing of it has run\n", log)
            return 1, None
    except (KeyboardInterrupt, Terminated) as interrupt:
        console.report(_traceback(interrupt), log)
        number = signal.SIGINT if isinstance(interrupt, KeyboardInterrupt) else signal.SIGTERM
        return -number, number
    except SystemExit as ending:
        code = _code(ending, log)
        return code, _said_to_stop(code)
    except BaseException as error:  # noqa: BLE001 - whatever ends a script ends the trial, and not the agent
        console.report(_traceback(error), log)
        return 1, None
    return 0, None


def _said_to_stop(code: int) -> signal.Signals | None:
    """The signal that an exit code of 128 + n names, where it is one that asks to stop."""
    numbers = [number for number in signal.Signals if code == 128 + number and signals.asks_to_stop(number)]
    return numbers[0] if numbers else None


def _code(ending: SystemExit, log: int) -> int:
    """The exit code that Python would end with (``sys.exit``)."""
    if ending.code is None:
        return 0
    if isinstance(ending.code, int):
        return ending.code & 0xFF
    console.report(f"{ending.code}\n", log)
    return 1


def _traceback(error: BaseException) -> str:
    """As Python prints it, without the frame of ours that called the function."""
    inside = error.__traceback__.tb_next if error.__traceback__ else None
    return "".join(traceback.format_exception(type(error), error, inside or error.__traceback__))


@contextmanager
def _environment(seen: Mapping[str, str]) -> Iterator[None]:
    """``os.environ`` is ``seen`` in the body; that is undone afterwards, and what the body itself changes stays."""
    before = dict(os.environ)
    changed = {name for name in before.keys() | seen.keys() | {_SERVICE} if before.get(name) != seen.get(name)}
    _set({name: seen.get(name) for name in changed})
    try:
        yield
    finally:
        _set({name: before.get(name) for name in {*changed, _SERVICE}})


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _forget_wandb_runs(log: int) -> None:
    """A wandb that was set up before keeps the environment it saw then, so also the run id of the trial before."""
    _try(_teardown_wandb, log)


def _end_runs(exit_code: int, log: int) -> None:
    """Finish the run of the native client and of wandb, as far as the function left them open."""
    if "slurmsweep.client" in sys.modules:
        import slurmsweep

        _try(lambda: slurmsweep.finish(exit_code=exit_code), log)
    _try(lambda: _finish_wandb(exit_code), log)
    _try(_teardown_wandb, log)


def _finish_wandb(exit_code: int) -> None:
    wandb = sys.modules.get("wandb")
    if wandb is not None and getattr(wandb, "run", None) is not None:
        wandb.finish(exit_code=exit_code)


def _teardown_wandb() -> None:
    wandb = sys.modules.get("wandb")
    if wandb is not None and hasattr(wandb, "teardown"):  # else a mere folder of that name
        wandb.teardown()


def _try(action: Callable[[], object], log: int) -> None:
    """Do it; what it raises is shown and changes nothing: the trial has ended as it has ended."""
    try:
        action()
    except Exception as error:  # noqa: BLE001 - whatever wandb has
        console.report(_traceback(error), log)


def _cpu_seconds() -> float:
    """Of this process, and of the children it has waited for (getrusage(2))."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
