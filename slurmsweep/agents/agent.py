"""The agent: claim a trial, run it, record its outcome; ``--count`` times."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from slurmsweep.agents import child, identity, signals
from slurmsweep.agents.attempt import conclude, parameters_of, prepare, run_command, watch_of
from slurmsweep.agents.environment import words_before
from slurmsweep.errors import StateError, UsageError
from slurmsweep.state import files
from slurmsweep.state.assignment import LOCAL, SEAT, NoSlotError, assigned
from slurmsweep.state.chosen import NotChosenError
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.owner import Claim, NothingLeft
from slurmsweep.state.records import NO_BANDS
from slurmsweep.state.tail import in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from slurmsweep.learning.proposals import Proposer
    from slurmsweep.state.chosen import Chooser
    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.owner import Owner
    from slurmsweep.state.records import BandsReached
    from slurmsweep.state.replay import Reading, SweepView
    from slurmsweep.state.store import SweepStore
    from slurmsweep.state.tail import AttemptId, TargetReached

#: Seconds: how long one job holds the journal's lock, and the bounds of the time over which waiting jobs spread.
_SECONDS_A_JOB = 0.002
_SHORTEST_SPREAD, _LONGEST_SPREAD = 0.01, 5.0

#: Runs of points that are left out at once: the journal's lock is held for as long.
_MOST_LEFT_OUT = 50

#: Seconds between tries to record an outcome: a full disk or a restarting file server passes, a lost result does not.
_RECORD_AGAIN = (1, 2, 5, 10, 20, 40, 60, 60, 60)


def run_agent(store: SweepStore, count: int, environ: Mapping[str, str], say: Callable[[str], None]) -> int:
    """Run up to ``count`` trials, one after the other; 1 makes the walltime of a job predictable.

    Returns:
        The exit code: of the first trial that did not end with 0 (128 + n for signal n); 0 when all finished or there
        was nothing to do.

    Raises:
        StateError: a trial could not be claimed, or an outcome not recorded (it was printed then).
        UsageError: the batch script names no trial for this job, though it does for others, or a variable of the
            scheduler's or ours has a wrong value, or the folder is gone in which trials run: no trial was taken.
        SchedulerUnavailableError: the machine did not say which task of ECS this is: no trial was taken.
    """
    store.manifest.refuse_missing_workdir()
    signals.check_variables(environ)  # a mistake in the template is reported before a trial is taken
    bound = signals.requeue_bound(environ)
    words_before(environ)
    claims = Claims(store, environ)
    child.adopt_orphans()
    code = 0
    with child.signals_blocked(), child.time_limit(signals.seconds_to_warning(environ)):
        for _ in range(count):
            stop = child.pending_stop()
            if stop is not None and signals.asks_to_stop(stop):
                return code or 128 + stop
            try:
                claim = claims.next()
            finally:
                claims.say_what_was_voided(say)
            if isinstance(claim, NothingLeft):
                say(f"nothing left to do: {claim.reason}")
                break
            outcome, stopped = _run_claim(store, claim, environ, say)
            code = code or outcome.exit_code or 0
            if outcome.exit_code and not outcome.seconds:  # a command that cannot start is no better for another trial
                say("no further trials: the command cannot start")
                break
            if stopped:
                _start_again(outcome, claims.owner, bound, say)
                break
    if code == 0:
        remove_own_job_output(environ)
    return code


def _proposer(store: SweepStore) -> Proposer:
    """Return what gives points where the search learns. It loads numpy, whose BLAS starts no threads of its own here.

    On a node of many cores the threads would cost more than the proposal. The trial's command inherits none of this.
    """
    from slurmsweep.learning import BLAS_THREADS

    before = {name: os.environ.get(name) for name in BLAS_THREADS}
    os.environ.update(dict.fromkeys(BLAS_THREADS, "1"))
    try:
        from slurmsweep.learning.proposals import Proposer
    except ImportError as error:
        if "numpy" not in f"{error.name} {error}":
            raise
        lacks = "lacks" if isinstance(error, ModuleNotFoundError) else f"cannot load ({str(error).splitlines()[0]})"
        raise UsageError(
            f"bayes needs numpy, which {sys.executable} {lacks} on this machine: `pip install 'slurmsweep[bayes]'`"
        ) from error
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
    return Proposer(store)


def first_wait(tasks: int) -> float:
    """Return the seconds over which the jobs of an array of so many spread when they find the journal's lock held.

    A job that finds it free does not wait. Of thousands that start in the same second nearly all find it held; they
    then come back over about the time that serving all of them takes, and not all within the next 10 ms.
    """
    return min(_LONGEST_SPREAD, max(_SHORTEST_SPREAD, tasks * _SECONDS_A_JOB))


class Claims:
    """The claims of one process, one after the other.

    Sets the lock's back-off from the size of the array.

    Attributes:
        owner: of the claims: this process.

    Raises:
        UsageError: a variable of the scheduler's or ours is not what it sets, or names no trial for this job.
        SchedulerUnavailableError: the machine did not say which task of ECS this is.
    """

    def __init__(self, store: SweepStore, environ: Mapping[str, str]) -> None:
        place = identity.place_of(environ)
        store.journal.first_wait = first_wait(place.tasks or 1)
        self.owner = identity.this_process(environ, place)
        if place.restart is None and not place.idle:
            from slurmsweep.agents.incarnations import numbered  # reads the journal: in jobs of SageMaker only

            self.owner = numbered(store, self.owner)
        self._store = store
        self._environ = environ
        self._assigned, self._spare = None, place.idle
        try:
            # a plain job of a service is told the one attempt that it is for, as the first of an array is
            alone = 0 if self.owner.service and place.element is None else place.element
            self._assigned = assigned(environ, alone)
        except NoSlotError as error:
            self._spare = str(error)
        self._proposer: Proposer | None = None
        self._reading: Reading | None = None

    def next(self) -> Claim | NothingLeft:
        """Claim a trial: the one that this requeued job holds, else the one assigned to this job, else the next one.

        Raises:
            UsageError: the search learns, and numpy is not installed here.
            StateError: nothing was claimed.
        """
        if self._spare:
            return NothingLeft(self._spare)
        if self.owner.restart:
            self._look_at_code()
            held = self._store.continue_after_requeue(self.owner)
            if held is not None:
                return held
        config, attempt_id = self._store.manifest.config, self._assigned
        if config.extensions.repeats and config.extensions.repeats.race is not None:
            self._leave_out_what_is_decided()
        runs_here = self.owner.job is None or LOCAL in self._environ  # Slurm gives those that go on jobs of their own
        if config.extensions.rungs and attempt_id is None and runs_here:
            self._let_one_go_on()
        if config.method != "bayes":
            return self._claim(attempt_id, None)
        self._proposer = self._proposer or _proposer(self._store)
        while True:
            self._proposer.propose()
            with suppress(NotChosenError):
                return self._claim(attempt_id, self._proposer)

    def _leave_out_what_is_decided(self) -> None:
        """Record the runs of points that cannot be the best one any more as not needed, before one of them is claimed.

        What is left out is decided outside the lock, from what the journal says now.
        """
        from slurmsweep.learning.points import not_needed  # few sweeps have a race
        from slurmsweep.state.point_runs import leave_out

        view, numbers = self._up_to_date().view, self._store.manifest.numbering
        if numbers is None:
            return
        found = not_needed(self._store.manifest.config, view)
        for start in range(0, len(found), _MOST_LEFT_OUT):
            trials = {}
            for number in found[start : start + _MOST_LEFT_OUT]:
                runs = numbers.trials(numbers.of(number)[0])
                trials[number] = next((view.chosen[run] for run in runs if run in view.chosen), None)
            leave_out(self._store, trials, self.owner)

    def say_what_was_voided(self, say: Callable[[str], None]) -> None:
        """Say, once, which attempts another process voided while this one was stopped in the middle of its claim."""
        for attempt_id in self._store.voided:
            name = f"trial {attempt_id.trial}, attempt {attempt_id.attempt}"
            say(f"{name}: voided while this agent was stopped, so it does not run here")
        self._store.voided.clear()

    def _let_one_go_on(self) -> None:
        """Let the best trial that may go on to its next rung be claimed before a new one."""
        from slurmsweep.learning.rungs import promotions

        config, reading = self._store.manifest.config, self._up_to_date()

        def first(view: SweepView) -> AttemptId | None:
            return next((promotion.attempt_id for promotion in promotions(config, view)), None)

        if first(reading.view) is not None:  # most agents need not take the lock for this
            self._store.let_go_on(reading, first)

    def _up_to_date(self) -> Reading:
        """Return the reading of the journal, with what was added to it since the last look."""
        from slurmsweep.state import view_cache  # most agents claim by the journal's end alone

        self._reading = self._reading or view_cache.current(self._store)
        self._reading.refresh()
        return self._reading

    def _look_at_code(self) -> None:
        """Let the next claim say which version of the code there is at this moment."""
        layout = self._store.layout
        with suppress(StateError):  # the trial matters more; `check` says that code.json is damaged
            if self._store.manifest.snapshot is None and files.is_file(layout.code_version):
                from slurmsweep.state.code_version import version_now  # only where the program is in a repository

                self.owner = self.owner._replace(code=version_now(layout))

    def _claim(self, attempt_id: AttemptId | None, chooser: Chooser | None) -> Claim | NothingLeft:
        self._look_at_code()
        if attempt_id is None:
            return self._store.claim(self.owner, chooser)
        return self._store.claim_attempt(self.owner, attempt_id, chooser)


def _run_claim(
    store: SweepStore, claim: Claim, environ: Mapping[str, str], say: Callable[[str], None]
) -> tuple[Outcome, bool]:
    """Run the trial; return its outcome, and whether the agent was asked to stop."""
    attempt_id = claim.attempt_id
    name = f"trial {attempt_id.trial}, attempt {attempt_id.attempt}"
    with given_back_on_failure(store, claim):
        prepared = prepare(store, claim, environ)
    say(f"{name}: started, log in {store.layout.log(attempt_id)}")
    watch = watch_of(store, attempt_id, prepared.given)
    kills = None
    if claim.owner.service:  # on Slurm accounting tells how a process was killed
        from slurmsweep.agents.oom import MemoryKills

        kills = MemoryKills(claim.owner, is_alone=claim.owner.seat is None and LOCAL not in environ)
    ended = run_command(prepared, store.manifest.workdir, watch)
    outcome, bands = conclude(store, claim, ended, prepared.given, watch)
    outcome = kills.judged(outcome) if kills else outcome
    record(store, claim, outcome, say, bands)
    say(f"{name}: {outcome.state}" + (f" ({outcome.cause})" if outcome.cause else ""))
    return outcome, ended.stop is not None


def _start_again(outcome: Outcome, owner: Owner, bound: int, say: Callable[[str], None]) -> None:
    """Put a job that ran out of time back into the queue, up to its template's bound, to go on with its trial.

    Only Slurm is asked. Services of AWS take no such order from a job: they start one again by their own rules.
    """
    if outcome.cause != "timeout" or not bound or not owner.job_name:
        return
    if owner.service:
        say(f"this job of {owner.service} cannot put itself back, out of time: `slurmsweep resubmit` goes on")
        return
    if owner.restart >= bound:
        say(f"started again {owner.restart} times, as often as it may: `slurmsweep resubmit` goes on")
        return
    from slurmsweep.agents.slurm_requests import requeue  # few jobs put themselves back

    problem = requeue(owner.job_name)
    if problem:
        say(f"cannot be started again by itself ({problem}): `slurmsweep resubmit` goes on")


@contextmanager
def given_back_on_failure(store: SweepStore, claim: Claim) -> Iterator[None]:
    """Give the trial back where its attempt's files cannot be written in the body."""
    try:
        yield
    except StateError:
        with suppress(StateError):  # then resubmit finds the trial: running, by a process that is gone
            store.give_up(claim)
        raise


