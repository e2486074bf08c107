"""One attempt: write what the command needs, run it, and say how it ended."""

from __future__ import annotations

import errno
import os
import resource
import signal
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep import search
from slurmsweep.agents import params_file
from slurmsweep.agents import signals as stopping
from slurmsweep.agents.child import Child
from slurmsweep.agents.environment import child_environment
from slurmsweep.errors import StateUnwritableError, UsageError
from slurmsweep.state import files as durable
from slurmsweep.state.outcome import Outcome
from slurmsweep.sweepfile import command

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slurmsweep.metrics.objective_values import Measured
    from slurmsweep.state.store import SweepStore
    from slurmsweep.state.tail import AttemptId

#: Exit codes of a shell for a command that cannot be run, or is not there.
_CANNOT_RUN, _NOT_FOUND = 126, 127

#: Words put before the trial's command, quoted as in a shell: set by job templates.
WRAP = "SLURMSWEEP_WRAP"

#: Begins a line in a trial's log that is no complaint: what its command said last is above it.
NOTE = "slurmsweep: note: "

#: Seconds between two kills of a command that does not die, for example because a file server does not answer it.
_SHORTEST_WAIT = 0.1


class CommandEnd(NamedTuple):
    """The end of a command.

    Attributes:
        status: exit code, or minus the number of the signal that ended it.
        stop: the signal by which the agent was asked to stop; None where the command ended by itself.
        seconds: that it ran.
        cpu_seconds: of all its processes that were waited for.
        max_rss_mb: memory of the largest of them, in MiB.
    """

    status: int
    stop: signal.Signals | None
    seconds: float
    cpu_seconds: float | None = None
    max_rss_mb: float | None = None


class Prepared(NamedTuple):
    """A command ready to be started.

    Attributes:
        argv: empty where it cannot be made; the log says why.
        environ: its environment.
        log: descriptor of the attempt's log.
    """

    argv: list[str]
    environ: dict[str, str]
    log: int


def run_attempt(store: SweepStore, attempt_id: AttemptId, prepared: Prepared) -> tuple[Outcome, CommandEnd]:
    """Run a prepared command to its end; nothing of it is left running afterwards.

    A command that cannot be started is a failed trial (exit code 127 or 126, as in a shell), and its log says why.
    """
    ended = _run(prepared, store.manifest.workdir)
    return conclude(store, attempt_id, ended, prepared.log), ended


def conclude(store: SweepStore, attempt_id: AttemptId, ended: CommandEnd, log: int) -> Outcome:
    """The outcome of an attempt that has ended, with the metric it left. Closes its log."""
    try:
        outcome = _outcome(ended, _measure(store, attempt_id, log), partial(_said_preempting, store, attempt_id))
    finally:
        with suppress(OSError):  # a full file server tells it this late; the log is shorter, the outcome stands
            os.close(log)
    with suppress(StateUnwritableError):  # a file too many is nothing beside an outcome to record
        _drop_params_file(store, attempt_id, outcome)
    return outcome


def prepare(store: SweepStore, attempt_id: AttemptId, environ: Mapping[str, str]) -> Prepared:
    """Write what the command needs: parameters file, log, environment.

    Raises:
        StateUnwritableError: the attempt's files could not be written.
    """
    config = store.manifest.config
    params = search.parameters(config, attempt_id.trial, store.manifest.sweep_id)
    json_file = store.layout.args_json(attempt_id)
    if command.needs_json_file(config.command):
        durable.write_new(json_file, command.json_text(params).encode(), store.access)
    seen, log = furnish(store, attempt_id, params, environ)
    try:
        argv = command.build_argv(config.command, config.program, params, environ=environ, json_file=json_file)
        argv = [*_wrap(environ), *argv]
    except UsageError as error:
        _say(log, str(error))
        argv = []
    return Prepared(argv, seen, log)


def furnish(
    store: SweepStore, attempt_id: AttemptId, params: Mapping[str, Any], environ: Mapping[str, str]
) -> tuple[dict[str, str], int]:
    """Write the parameters file and open the log: the environment of the attempt, and the log's descriptor.

    Raises:
        StateUnwritableError: one of them could not be written.
    """
    layout = store.layout
    durable.write_new(
        layout.params(attempt_id),
        params_file.render(params).encode("utf-8", "surrogatepass"),
        store.access,
    )
    log = durable.open_log(layout.log(attempt_id), store.access)
    return child_environment(environ, store.manifest.config, layout, attempt_id), log


