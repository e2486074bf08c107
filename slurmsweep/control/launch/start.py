"""Start trials of a sweep: observe, decide, apply; wait for what was started, and go on where more is to start."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from slurmsweep.agents import notices
from slurmsweep.backends.base import Ability
from slurmsweep.control.creation.code_state import note_code_state
from slurmsweep.control.jobs.max_fails import FailedAlike
from slurmsweep.control.jobs.notifier import Notifier
from slurmsweep.control.jobs.wait import ended_trials, progress_reader, wait_for_jobs
from slurmsweep.control.jobs.waiting_reasons import look_after_submission
from slurmsweep.control.launch.checks import behind_others, check_call, check_jobs, check_sizing
from slurmsweep.control.launch.result import LaunchResult, SubmittedWave, result_of
from slurmsweep.control.round.apply import apply, words_of_others
from slurmsweep.control.round.decide import decide
from slurmsweep.control.round.events import Noticed, Planned, TrialsKeptBack
from slurmsweep.control.round.headline import headline
from slurmsweep.control.round.observe import observe
from slurmsweep.errors import SubmissionRefusedError
from slurmsweep.sizing.walltime import Step
from slurmsweep.state import projects, refusals
from slurmsweep.state.lifecycle import Standing
from slurmsweep.state.naming import meant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slurmsweep.backends.base import SubmitResult
    from slurmsweep.control.jobs.wakeup import WakeupJobs
    from slurmsweep.control.round.decide import Plan, Policy, Situation
    from slurmsweep.control.round.events import Tell
    from slurmsweep.control.session import Session
    from slurmsweep.state.supervisor_files import SupervisorSettings


@dataclass(frozen=True)
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
        meant: finds the sweep that a word of ``after`` means.
    """

    session: Session
    tell: Tell
    command: str
    wait: bool = True
    supervisor: SupervisorSettings | None = None
    max_fails: int | None = None
    notify: str | None = None
    dry_run: bool = False
    after: Sequence[str] = ()
    meant: Callable[[str], str] = meant

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

    def _start(self, policy: Policy, changes: Sequence[Callable[[], object]]) -> LaunchResult:
        """Submit one wave after the other until nothing more is to start: what one showed decides of the next."""
        policy, width_words = self._checked(policy)
        session = self.session.rehearsal() if self.dry_run else self.session
        situation = observe(session, policy, self.tell)
        plan = decide(situation, policy)
        if not self.dry_run:
            self._make(changes)
        said = headline(situation, policy, plan, self.command, is_rehearsal=self.dry_run)
        if width_words and plan.batches:
            self.tell(Noticed(width_words))
        self._announce(plan, situation, said.text)
        if self.dry_run:
            return LaunchResult(plan, headline=said, is_stuck=plan.is_stuck)
        done_before = session.view.done()
        waves = [self._submit_wave(policy, plan, situation)]
        while not waves[-1].is_last:
            policy = _next_policy(policy, plan, waves[-1].started)
            situation = observe(session, policy, self.tell)
            plan = decide(situation, policy)
            has_jobs = any(wave.submitted.arrays for wave in waves)
            if situation.rungs and not plan.batches and has_jobs and not plan.is_stuck:
                break  # every trial has gone as far as it may
            self._announce(plan, situation)
            waves.append(self._submit_wave(policy, plan, situation))
        return replace(result_of(waves, done_before, plan, said), waited=self.wait)

    def _checked(self, policy: Policy) -> tuple[Policy, str]:
        """Return the policy with the defaults of the sweep; refuse what is wrong before anything is looked at.

        Beside it stands what is to be told where trials start, as :func:`check_jobs` returns it.
        """
        if not self.session.store.manifest.can_run:
            from slurmsweep.control.creation.function import ready_to_run  # says what is missing

            ready_to_run(self.session.store, None)
        is_supervised = self.supervisor is not None
        check_call(self.session.backend, wait=self.wait, supervise=is_supervised, max_fails=self.max_fails)
        wish, width_words = check_jobs(self.session, policy.wish, self.tell)
        wish = behind_others(self.session, wish, self.after, self.meant, lambda line: self.tell(Noticed(line)))
        if policy.sizing:
            check_sizing(self.session, policy.sizing, self.tell)
        return replace(policy, wish=wish), width_words

    def _make(self, changes: Sequence[Callable[[], object]]) -> None:
        """Make the call's changes to the sweep, and note where and with which code its trials are started."""
        for change in changes:
            change()
        store = self.session.store
        projects.remember(os.path.dirname(os.path.dirname(store.layout.folder)))
        note_code_state(store)

    def _announce(self, plan: Plan, situation: Situation, headline: str = "") -> None:
        self.tell(Planned(plan, self.dry_run, headline))
        if plan.reopen and situation.view.word:
            ordered = Standing.of_order(situation.view.word)
            self.tell(Noticed(f"the sweep was {ordered}: `{self.command}` lifts that order"))

    def _submit_wave(self, policy: Policy, plan: Plan, situation: Situation) -> SubmittedWave:
        """Do what was planned, and wait for it where this call waits."""
        session = self.session
        if plan.retry.refused:
            refusals.write(session.store.layout, plan.retry.refused, session.store.access)
        view = session.view
        known, before, sequence = len(view.trials), ended_trials(view), view.head.sequence
        again = [attempt_id for batch in plan.batches for attempt_id in batch.again]
        # trials that were stopped early count as done until they run again
        undone = len({attempt_id.trial for attempt_id in again}.intersection(view.trials.stopped_early()))
        submitted, watch = self._apply(policy, plan, situation)
        if submitted.arrays and (watch or not self.wait):  # a command that waits for jobs asks about them in time
            look_after_submission(session, [array.job for array in submitted.arrays], self.tell)
        trials = session.view.trials
        before -= sum(trials[a.trial].open_to >= a.attempt for a in again)  # these are to end once more
        stopped_by = self._wait_for(plan, submitted, watch, before) if self.wait else ""
        has_next_rung = situation.rungs is not None and submitted.trials > 0
        # a trial that goes on to its next rung has finished before
        started = len(session.view.trials) - known if has_next_rung and self.wait else submitted.trials
        if has_next_rung:
            is_complete = session.view.head.sequence == sequence  # nothing came of it
        else:
            is_complete = not plan.is_learning or submitted.trials == policy.count
        return SubmittedWave(
            submitted,
            watch,
            started,
            expected=started + (len(plan.retry.attempt_ids) if has_next_rung else 0) - undone,
            is_last=not self.wait or watch is not None or bool(stopped_by) or is_complete,
            stopped_by=stopped_by,
        )

    def _apply(self, policy: Policy, plan: Plan, situation: Situation) -> tuple[SubmitResult, WakeupJobs | None]:
        """Do what was planned, with a supervisor where one was asked for."""
        if self.supervisor is None or situation.view.reached:  # nothing is left to supervise
            done, watch = apply(self.session, plan, self.tell), None
        else:
            from slurmsweep.control.launch.supervised import submit_supervised

            settings = self._settings(self.supervisor, policy, plan, situation)
            done, watch = submit_supervised(self.session, settings, plan, self.tell)
        if others := words_of_others(done):
            self.tell(Noticed(others))
        if done.kept_back:
            self.tell(TrialsKeptBack(done.kept_back, done.why, "" if watch else self.command))
        if watch:
            look = f"`slurmsweep status {self.session.store.manifest.sweep_id}` shows how it goes"
            self.tell(Noticed(f"the sweep mends itself: {look}, and the end is in report.txt"))
        return done, watch

    def _settings(
        self, supervisor: SupervisorSettings, policy: Policy, plan: Plan, situation: Situation
    ) -> SupervisorSettings:
        """Return the supervisor's settings, with what this call wants of the trials that are left to it."""
        options = supervisor.options
        waits = (policy.wish.options or {}).get("dependency") if self.after else None
        if waits:  # also what it submits before the others have ended
            options = {**options, "dependency": str(waits)}
        learn = asdict(policy.sizing) if policy.sizing else {}
        return replace(supervisor, options=options, goal=_goal(policy, plan, situation), learn=learn)

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
                from slurmsweep.control.launch.supervised import wait_until_over

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


def _next_policy(policy: Policy, plan: Plan, started: int) -> Policy:
    """Return the policy of the next wave: for what is left, for no trial that ended since, and for no ended sweep."""
    retry = replace(policy.retry, only=frozenset(plan.retry.attempt_ids)) if policy.retry else None
    count = None if policy.count is None else max(0, policy.count - started)
    return replace(policy, count=count, retry=retry, reopen=False)
