"""Start trials of a sweep: observe, decide, apply; wait for what was started, and go on where more is to start."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from slurmsweep.agents import notices
from slurmsweep.api.arguments import check_number
from slurmsweep.api.naming import whereabouts
from slurmsweep.backends.base import Ability, JobSource, SubmitResult
from slurmsweep.control.creation.code_state import note_code_state
from slurmsweep.control.creation.first_word import refuse_what_cannot_start
from slurmsweep.control.defaults import filled
from slurmsweep.control.jobs.max_fails import FailedAlike
from slurmsweep.control.jobs.notifier import Notifier
from slurmsweep.control.jobs.wait import ended_trials, progress_reader, wait_for_jobs
from slurmsweep.control.jobs.waiting import look_after_submission
from slurmsweep.control.round.apply import apply, words_of_others
from slurmsweep.control.round.decide import Plan, Policy, decide
from slurmsweep.control.round.events import Noticed, Planned, TrialsKeptBack
from slurmsweep.control.round.headline import Headline, headline
from slurmsweep.control.round.observe import observe
from slurmsweep.errors import SubmissionRefusedError, UsageError
from slurmsweep.sizing.walltime import Step
from slurmsweep.state import projects, refusals
from slurmsweep.state.lifecycle import Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slurmsweep.backends.base import SubmitOptions
    from slurmsweep.control.jobs.wakeup import WakeupJobs
    from slurmsweep.control.round.decide import Situation
    from slurmsweep.control.round.events import Tell
    from slurmsweep.control.session import Session
    from slurmsweep.state.supervisor_files import SupervisorSettings


@dataclass(frozen=True)
class LaunchResult:
    """What a call that starts trials did.

    Attributes:
        plan: the last decision; of a rehearsal the only one.
        submitted: what the scheduler took, and what a limit kept back.
        expected: number of finished trials where all that was started finishes, or is stopped early.
        is_stuck: trials ended and none finished, so that the rest was not submitted.
        has_supervisor: a supervisor runs again and submits what is left.
        waited: the trials that were started have ended.
        later: number of trials that a later wave submits, with what those of this one showed.
        headline: what was not done of what was asked.
        stopped_by: why no further trials were started; empty where that is not so.
    """

    plan: Plan
    submitted: SubmitResult = field(default_factory=SubmitResult)
    expected: int = 0
    is_stuck: bool = False
    has_supervisor: bool = False
    waited: bool = False
    later: int = 0
    headline: Headline = field(default_factory=Headline)
    stopped_by: str = ""


@dataclass
class Launch:
    """One call that starts trials of a sweep.

    Attributes:
        session: of the sweep.
        tell: takes an event for each thing that is done.
        command: the call's name, for messages.
        wait: return when what was started has ended.
        supervisor: of a supervisor that runs again and submits later what is left; None for none.
        max_fails: trials that may fail alike, as :meth:`slurmsweep.Sweep.run` takes it.
        notify: the user's command that hears what comes of the trials.
        dry_run: only decide.
        after: sweeps and jobs, at whose end the jobs start.
    """

    session: Session
    tell: Tell
    command: str = ""
    wait: bool = True
    supervisor: SupervisorSettings | None = None
    max_fails: int | None = None
    notify: str | None = None
    dry_run: bool = False
    after: Sequence[str] = ()

    def start(self, policy: Policy, changes: Sequence[Callable[[], object]] = ()) -> LaunchResult:
        """Start trials, and tell what comes of them by the user's command, if there is one.

        Args:
            policy: what is wanted of the sweep.
            changes: are made to the sweep when it is certain that nothing of the call is refused here: what is left
                then is for the scheduler to say. Of a rehearsal none is made.

        Raises as :meth:`slurmsweep.Sweep.run`.
        """
        if self.notify is None:
            return self._start(policy, changes)
        notices.words_of(self.notify)
        is_supervised = self.supervisor is not None
        notifier = Notifier(self.session, self.tell, self.notify, waits=self.wait, is_supervised=is_supervised)
        try:
            result = replace(self, tell=notifier, notify=None).start(policy, changes)
        except KeyboardInterrupt:
            if Ability.OUTLIVE in self.session.backend.abilities:
                notifier.leave_to_agents()
            raise
        except SubmissionRefusedError:
            notifier.refused()
            raise
        notifier.over(result.stopped_by or (Step.STUCK.value if result.is_stuck else ""))
        return result

    def _as_wide_as_before(self, wish: SubmitOptions) -> SubmitOptions:
        """Return the wish with the number at a time of the sweep's newest start on this machine, where none is said.

        Not where GPUs are named, because they are dealt out to that number, and not of jobs that outlive this process:
        their width is an option of the scheduler, as time and partition are.
        """
        names_gpus = any(name.lstrip("-") in ("gpus", "G") for name in wish.options or {})
        if wish.width is not None or names_gpus or Ability.OUTLIVE in self.session.backend.abilities:
            return wish
        before = self.session.submissions.all()[-1:]
        if not before or before[0].backend != self.session.backend.name or (before[0].width or 1) == 1:
            return wish
        self.tell(Noticed(f"{before[0].width} trials at a time, as when this sweep was started last (--jobs)"))
        return replace(wish, width=before[0].width)

    def check(self, wish: SubmitOptions, *, supervise: bool) -> SubmitOptions:
        """Refuse what the backend cannot do, and trials that cannot start; tell what is ignored. Writes nothing.

        Returns the wish with the defaults of the sweep, and with what its jobs are to wait for.

        Raises:
            UsageError: an option is wrong, or needs an ability that the backend does not have; or no trial could start;
                or a variable is wrong that agents inherit from here.
            NotFoundError, SchedulerUnavailableError: as :func:`slurmsweep.control.jobs.after.waiting_for`.
        """
        backend, source = self.session.backend, JobSource.of(self.session.store)
        wish = self._as_wide_as_before(filled(wish, source.defaults, backend))
        if not self.wait:
            backend.require(Ability.OUTLIVE, "--no-wait")
        if supervise:
            backend.require(Ability.WAKE, "--mend")
        backend.normalized(wish.options or {})  # a misspelt name is wrong everywhere
        if self.max_fails and (supervise or not self.wait):
            raise UsageError("--max-fails is for trials that this command waits for: add --wait, and leave --mend out")
        runs_here = Ability.ELSEWHERE not in backend.abilities
        for doubt in refuse_what_cannot_start(self.session.store.manifest, os.environ, runs_here=runs_here):
            self.tell(Noticed(f"{doubt}; the nodes may differ"))
        for notice in backend.check(wish, source):
            self.tell(Noticed(notice))
        return self.behind_others(wish)

    def behind_others(self, wish: SubmitOptions) -> SubmitOptions:
        """Return the wish with what its jobs are to wait for; tell what that is. Raises as :meth:`check`."""
        if not self.after:
            return wish
        from slurmsweep.control.jobs.after import waiting_for  # few jobs wait for others

        self.session.backend.require(Ability.AFTER, "--after")
        words = [self.after] if isinstance(self.after, str) else self.after
        return waiting_for(self.session, wish, words, whereabouts, lambda line: self.tell(Noticed(line)))

    def _start(self, policy: Policy, changes: Sequence[Callable[[], object]]) -> LaunchResult:
        """Observe, decide, apply; and where time or memory is learnt on the way, wait and do it again."""
        policy = self._ready(policy)
        session = self.session.rehearsal() if self.dry_run else self.session
        total, finished, expected = SubmitResult(), None, 0
        first: Headline | None = None
        while True:
            situation = observe(session, policy, self.tell)
            plan = decide(situation, policy)
            if total.arrays and situation.rungs and not plan.batches:
                break  # every trial has gone as far as it may
            is_first = first is None
            if is_first and not self.dry_run:
                for change in changes:
                    change()
                projects.remember(os.path.dirname(os.path.dirname(session.store.layout.folder)))
                note_code_state(session.store)
            first = first or headline(situation, policy, plan, self.command, is_rehearsal=self.dry_run)
            self.tell(Planned(plan, self.dry_run, first.text if is_first else ""))
            if plan.reopen and situation.view.word:
                ordered = Standing.of_order(situation.view.word)
                self.tell(Noticed(f"the sweep was {ordered}: `{self.command}` lifts that order"))
            if self.dry_run:
                return LaunchResult(plan, headline=first)
            if plan.retry.refused:
                refusals.write(session.store.layout, plan.retry.refused, session.store.access)
            known, before = len(session.view.trials), ended_trials(session.view)
            sequence = session.view.head.sequence
            again = [a for batch in plan.batches for a in batch.again]
            finished = session.view.done() if finished is None else finished
            finished -= len({a.trial for a in again}.intersection(session.view.trials.stopped_early()))
            done, watch = self._apply(policy, plan, situation)
            if done.arrays and (watch or not self.wait):  # a command that waits for jobs asks about them in time
                look_after_submission(session, [array.job for array in done.arrays], self.tell)
            trials = session.view.trials
            before -= sum(trials[a.trial].open_to >= a.attempt for a in again)  # these are to end once more
            total = replace(done, arrays=(*total.arrays, *done.arrays))
            braked_by = self._wait_for(plan, done, watch, before) if self.wait else ""
            step = plan.wave.step.name if plan.wave else ""
            has_next_wave = step in ("CANARIES", "WAIT")
            has_next_rung = situation.rungs is not None and done.trials > 0
            # a trial that goes on to its next rung has finished before
            started = len(session.view.trials) - known if has_next_rung and self.wait else done.trials
            expected += started + (len(plan.retry.attempt_ids) if has_next_rung else 0)
            is_last = not has_next_rung and (not has_next_wave or done.trials == policy.count)
            changed_nothing = session.view.head.sequence == sequence
            if not self.wait or watch or is_last or braked_by or (has_next_rung and changed_nothing):
                break
            policy = _next_wave(policy, plan, started)
        kept_back = total.kept_back if watch else 0
        expected += (finished or 0) + kept_back
        later = plan.wave.left if plan.wave and has_next_wave else 0
        is_supervised, is_stuck, said = watch is not None, step == "STUCK", first or Headline()
        return LaunchResult(plan, total, expected, is_stuck, is_supervised, self.wait, later, said, braked_by)

    def _ready(self, policy: Policy) -> Policy:
        """Return the policy with the defaults of the sweep; refuse what is wrong before anything is looked at."""
        check_number("count", policy.count)
        check_number("max_fails", self.max_fails or None)
        if not self.session.store.manifest.can_run:
            from slurmsweep.control.creation.function import ready_to_run  # says what is missing

            ready_to_run(self.session.store, None)
        policy = replace(policy, wish=self.check(policy.wish, supervise=self.supervisor is not None))
        waits = (policy.wish.options or {}).get("dependency") if self.after else None
        if self.supervisor and waits:  # also what it submits before the others have ended
            kept = {**self.supervisor.options, "dependency": str(waits)}
            self.supervisor = replace(self.supervisor, options=kept)
        backend = self.session.backend
        if policy.sizing and Ability.LIMIT not in backend.abilities:
            self.tell(Noticed(f"the {backend.name} backend does not limit trials: no time and no memory is learnt"))
        if policy.sizing and policy.sizing.mem and backend.memory_option != "mem":
            raise UsageError(f"--mem auto: on {backend.name} the {backend.memory_option} decides what memory a job has")
        return policy

    def _apply(self, policy: Policy, plan: Plan, situation: Situation) -> tuple[SubmitResult, WakeupJobs | None]:
        """Do what was planned, with a supervisor where one was asked for."""
        if self.supervisor is None or situation.view.reached:  # nothing is left to supervise
            done, watch = apply(self.session, plan, self.tell), None
        else:
            from slurmsweep.supervisor.enable import submit_supervised

            learn = asdict(policy.sizing) if policy.sizing else {}
            settings = replace(self.supervisor, goal=_goal(policy, plan, situation), learn=learn)
            done, watch = submit_supervised(self.session, settings, plan, self.tell)
        if others := words_of_others(done):
            self.tell(Noticed(others))
        if done.kept_back:
            self.tell(TrialsKeptBack(done.kept_back, done.why, "" if watch else self.command))
        if watch:
            look = f"`slurmsweep status {self.session.store.manifest.sweep_id}` shows how it goes"
            self.tell(Noticed(f"the sweep mends itself: {look}, and the end is in report.txt"))
        return done, watch

    def _wait_for(self, plan: Plan, done: SubmitResult, watch: WakeupJobs | None, before: int) -> str:
        """Wait for what was submitted; where others' jobs are to be learnt from, for these.

        Returns why no further trials are to start: too many failed alike. Empty where they may.
        """
        outlives = Ability.OUTLIVE in self.session.backend.abilities
        brake = FailedAlike(self.session, 0 if outlives and self.max_fails is None else self.max_fails)
        session, sweep = self.session, self.session.store.manifest.sweep_id
        jobs, trials = [array.job for array in done.arrays], done.trials
        if not jobs and plan.wave:
            jobs, trials = sorted(session.job_keys()), plan.wave.live
        try:
            if watch:
                from slurmsweep.supervisor.enable import wait_until_over

                refresh = progress_reader(session, done.trials + done.kept_back, before, self.tell)
                if not wait_until_over(session, watch, refresh):
                    self.tell(Noticed(f"no supervisor job is queued any more: `slurmsweep mend {sweep}` starts one"))
            elif jobs:
                wait_for_jobs(session, jobs, trials, before, self.tell, brake=brake)
        except KeyboardInterrupt:
            if outlives:
                self.tell(Noticed(f"not waiting any longer; the jobs go on: `slurmsweep status {sweep}`"))
            else:
                self.tell(Noticed(f"stopped; `slurmsweep run {sweep}` goes on where it was"))
            raise
        return brake.reason


def _goal(policy: Policy, plan: Plan, situation: Situation) -> int | None:
    """Return the number of trials in all after this submission, where the search itself has no end."""
    if situation.trials is not None:
        return None
    new = plan.trials - sum(len(batch.again) for batch in plan.batches) if plan.wave is None else policy.count or 0
    return len(situation.view.trials) + situation.snapshot.queued + new


def _next_wave(policy: Policy, plan: Plan, started: int) -> Policy:
    """Return the policy of the next wave: for what is left, for no trial that ended since, and for no ended sweep."""
    retry = replace(policy.retry, only=frozenset(plan.retry.attempt_ids)) if policy.retry else None
    count = None if policy.count is None else max(0, policy.count - started)
    return replace(policy, count=count, retry=retry, reopen=False)