def record(
    store: SweepStore, claim: Claim, outcome: Outcome, say: Callable[[str], None], bands: BandsReached = NO_BANDS
) -> None:
    """Record the outcome, and what the trial had at bands, with several tries; then tell what it brought about.

    If all of them fail print it, so that nothing is lost, and raise. Where the sweep was removed there is one try, and
    the outcome is kept elsewhere.
    """
    for delay in (*_RECORD_AGAIN, None):
        try:
            reached = store.finish(claim, outcome, bands)
            break
        except StateError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                from slurmsweep.agents import removed

                removed.answer_missing_folder(store, claim, parameters_of(store, claim), outcome, bands)
            if delay is None:
                document = {"trial": claim.attempt_id.trial, "attempt": claim.attempt_id.attempt, **outcome.to_json()}
                say(f"outcome not recorded: {json.dumps(document)}")
                raise
            say(f"{error}; trying again in {delay} s")
            time.sleep(delay)
    with suppress(StateError):  # that a user could not be told changes nothing: the trial's end is recorded
        if files.is_folder(store.layout.notify):
            from slurmsweep.agents import notices  # of few sweeps there is anything to tell

            notices.after_outcome(store, claim, outcome, say)
    if reached:
        _end_sweep(store, claim, reached, say, has_time=outcome.state is TrialState.FINISHED)


