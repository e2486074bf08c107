"""Run one attempt: write what the command needs, run it, and return how it ended."""

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
from slurmsweep.agents import params_file, signals
from slurmsweep.agents.child import Child
from slurmsweep.agents.environment import child_environment, words_before
from slurmsweep.errors import StateUnwritableError, UsageError
from slurmsweep.state import files
from slurmsweep.state.outcome import NOTE, Outcome
from slurmsweep.state.records import NO_BANDS
from slurmsweep.sweepfile import command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slurmsweep.agents.watch import TrialWatch
    from slurmsweep.state.owner import Claim
    from slurmsweep.state.records import BandsReached
    from slurmsweep.state.store import SweepStore
    from slurmsweep.state.tail import AttemptId

#: With which attempt the run of a trial began: a person may have deleted earlier ones.
FIRST_ATTEMPT = "SLURMSWEEP_FIRST_ATTEMPT"

#: Where trials would run if they did not run from a copy of the code: data that is no part of it is there.
ORIGINAL_FOLDER = "SLURMSWEEP_WORKDIR"

#: Exit codes of a shell for a command that cannot be run, or is not there.
_CANNOT_RUN, _NOT_FOUND = 126, 127

#: Seconds between two kills of a command that does not die, for example because a file server does not answer it.
_SHORTEST_WAIT = 0.1


class CommandEnd(NamedTuple):
    """The end of a command.

    Attributes:
        status: exit code, or minus the number of the signal that ended it.
        stop: the signal by which the agent was asked to stop; None where the command ended by itself.
        seconds: how long the command ran.
        cpu_seconds: of all its processes that were waited for.
        max_rss_mb: memory of the largest of these processes, in MiB.
        is_early: the agent had stopped it before, because other trials are better.
    """

    status: int
    stop: signal.Signals | None
    seconds: float
    cpu_seconds: float | None = None
    max_rss_mb: float | None = None
    is_early: bool = False


class Requests(NamedTuple):
    """How a command was asked to end.

    Attributes:
        stop: the first signal by which the agent was asked to stop; None for none.
        is_early: the agent itself had stopped the command before that, because other trials are better.
    """

    stop: signal.Signals | None = None
    is_early: bool = False


class Furnished(NamedTuple):
    """What an attempt runs with.

    Attributes:
        environ: the environment of its command.
        log: descriptor of the log, which takes the command's output.
    """

    environ: dict[str, str]
    log: int

    @property
    def first_attempt(self) -> int:
        """The attempt with which the trial's run began: what it and those after it reported counts."""
        return int(self.environ[FIRST_ATTEMPT])


class Prepared(NamedTuple):
    """A command ready to be started.

    Attributes:
        argv: empty where there is none; the log says why.
        given: what it runs with.
        umask: for its files: in a shared sweep the group may read them.
    """

    argv: list[str]
    given: Furnished
    umask: int


def conclude(
    store: SweepStore, claim: Claim, ended: CommandEnd, given: Furnished, watch: TrialWatch | None
) -> tuple[Outcome, BandsReached]:
    """Return the outcome of an attempt that has ended, with the metric of its run; and what ``watch`` saw it reach.

    Closes the attempt's log. If the command removed it the attempt's folder is made again, with the log in it.

    Of a finished trial it removes a checkpoint folder that is empty, and the parameters file if wandb was not used: its
    number and sweep.json give them again.
    """
    attempt_id, layout, log = claim.attempt_id, store.layout, given.log
    bands, was_removed = NO_BANDS, False
    with suppress(OSError):  # of a file server that lost the log: recording the outcome says so
        was_removed = os.fstat(log).st_nlink == 0
    if was_removed:
        from slurmsweep.agents import removed

        said = removed.put_back(store, claim, log)
        if said:
            _note(log, said)
    try:
        outcome = _outcome(store, attempt_id, ended, given)
        if store.manifest.config.method == "bayes":
            outcome = _with_extremes(store, attempt_id, outcome, given.first_attempt)
        if watch:
            outcome, bands = watch.concluded(outcome)
        if was_removed and outcome.no_metric:
            outcome = outcome._replace(no_metric="the command removed the folder with what it had logged")
    finally:
        with suppress(OSError):  # a full file server reports it this late: the log is shorter, the outcome stands
            os.close(log)
    if outcome.exit_code == 0:
        files.remove_empty_folder(layout.checkpoints(attempt_id.trial))
        if command.names_attempt_folder(store.manifest.config.command):
            files.remove_empty_folder(layout.saved(attempt_id))
        if not os.path.isdir(layout.runs(attempt_id.trial)):
            with suppress(StateUnwritableError):  # the outcome matters more than one file too many
                files.remove_file(layout.params(attempt_id))
    return outcome, bands


def parameters_of(store: SweepStore, claim: Claim) -> dict[str, Any]:
    """Return the parameters of a trial that was claimed."""
    config, (number, attempt) = store.manifest.config, claim.attempt_id
    kept = claim.chosen.values if claim.chosen else None
    if kept is None and attempt > 1 and config.method == "random":  # it may have been taken over from another sweep
        from slurmsweep.state import view_cache  # most trials run once

        kept = view_cache.current(store).view.kept(number)
    return search.parameters(config, number, store.manifest.sweep_id, kept)


