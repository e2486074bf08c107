"""Run the real ``wandb agent`` in this process and end with the exit code of the run that it started.

This file is a program of its own, run by its path with the interpreter that has wandb and that may not have slurmsweep:
it imports the standard library and wandb only. Its arguments are those of ``wandb agent``.

W&B's agent ends with 0 whatever became of its run, and only the agent, as the parent of the run's process, is told the
exit code. So ``wandb.wandb_agent.AgentProcess`` (one run's process) is replaced by a subclass whose instances are kept
and asked afterwards. The function that reads a sweep's command (``sweeps.utils.create_sweep_command``) first looks for
macros of slurmsweep's own, which W&B's agent would leave out or pass on. Nothing else of wandb is touched. Limit: W&B
does not document these names and the methods ``poll`` and ``wait``;
``tests/backends/wandb_hosted/test_hosted_agent.py`` holds them for the installed version.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import suppress
from typing import Any

#: Exit codes of a shell for a command that cannot be run, or is not there.
_CANNOT_RUN, _NOT_FOUND = 126, 127

#: Macros that only slurmsweep's own sweeps have (``sweepfile/command.py``): an element, and inside of one.
_OWN_ELEMENT = re.compile(r"\$\{(?:args:[a-z, ]+|trial)\}")
_OWN_FOLDER = re.compile(r"(?<!\$)\$\{(?:trial_dir|attempt_dir)\}")

#: Seconds to wait for a run that the agent killed when it was itself told to end.
_REAP = 10


def main(argv: list[str]) -> int:
    """Run ``wandb agent`` with these arguments; return the run's exit code, 128 + n where signal n ended it.

    Of several runs the first code that is not 0 counts. Without a run it is the agent's own code, and a line on stderr
    says so.
    """
    here = os.path.dirname(os.path.realpath(__file__))  # Python puts it first: its modules would hide others
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry or ".") != here]
    try:
        from wandb import wandb_agent
        from wandb.cli import cli
    except ImportError as error:
        return _fail(f"wandb cannot be imported by {sys.executable}: {error}", _NOT_FOUND)
    if lacking := _what_is_lacking(wandb_agent, cli):
        return _fail(lacking, _CANNOT_RUN)
    processes: list[Any] = []
    problems: list[int] = []
    remembering = _remembering(wandb_agent.AgentProcess, processes, problems)
    setattr(wandb_agent, "AgentProcess", remembering)  # noqa: B010 - it is a class to type checkers, which we replace
    with suppress(ImportError, AttributeError):  # another wandb leaves such macros out, as it always did
        from wandb.sdk.launch.sweeps import utils

        setattr(utils, "create_sweep_command", _refusing(utils.create_sweep_command, problems))  # noqa: B010 - likewise
    said = _run_cli(cli, argv)
    codes = problems + [_exit_code(process) for process in processes]
    if not codes:
        ending = "nothing left to do: W&B gave this agent no run" if said == 0 else "the agent ended before any run"
        _say(f"{ending} (exit code {said})" if said else ending)
        return said
    for process in processes:
        if getattr(process, "last_sigterm_time", None) is not None:
            _say("W&B ordered the run to stop")
    return next((code for code in codes if code), 0)


def _what_is_lacking(wandb_agent: Any, cli: Any) -> str:
    """Return what this wandb lacks; empty where it has all that is needed."""
    import wandb

    version = f"wandb {getattr(wandb, '__version__', '?')}"
    if not isinstance(getattr(wandb_agent, "AgentProcess", None), type):
        return f"{version} starts runs in a way slurmsweep does not know: their exit codes would be lost"
    options = {option for parameter in cli.agent.params for option in parameter.opts}
    if "--forward-signals" not in options:
        return f"{version} is too old: its agent has no --forward-signals; install a newer one (0.28 has it)"
    return ""


def _remembering(original: Any, processes: list[Any], problems: list[int]) -> Any:
    """Return ``AgentProcess`` as a class that adds its instances to ``processes``.

    The exit code of a process that cannot be started goes to ``problems`` and ends the agent, which would otherwise ask
    W&B for run after run and use up the whole sweep on a command that is not there.
    """

    class Remembered(original):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            try:
                super().__init__(*args, **kwargs)
            except OSError as error:
                problems.append(_NOT_FOUND if isinstance(error, FileNotFoundError) else _CANNOT_RUN)
                _say(f"cannot start {error.filename!r}: {error.strerror}")
                raise SystemExit(problems[-1]) from error
            processes.append(self)

    return Remembered


def _refusing(original: Any, problems: list[int]) -> Any:
    """Return ``create_sweep_command`` so that a command with macros that W&B does not have ends the agent.

    W&B's agent would leave such an element out: the program would run without its arguments, or write into a folder
    that all runs share.
    """

    def create_sweep_command(command: list[Any] | None = None) -> Any:
        for element in map(str, command or ()):
            found = _OWN_ELEMENT.fullmatch(element) or _OWN_FOLDER.search(element)
            if found:
                problems.append(_CANNOT_RUN)
                _say(
                    f"the sweep's command has {found[0]}, which W&B's agent does not know: slurmsweep expands it "
                    "in its own sweeps only (`slurmsweep create FILE`). In a sweep of W&B's write ${args}, and let the "
                    "program name its folder by $WANDB_RUN_ID"
                )
                raise SystemExit(_CANNOT_RUN)
        return original(command)

    return create_sweep_command


def _run_cli(cli: Any, argv: list[str]) -> int:
    """Return ``wandb agent``'s own exit code. What it raises is printed as Python would."""
    try:
        cli.cli(args=["agent", *argv], prog_name="wandb")
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException as error:  # noqa: BLE001 - the run's exit code must survive whatever ended the agent
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    return 0


def _exit_code(process: Any) -> int:
    """Return a run's exit code, 128 + n where signal n ended it; end a run that its agent left running."""
    for end in (process.terminate, process.kill):
        if process.poll() is None:
            end()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_REAP)
    status = process.poll()
    if status is None:
        return 1
    return 128 - status if status < 0 else int(status)


def _fail(message: str, code: int) -> int:
    _say(message)
    return code


def _say(message: str) -> None:
    print(f"slurmsweep: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