def _wrap(environ: Mapping[str, str]) -> list[str]:
    """What a job template puts before the trial's command: ``srun``, ``apptainer exec image``. No shell reads it.

    Raises:
        UsageError: it is not quoted as a shell wants it.
    """
    text = environ.get(WRAP)
    if not text:
        return []
    import shlex

    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{WRAP} is not quoted as in a shell ({error}): {text}") from error


def _run(prepared: Prepared, workdir: str) -> CommandEnd:
    if not prepared.argv:
        return CommandEnd(_NOT_FOUND, None, 0.0)
    try:
        child = Child(prepared.argv, cwd=workdir, environ=prepared.environ, output=prepared.log)
    except OSError as error:
        _say(prepared.log, f"cannot start {prepared.argv[0]!r}: {error.strerror}")
        return CommandEnd(_NOT_FOUND if error.errno == errno.ENOENT else _CANNOT_RUN, None, 0.0)
    before = _cpu_seconds()
    stop = attend(child, prepared.environ)
    seconds = time.monotonic() - child.started
    child.end_leftovers()
    status = child.exit_status()
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return CommandEnd(_CANNOT_RUN if status is None else status, stop, seconds, _cpu_seconds() - before, memory)


def _cpu_seconds() -> float:
    """Of all children that this process has waited for so far, and theirs (getrusage(2))."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def attend(child: Child, environ: Mapping[str, str]) -> signal.Signals | None:
    """Wait for the child's end, passing signals on; the first one that asked to stop.

    The second request terminates the whole group, the third kills it; so does the end of the grace.
    """
    stop: signal.Signals | None = None
    requests = 0
    deadline: float | None = None
    while child.exit_status() is None:
        number = child.wait(None if deadline is None else max(_SHORTEST_WAIT, deadline - time.monotonic()))
        if number is None:
            if deadline is not None and time.monotonic() >= deadline:
                child.kill_group()
            continue
        if not stopping.asks_to_stop(number):
            child.send(number)
            continue
        requests += 1
        if requests == 1:
            stop = number
            deadline = time.monotonic() + stopping.grace(number, environ)
        _ask_to_stop(child, number, requests, environ)
    return stop


def _ask_to_stop(child: Child, number: signal.Signals, requests: int, environ: Mapping[str, str]) -> None:
    if requests == 1:
        child.send(stopping.signal_for_command(number, environ))
    elif requests == 2:
        child.send(signal.SIGTERM)
    else:
        child.kill_group()


def _measure(store: SweepStore, attempt_id: AttemptId, log: int) -> Measured | None:
    """What the command left of the sweep's metrics; where that is less than the sweep asks for the log says why."""
    config = store.manifest.config
    if config.metric is None and not config.extensions.pareto:
        return None
    from slurmsweep.metrics.objective_values import measure_ended

    measured = measure_ended(config, store.layout, attempt_id)
    with suppress(OSError):  # on a full disk the outcome matters more
        for reason in measured.reasons:
            durable.write_all(log, f"{NOTE}{reason}\n".encode("utf-8", "backslashreplace"))
    return measured


def _said_preempting(store: SweepStore, attempt_id: AttemptId) -> bool:
    from slurmsweep.metrics.preempting import said_preempting  # few trials get here

    try:
        return said_preempting(store.layout, attempt_id)
    except OSError:
        return False  # as for one that did not say it


def _outcome(ended: CommandEnd, measured: Measured | None, said_preempting: Callable[[], bool]) -> Outcome:
    state, cause = stopping.verdict(ended.status, ended.stop, said_preempting)
    return Outcome(
        state=state,
        cause=cause,
        exit_code=stopping.exit_code(ended.status),
        metric=measured.metric.value if measured else None,
        metrics=measured.metrics if measured else None,
        no_metric=(measured.why or None) if measured else None,
        seconds=round(ended.seconds, 3),
        cpu_seconds=None if ended.cpu_seconds is None else round(ended.cpu_seconds, 3),
        max_rss_mb=None if ended.max_rss_mb is None else round(ended.max_rss_mb, 1),
        ended=round(time.time(), 3),
    )


def _drop_params_file(store: SweepStore, attempt_id: AttemptId, outcome: Outcome) -> None:
    """Remove the parameters file of a finished trial that did not use wandb: number and sweep.json give them again."""
    used_by_wandb = os.path.isdir(os.path.join(store.layout.trial(attempt_id.trial), "wandb"))
    if outcome.exit_code == 0 and not used_by_wandb:
        durable.remove_file(store.layout.params(attempt_id))


def _say(log: int, message: str) -> None:
    durable.write_all(log, f"slurmsweep: {message}\n".encode())