def prepare(store: SweepStore, claim: Claim, environ: Mapping[str, str]) -> Prepared:
    """Write what the command needs: parameters file, log, environment. Raises StateUnwritableError."""
    config, attempt_id = store.manifest.config, claim.attempt_id
    params = parameters_of(store, claim)
    if command.needs_json_file(config.command):
        files.write_new(store.layout.args_json(attempt_id), command.json_text(params).encode(), store.access)
    if command.names_attempt_folder(config.command):
        files.ensure_folder(store.layout.saved(attempt_id), store.access)
    given = furnish(store, attempt_id, params, environ)
    cannot_run = end_without_value(store, params, given.log)
    try:
        argv = command.build_argv(
            config.command,
            config.program,
            params,
            environ=given.environ,  # with what names the trial: a command may take it from there
            own=store.layout.own_macros(attempt_id),
            hydra=bool(config.extensions.hydra),
        )
        argv = [*words_before(environ), *argv]
    except UsageError as error:
        _say(given.log, str(error))
        argv = []
    return Prepared([] if cannot_run else argv, given, files.umask_of_commands(store.access))


def end_without_value(store: SweepStore, params: Mapping[str, Any], log: int) -> CommandEnd | None:
    """Return the end of a trial that cannot run, as a computed parameter has no value, and say so in its log."""
    missing = search.faults(store.manifest.config, params)
    for reason in missing:
        _say(log, reason)
    return CommandEnd(_NOT_FOUND, None, 0.0) if missing else None


def furnish(
    store: SweepStore, attempt_id: AttemptId, params: Mapping[str, Any], environ: Mapping[str, str]
) -> Furnished:
    """Write the parameters file and open the log. Raises StateUnwritableError."""
    store.link()  # the script of the trial before may have removed `wandb/`, and this one may want to
    layout = store.layout
    text = params_file.render(params).encode("utf-8", "surrogatepass")
    files.write_new(layout.params(attempt_id), text, store.access)
    files.ensure_folder(layout.checkpoints(attempt_id.trial), store.access)
    log = files.open_log(layout.log(attempt_id), store.access)
    seen = child_environment(environ, store.manifest.config, layout, attempt_id)
    view = None
    if attempt_id.attempt > 1:
        from slurmsweep.state import view_cache  # most trials run once

        view = view_cache.current(store).view
    seen[FIRST_ATTEMPT] = str(view.first_attempt(attempt_id.trial) if view else 1)
    if store.manifest.snapshot:
        seen[ORIGINAL_FOLDER] = store.manifest.snapshot.original
        if store.manifest.snapshot.commit:  # wandb would take that of the repository around the copy, as it is by now
            seen.setdefault("WANDB_GIT_COMMIT", store.manifest.snapshot.commit)
    rungs = store.manifest.config.extensions.rungs
    if rungs:
        from slurmsweep.agents.rungs import variables

        seen |= variables(rungs, view, attempt_id.trial)
    return Furnished(seen, log)


def watch_of(store: SweepStore, attempt_id: AttemptId, given: Furnished) -> TrialWatch | None:
    """Return what compares an attempt that is about to run with others; None where the sweep does not do that."""
    config = store.manifest.config
    rungs, rule, metric = config.extensions.rungs, config.early_terminate, config.metric
    if metric is None or (rule is None and rungs is None):
        return None
    period, say = signals.seconds_between_looks(given.environ), partial(_note, given.log)
    # both load readers of metrics and of the whole journal
    if rule is not None:
        from slurmsweep.agents.early_termination import BandWatch

        return BandWatch(store, attempt_id, (rule, metric), period, say)
    if rungs is not None:
        from slurmsweep.agents.rungs import NUMBER, RungWatch

        part = int(given.environ[NUMBER]) - 1, given.first_attempt
        return RungWatch(store, attempt_id, (rungs, metric), part, period, say)
    return None


def run_command(prepared: Prepared, workdir: str, watch: TrialWatch | None = None) -> CommandEnd:
    """Run a prepared command to its end; none of its processes is left running afterwards.

    A command that cannot be started is a failed trial (exit code 127 or 126, as in a shell), and its log says why.
    ``watch`` may stop it before its end.
    """
    if not prepared.argv:
        return CommandEnd(_NOT_FOUND, None, 0.0)
    environ, log = prepared.given
    try:
        child = Child(prepared.argv, cwd=workdir, environ=environ, output=log, umask=prepared.umask)
    except ValueError as error:  # a character that the locale of this process does not have: called from a script
        _say(log, f"cannot start {prepared.argv[0]!r}: {error}")
        return CommandEnd(_CANNOT_RUN, None, 0.0)
    except OSError as error:
        hint = ": pass the parameters by ${args_json_file}" if error.errno == errno.E2BIG else ""
        _say(log, f"cannot start {prepared.argv[0]!r}: {error.strerror}{hint}")
        return CommandEnd(_NOT_FOUND if error.errno == errno.ENOENT else _CANNOT_RUN, None, 0.0)
    before = _cpu_seconds()
    asked = attend(child, environ, watch)
    seconds = time.monotonic() - child.started
    child.end_leftovers()
    status = child.program_status()
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    status = _CANNOT_RUN if status is None else status
    return CommandEnd(status, asked.stop, seconds, _cpu_seconds() - before, memory, asked.is_early)


