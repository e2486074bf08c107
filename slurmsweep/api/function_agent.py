"""``slurmsweep.agent``: run trials of a sweep by a function in this process. Drop-in for ``wandb.agent``.

Source of the signature: ``wandb.wandb_agent.agent`` (0.31.0).
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from slurmsweep.agents import agent as claiming
from slurmsweep.agents import signals
from slurmsweep.agents.attempt import conclude, end_without_value, furnish, parameters_of, watch_of
from slurmsweep.api.arguments import check_number
from slurmsweep.api.console import note
from slurmsweep.api.failures import Failures
from slurmsweep.api.function_trial import call
from slurmsweep.api.interrupts import Interrupts
from slurmsweep.api.naming import known, sweep_name
from slurmsweep.control.creation.function import ready_to_run
from slurmsweep.control.creation.start_check import refuse_what_cannot_start
from slurmsweep.errors import UsageError
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.owner import Claim, NothingLeft
from slurmsweep.state.store import SweepStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slurmsweep.state.outcome import Outcome

#: One agent a process: the environment names the trial, and a process has one environment.
_at_work = threading.Lock()

#: More trials than any sweep has.
_ALL = 10**12


def agent(  # noqa: PLR0913, PLR0917 - wandb's signature
    sweep_id: str,
    function: Callable[[], object] | None = None,
    entity: str | None = None,
    project: str | None = None,
    count: int | None = None,
    forward_signals: bool = False,  # noqa: FBT001, FBT002 - the same
    term_timeout: int | None = None,
    max_consecutive_failed_runs: int | None = None,
) -> None:
    """Run trials of a sweep, one after the other, until there are no more or ``count`` have run.

    Trials are claimed and recorded as by any other agent. The function sees the environment that a script would see,
    so ``init()`` of this package or of wandb gives the trial's parameters. An exception fails the trial, its traceback
    is in the log, and the agent goes on, unless W&B's rules say that the function cannot work
    (:mod:`slurmsweep.api.failures`). Ctrl-C ends the agent, and the trial is recorded as killed; so does SIGTERM, which
    then ends the program, too (SystemExit). With ``early_terminate`` a trial that is worse than others is stopped by an
    exception in the function, and the agent goes on.

    Args:
        sweep_id: ``id``, ``project/id``, ``entity/project/id`` or the sweep's folder.
        function: called without arguments in this process and thread; None runs the sweep's program, each trial as a
            process.
        entity: of the runs of wandb; the sweep itself is found by its id.
        project: likewise.
        count: number of trials at most; None for all there are.
        forward_signals: accepted; there is no other process to forward to, and programs are always told.
        term_timeout: seconds that a program has to end when it is asked to; ignored for a function.
        max_consecutive_failed_runs: stop after so many failures in a row; None for no such bound.

    Raises:
        NotFoundError: there is no such sweep.
        UsageError: an argument is wrong, the program cannot start, or an agent is at work in this process already.
        StateError: a trial could not be claimed, or its outcome not recorded (then the outcome was printed).
    """
    del forward_signals
    check_number("count", count)
    check_number("max_consecutive_failed_runs", max_consecutive_failed_runs)
    named = {"WANDB_ENTITY": entity, "WANDB_PROJECT": project}
    environ = os.environ | {name: value for name, value in named.items() if value}
    if function is None:
        if max_consecutive_failed_runs is not None:
            raise UsageError("max_consecutive_failed_runs counts the failures of a function: give function=")
        store = known(SweepStore.open_to_run(sweep_name(sweep_id)))
        store = ready_to_run(store, None)
        refuse_what_cannot_start(store.manifest, environ, runs_here=True)
        _run_program(store, count, environ, term_timeout)
        return
    if not callable(function):
        raise UsageError(f"function={function!r} cannot be called: give the function itself, without brackets")
    if not _at_work.acquire(blocking=False):
        raise UsageError("an agent is at work in this process already: start another process for another agent")
    try:
        store = known(SweepStore.open_to_run(sweep_name(sweep_id)))
        if store.manifest.snapshot:
            raise UsageError(
                f"the trials of sweep {store.manifest.sweep_id} run from its copy of the code, and a function of this "
                "process is none of it: call agent() without a function, or run the sweep by slurmsweep run"
            )
        store.manifest.refuse_missing_workdir()
        _run_function(store, function, count, environ, Failures(environ, max_consecutive_failed_runs))
    finally:
        _at_work.release()


def _run_function(
    store: SweepStore,
    function: Callable[[], object],
    count: int | None,
    environ: Mapping[str, str],
    failures: Failures,
) -> None:
    signals.check_variables(environ)  # a mistake is reported before a trial is taken
    claims = claiming.Claims(store, environ)
    with Interrupts() as interrupts:
        for _ in itertools.count() if count is None else range(count):
            try:
                claim = claims.next()
            finally:
                claims.say_what_was_voided(note)
            if isinstance(claim, NothingLeft):
                note(f"nothing left to do: {claim.reason}")
                return
            outcome, stop = _run_claim(store, claim, function, environ, interrupts)
            stop = stop or interrupts.pending
            if stop is not None:
                note(f"no further trials: {stop.name} asked to stop")
                if stop is not signal.SIGINT:  # Ctrl-C is for the agent, as in wandb; any other for the whole program
                    sys.exit(128 + stop)
                return
            reason = failures.count(failed=outcome.state is TrialState.FAILED)
            if reason:
                note(f"no further trials: {reason}")
                return


def _run_claim(
    store: SweepStore,
    claim: Claim,
    function: Callable[[], object],
    environ: Mapping[str, str],
    interrupts: Interrupts,
) -> tuple[Outcome, signal.Signals | None]:
    """Run one claimed trial; return its outcome, and the signal that stopped it."""
    attempt_id = claim.attempt_id
    name = f"trial {attempt_id.trial}, attempt {attempt_id.attempt}"
    with claiming.given_back_on_failure(store, claim):
        params = parameters_of(store, claim)
        given = furnish(store, attempt_id, params, environ)
    note(f"{name}: started, log in {store.layout.log(attempt_id)}")
    watch = watch_of(store, attempt_id, given)
    ended = end_without_value(store, params, given.log) or call(function, given.environ, given.log, interrupts, watch)
    outcome, bands = conclude(store, claim, ended, given, watch)
    claiming.record(store, claim, outcome, note, bands)
    note(f"{name}: {outcome.state}" + (f" ({outcome.cause})" if outcome.cause else ""))
    return outcome, ended.stop


def _run_program(store: SweepStore, count: int | None, environ: Mapping[str, str], term_timeout: int | None) -> None:
    """Run the agent of the command line as a process: it can wait for signals, and end all descendants of a trial.

    Ctrl-C reaches this process alone, which passes it on: the first asks the trial to stop, the second terminates it,
    the third kills it.
    """
    if term_timeout is not None:
        environ = {**environ, "WANDB_AGENT_KILL_DELAY": str(term_timeout)}
    command = [sys.executable, "-m", "slurmsweep", "agent", "--count", str(count or _ALL), store.layout.folder]
    with subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, start_new_session=True) as process:
        while process.returncode is None:
            try:
                process.wait()
            except KeyboardInterrupt:  # noqa: PERF203 - the waiting goes on after each
                process.send_signal(signal.SIGINT)
