"""The agent: claim a trial, run it, record its outcome; ``--count`` times."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from slurmsweep.agents import child, identity, requeue
from slurmsweep.agents import signals as stopping
from slurmsweep.agents.attempt import prepare, run_attempt
from slurmsweep.errors import StateError
from slurmsweep.state import files as durable
from slurmsweep.state.assignment import SEAT, NoSlotError, assigned
from slurmsweep.state.store import Claim, NothingLeft

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.owner import Owner
    from slurmsweep.state.store import SweepStore

#: Seconds: what a job under the journal's lock takes from the others, and the bounds of what is waited for that.
_SECONDS_A_JOB = 0.002
_SHORTEST_SPREAD, _LONGEST_SPREAD = 0.01, 5.0

#: Seconds between tries to record an outcome: a full disk or a restarting file server passes, a result is precious.
_RECORD_AGAIN = (1, 2, 5, 10, 20, 40, 60, 60, 60)


def run_agent(store: SweepStore, count: int, environ: Mapping[str, str], say: Callable[[str], None]) -> int:
    """Run up to ``count`` trials, one after the other.

    Args:
        store: of the sweep.
        count: 1 makes the walltime of a job predictable.
        environ: this process's environment.
        say: takes lines for people.

    Returns:
        The exit code: of the first trial that did not end with 0 (128 + n for signal n); 0 when all finished or there
        was nothing to do.

    Raises:
        StateError: a trial could not be claimed, or an outcome not recorded (it was printed then).
        UsageError: the batch script names no trial for this job, though it does for others, or sets a variable of ours
            to what it cannot mean.
    """
    stopping.stop_signal(environ)  # what is wrong with the template is said before a trial is taken
    bound = stopping.requeue_bound(environ)
    owner = introduce(store, environ)
    child.adopt_orphans()
    code = 0
    with child.signals_blocked():
        for _ in range(count):
            stop = child.pending_stop()
            if stop is not None and stopping.asks_to_stop(stop):
                return code or 128 + stop
            claim = next_claim(store, owner, environ)
            if isinstance(claim, NothingLeft):
                say(f"nothing left to do: {claim.reason}")
                break
            outcome, stopped = _run_claim(store, claim, environ, say)
            code = code or outcome.exit_code or 0
            if stopped:
                _start_again(outcome, owner, bound, say)
                break
    if code == 0:
        remove_own_job_output(environ)
    return code


def introduce(store: SweepStore, environ: Mapping[str, str]) -> Owner:
    """The owner of this process's claims; the journal is told how many others may want its lock at the same time."""
    store.journal.first_wait = _first_wait(environ)
    return identity.this_process(environ)


def _first_wait(environ: Mapping[str, str]) -> float:
    """Seconds over which the jobs of a large array spread when they find the journal's lock held.

    A job that finds it free does not wait. Of thousands that start in the same second nearly all find it held; they
    then come back over about the time that serving all of them takes, and not all within the next 10 ms.
    """
    tasks = int(environ.get("SLURM_ARRAY_TASK_COUNT") or 1)
    return min(_LONGEST_SPREAD, max(_SHORTEST_SPREAD, tasks * _SECONDS_A_JOB))


def next_claim(store: SweepStore, owner: Owner, environ: Mapping[str, str]) -> Claim | NothingLeft:
    """The trial this process is to run: the one its requeued job holds, else the one assigned to it, else the next."""
    if owner.restart:
        held = store.continue_after_requeue(owner)
        if held is not None:
            return held
    try:
        attempt_id = assigned(environ)
    except NoSlotError as error:
        return NothingLeft(str(error))
    return store.claim(owner) if attempt_id is None else store.claim_attempt(owner, attempt_id)


def _run_claim(
    store: SweepStore, claim: Claim, environ: Mapping[str, str], say: Callable[[str], None]
) -> tuple[Outcome, bool]:
    """How the trial ended, and whether the agent was asked to stop."""
    name = f"trial {claim.attempt_id.trial}, attempt {claim.attempt_id.attempt}"
    with given_back_on_failure(store, claim):
        prepared = prepare(store, claim.attempt_id, environ)
    say(f"{name}: started, log in {store.layout.log(claim.attempt_id)}")
    outcome, ended = run_attempt(store, claim.attempt_id, prepared)
    record(store, claim, outcome, say)
    say(f"{name}: {outcome.state}" + (f" ({outcome.cause})" if outcome.cause else ""))
    return outcome, ended.stop is not None


def _start_again(outcome: Outcome, owner: Owner, bound: int, say: Callable[[str], None]) -> None:
    """Put a job out of time back into the queue, up to its template's bound: it goes on with its trial."""
    if outcome.cause != "timeout" or not bound or not owner.job_name:
        return
    if owner.restart >= bound:
        say(f"started again {owner.restart} times, as often as it may: `slurmsweep resubmit` goes on")
        return
    problem = requeue.requeue(owner.job_name)
    if problem:
        say(f"cannot be started again by itself ({problem}): `slurmsweep resubmit` goes on")


@contextmanager
def given_back_on_failure(store: SweepStore, claim: Claim) -> Iterator[None]:
    """Give the trial back where its attempt's files cannot be written in the body."""
    try:
        yield
    except StateError:
        with suppress(StateError):  # then resubmit finds it: running, by a process that is gone
            store.give_up(claim)
        raise


def record(store: SweepStore, claim: Claim, outcome: Outcome, say: Callable[[str], None]) -> None:
    """Record the outcome, patiently; where it cannot be done, print it so that nothing is lost, and raise."""
    for delay in _RECORD_AGAIN:
        problem = _try_to_record(store, claim, outcome)
        if problem is None:
            return
        say(f"{problem}; trying again in {delay} s")
        time.sleep(delay)
    problem = _try_to_record(store, claim, outcome)
    if problem is not None:
        document = {"trial": claim.attempt_id.trial, "attempt": claim.attempt_id.attempt, **outcome.to_json()}
        say(f"outcome not recorded: {json.dumps(document)}")
        raise problem


def _try_to_record(store: SweepStore, claim: Claim, outcome: Outcome) -> StateError | None:
    """What kept the outcome from being recorded; None when it is."""
    try:
        store.finish(claim, outcome)
    except StateError as error:
        return error
    return None


def remove_own_job_output(environ: Mapping[str, str]) -> None:
    """Remove this array task's output file: after a clean end it says nothing that the trial's log does not.

    Only a file that Slurm named after this very task (``%A_%a``) and that is this process's standard output. Where
    agents share it, the batch script removes it when all have ended.
    """
    task = f"{environ.get('SLURM_ARRAY_JOB_ID')}_{environ.get('SLURM_ARRAY_TASK_ID')}"
    if (
        SEAT in environ
        or "SLURM_ARRAY_TASK_ID" not in environ
        or not stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)
    ):
        return
    path = os.readlink(f"/proc/self/fd/{sys.stdout.fileno()}")
    if task in os.path.basename(path):
        durable.remove_file(path)