def _cpu_seconds() -> float:
    """Return the CPU seconds of all children that this process has waited for so far, and of theirs (getrusage(2))."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def attend(child: Child, environ: Mapping[str, str], watch: TrialWatch | None = None) -> Requests:
    """Wait for the child's end and pass signals on; return how it was asked to end.

    Once asked, all processes of the command have the grace. The second request by a signal terminates them, the third
    kills them; so does the end of the grace. A command may hear Slurm's order, and end, before this process hears it:
    it was asked to, too. Where ``watch`` says so the command is asked as by a SIGTERM for the agent, which itself goes
    on.
    """
    asked = Requests()
    is_terminated = False
    deadline: float | None = None  # the end of the grace; none as long as the command was not asked to end
    while not child.is_over():
        if watch and deadline is None and watch.is_due and watch.look():
            asked, deadline = Requests(is_early=True), time.monotonic() + signals.grace(signal.SIGTERM, environ)
            child.ask_to_stop(signals.signal_for_command(signal.SIGTERM, environ))
        moment = watch.due if watch and deadline is None else deadline
        number = child.wait(None if moment is None else max(_SHORTEST_WAIT, moment - time.monotonic()))
        if number is None:
            if deadline is not None and time.monotonic() >= deadline:
                child.kill()
                if child.exit_status() is not None:
                    break  # what is left does not die, and the outcome has to be recorded
        elif not signals.asks_to_stop(number):
            child.pass_on(number)
        elif asked.stop is None:
            until = time.monotonic() + signals.grace(number, environ)
            asked, deadline = asked._replace(stop=number), until if deadline is None else min(deadline, until)
            child.ask_to_stop(signals.signal_for_command(number, environ))
        elif not is_terminated:
            is_terminated = True
            child.ask_to_stop(signal.SIGTERM)
        else:
            child.kill()
    if deadline is not None:
        return asked
    number = child.overtaken_by()
    return Requests(stop=number if number and signals.asks_to_stop(number) else None)


def _outcome(store: SweepStore, attempt_id: AttemptId, ended: CommandEnd, given: Furnished) -> Outcome:
    """Return the outcome with the numbers that the sweep asks for; note in the log why some of them have no value."""
    config, measured = store.manifest.config, None
    if config.metric is not None or config.extensions.pareto:
        from slurmsweep.metrics.objective_values import measure_ended

        measured = measure_ended(config, store.layout, attempt_id, given.first_attempt)
        for reason in measured.reasons:
            _note(given.log, reason)

    def is_preempting() -> bool:
        from slurmsweep.metrics.reported import said_preempting  # few trials get here

        with suppress(OSError):  # files that cannot be read are as of a script that did not say it
            return said_preempting(store.layout, attempt_id)
        return False

    state, cause = signals.verdict(ended.status, ended.stop, is_preempting, is_early=ended.is_early)
    return Outcome(
        state=state,
        cause=cause,
        exit_code=0 if ended.is_early else signals.exit_code(ended.status),  # the job did what it was asked to
        metric=measured.metric.value if measured else None,
        metrics=measured.metrics if measured else None,
        no_metric=(measured.why or None) if measured else None,
        seconds=round(ended.seconds, 3),
        cpu_seconds=None if ended.cpu_seconds is None else round(ended.cpu_seconds, 3),
        max_rss_mb=None if ended.max_rss_mb is None else round(ended.max_rss_mb, 1),
        ended=round(time.time(), 3),
    )


def _with_extremes(store: SweepStore, attempt_id: AttemptId, outcome: Outcome, first: int) -> Outcome:
    """Return the outcome with the smallest and largest value that the trial logged, from which its search learns."""
    from slurmsweep.metrics.logged_values import LoggedValues

    metric, values = store.manifest.config.metric, [] if outcome.metric is None else [outcome.metric]
    with suppress(OSError):  # the last value is known in any case
        if metric:
            logged = LoggedValues(metric, store.layout, attempt_id, first)
            logged.read()
            values += logged.extremes() or ()
    return outcome._replace(lowest=min(values), highest=max(values)) if values else outcome


def _note(log: int, text: str) -> None:
    """Add a line to an attempt's log that is no error."""
    _add_line(log, f"{NOTE}{text}")


def _say(log: int, text: str) -> None:
    """Add why the command cannot run to an attempt's log."""
    _add_line(log, f"slurmsweep: {text}")


def _add_line(log: int, line: str) -> None:
    with suppress(OSError):  # on a full disk the trial and its outcome matter more
        files.write_all(log, f"{line}\n".encode("utf-8", "backslashreplace"))