def _end_sweep(
    store: SweepStore, claim: Claim, reached: TargetReached, say: Callable[[str], None], *, has_time: bool
) -> None:
    """Say that a trial ended the sweep by reaching its target, and cancel the jobs that wait for nothing now.

    Without ``has_time``, where Slurm may be ending this job, that is left to the next command that reconciles; so it is
    in jobs of AWS, from which nothing is asked of it: they have no right to, and need no key.
    """
    say(f"the sweep is {in_words(SweepState.FINISHED, reached, store.manifest.config.metric)}: no new trials")
    if claim.owner.service:
        say("jobs that wait will find nothing to do; `slurmsweep reconcile`, where jobs are submitted, cancels them")
    elif has_time and claim.owner.job:
        from slurmsweep.agents.slurm_requests import cancel_waiting  # once in a sweep, if at all

        say(cancel_waiting(store.layout.submissions))


def remove_own_job_output(environ: Mapping[str, str]) -> None:
    """Remove the output file of this task of a Slurm array: after a clean end all of it is in the trial's log, too.

    Only a file that Slurm named after this very task (``%A_%a``) and that is this process's standard output. A file
    that several agents share is removed by their first process when all have ended.
    """
    output = sys.stdout.fileno()
    if SEAT in environ or "SLURM_ARRAY_TASK_ID" not in environ or not stat.S_ISREG(os.fstat(output).st_mode):
        return
    task = f"{environ.get('SLURM_ARRAY_JOB_ID')}_{environ['SLURM_ARRAY_TASK_ID']}"
    path = os.readlink(f"/proc/self/fd/{output}")
    if task in os.path.basename(path):
        files.remove_file(path)
