"""Rounds of a sweep with a supervisor: record ends, run again what deserves it, submit what waits; no daemon.

A round is what ``slurmsweep mend`` does: run by a tiny job that waits in the scheduler (``control/jobs/wakeup.py``), or
by a person. A round that is killed is followed by another one; two at once cost jobs that find nothing to do, and no
trial. What a round does is the same observe, decide and apply as any command's, under the supervisor's policy.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slurmsweep.agents.identity import lives_here, this_process
from slurmsweep.backends.base import Ability
from slurmsweep.backends.keys import JobRef, by_id
from slurmsweep.control.jobs.notifier import notify_of_round
from slurmsweep.control.jobs.waiting_reasons import waiting_reasons
from slurmsweep.control.jobs.wakeup import NoWakeupJobs, WakeupJobs, wish_of
from slurmsweep.control.launch.supervised import SOON
from slurmsweep.control.round.apply import apply, words_of_others
from slurmsweep.control.round.decide import Policy, decide
from slurmsweep.control.round.events import ArraySubmitted, JobsReleased, Reconciled
from slurmsweep.control.round.observe import observe
from slurmsweep.control.round.retry_policy import retry_policy_of
from slurmsweep.control.snapshot import look_at_jobs
from slurmsweep.errors import (
    JobLimitError,
    SchedulerUnavailableError,
    SlurmsweepError,
    StateError,
    SubmissionRefusedError,
    SubmissionUnknownError,
)
from slurmsweep.report.ending import ending_document, ending_text
from slurmsweep.report.figures import counted
from slurmsweep.report.summary import SweepSummary
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.supervisor_files import LastRound, SupervisorFiles

if TYPE_CHECKING:
    from collections.abc import Callable

    from slurmsweep.control.round.decide import Plan, Situation
    from slurmsweep.control.round.events import Event
    from slurmsweep.control.session import Session
    from slurmsweep.state.owner import Owner
    from slurmsweep.state.supervisor_files import SupervisorSettings

#: Seconds between tries while the controller does not answer: it restarts in less.
_AGAIN = (5, 15, 30, 60, 120)


@dataclass
class Round:
    """One round, as it goes.

    Args:
        session: of the sweep.
        settings: of its supervisor.
        watch: the jobs that wake the supervisor.
        number: 1..
        say: takes each line for people as it comes.
        notes: for the report, of the rounds before, and then of this one.

    Attributes:
        said: the lines for people.
        is_over: nothing is left to do.
        stopped_by: why trials are left that will not be submitted; empty where there is no such reason.
        arrays: ids of arrays that the scheduler took.
    """

    session: Session
    settings: SupervisorSettings
    watch: WakeupJobs
    number: int
    say: Callable[[str], None]
    notes: list[str]
    said: list[str] = field(default_factory=list, init=False)
    is_over: bool = field(default=False, init=False)
    stopped_by: str = field(default="", init=False)
    arrays: list[str] = field(default_factory=list, init=False)

    def hold(self) -> None:
        """Do what a round does, each step of which may be done twice. Raises as :func:`mend`."""
        session, sweep = self.session, self.session.store.manifest.sweep_id
        try:
            self.watch.watch_over_me()
        except JobLimitError as error:
            self.tell(f"no room for the next supervisor yet: {error}")
        except SubmissionRefusedError as error:
            raise SubmissionRefusedError(
                f"the supervisor may not submit jobs from this node: {error}. A sweep mends itself only where compute "
                f"nodes may do so (AllocNodes of the partition); elsewhere run `slurmsweep mend {sweep}` on a login "
                "node at times"
            ) from error
        policy = policy_of(self.settings, session)
        situation = observe(session, policy, self._happened)
        for reason in waiting_reasons(situation.snapshot):
            # what a node could not start is released below
            is_news = not any(reason.why in note for note in self.notes)
            if reason.is_stuck and reason.first not in situation.held and is_news:
                self._remark(reason.words(sweep))
        has_left = self._submit(decide(situation, policy))
        self._arrange_the_next(situation, is_soon=has_left)

    def tell(self, *lines: str) -> None:
        """Say lines for people now, and keep them for the next round and ``status``."""
        for line in lines:
            self.said.append(line)
            self.say(line)

    def ended(self, trouble: str = "") -> LastRound:
        """Return what the next round and ``status`` read of this one."""
        is_over = self.is_over and not trouble
        return LastRound(self.number, is_over, tuple(self.said), trouble, tuple(self.notes))

    def _happened(self, event: Event) -> None:
        """Take note of what was done."""
        if isinstance(event, ArraySubmitted):
            self.arrays.append(event.array.job)
            self.tell(f"submitted job {event.array.job}: {counted(event.array.trials, 'trial')}")
        elif isinstance(event, Reconciled):
            ended, voided = len(event.result.ended), len(event.result.voided)
            if ended or voided:
                self.tell(f"ends recorded: {ended}; attempts that never started: {voided}")
            self.tell(*event.result.words_of_jobs())
        elif isinstance(event, JobsReleased):
            self.tell(f"released after a failed launch: jobs {', '.join(event.jobs)}")

    def _remark(self, line: str) -> None:
        """Take note of something that the report will say, too."""
        self.tell(line)
        if line not in self.notes:
            self.notes.append(line)

    def _submit(self, plan: Plan) -> bool:
        """Run again what lacked time or memory, within bounds, and submit what waits.

        Returns whether trials are left for the next round to submit: the scheduler had no room, or another command has
        just asked for their jobs, if it lives.
        """
        for remark in (*plan.retry.remarks, *plan.retry.left_words()):
            self._remark(remark)
        if plan.retry.attempt_ids:
            self.tell(f"to be run again: trials {', '.join(str(a.trial) for a in plan.retry.attempt_ids)}")
        self.tell(*(plan.wave.reasons if plan.wave else ()))
        others = ""
        try:
            result = apply(self.session, plan, self._happened)
            kept_back, why = result.kept_back, result.why
            others = words_of_others(result)
        except JobLimitError as error:
            kept_back, why = plan.trials, str(error)
        if others:
            self.tell(others)
        if kept_back:
            self.tell(f"{counted(kept_back, 'trial waits', 'trials wait')} without a job: {why}")
        for remark in plan.remarks:
            self._remark(remark)
        self.stopped_by = "; ".join(plan.wave.reasons) if plan.wave and plan.is_stuck else ""
        return kept_back > 0 or bool(others)

    def _arrange_the_next(self, situation: Situation, *, is_soon: bool) -> None:
        """Schedule the next round, or write the report if nothing is left: the scheduler is asked once more first."""
        session, view = self.session, self.session.refresh()
        known = {*self.arrays, *(ref.job for ref in situation.snapshot.alive)}
        arrays = tuple(sorted(known, key=by_id)) or look_at_jobs(session).arrays()
        if Ability.WAKE not in session.backend.abilities and (arrays or is_soon or view.word is SweepState.PAUSED):
            self.tell(f"the next round: `slurmsweep mend {session.store.manifest.sweep_id}`, by hand or by cron")
        elif arrays or is_soon:
            minutes = min(SOON, self.settings.every) if is_soon else self.settings.every
            self.watch.wake_after(arrays, minutes)
            ended = f"when one of the arrays {', '.join(arrays)} has ended, or " if arrays else ""
            self.tell(f"the next round: {ended}in {minutes} minutes")
        elif view.word is SweepState.PAUSED:
            self.watch.wake_after(())
            self.tell("the sweep is paused: looked at again by the clock")
        elif view.counts().get(TrialState.RUNNING):
            self.watch.wake_after(())
            self.tell("trials run whose state cannot be told here: looked at again by the clock")
        else:
            self._write_report()
            self.is_over = True
            self.watch.stop()

    def _write_report(self) -> None:
        session, store = self.session, self.session.store
        known = session.scheduler.restarts(session.job_keys())
        document = ending_document(
            SweepSummary(store.layout, store.manifest, session.view, {}, {}),
            accounting=known.accounting,
            rounds=self.number,
            notes=self.notes,
            slurm_says=known.ends,
        )
        SupervisorFiles(store.layout, store.access).write_report(ending_text(document), document)
        self.tell(f"nothing is left to do; the report is {store.layout.report_text}")


def mend(
    session: Session,
    settings: SupervisorSettings,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> LastRound | None:
    """Hold one round; return None where another process holds one at this moment.

    Raises:
        SchedulerError: the scheduler could not be asked for minutes, or refused; the clock brings the next round.
        StateError: the sweep's state could not be read or written; likewise.
    """
    files = SupervisorFiles(session.store.layout, session.store.access)
    me = this_process(os.environ)
    number = files.take_round(me, lambda holder: _lives(session, holder))
    if not isinstance(number, int):
        say(f"{number.job_name or number.pid} on {number.node or number.host} is at it: nothing to do here")
        return None
    kind = WakeupJobs if Ability.WAKE in session.backend.abilities else NoWakeupJobs
    last = files.last()
    this = Round(session, settings, kind(session, settings, me.job), number, say, list(last.notes) if last else [])
    try:
        _patiently(this.hold, this.tell, sleep)
    except SlurmsweepError as error:
        try:
            this.watch.leave_to_the_clock()  # no round right behind this one
        except SlurmsweepError as second:
            this.tell(str(second))
        files.end_round(this.ended(str(error)))
        raise
    with suppress(StateError):  # what is to be told cannot be read: the round is over all the same
        notify_of_round(session, this.tell, is_over=this.is_over, stopped_by=this.stopped_by)
    files.end_round(this.ended())
    return this.ended()


def policy_of(settings: SupervisorSettings, session: Session) -> Policy:
    """Return what a round wants of the sweep."""
    from slurmsweep.sizing.walltime import AutoSizing

    return Policy(
        wish=wish_of(settings, session),
        retry=retry_policy_of(settings),
        sizing=AutoSizing(**settings.learn) if settings.learn else None,
        goal=settings.goal or 0,
        give_up_on_fruitless=True,
    )


def _lives(session: Session, holder: Owner) -> bool:
    """Return whether the process that holds a round is still at it. Raises SchedulerUnavailableError."""
    here = lives_here(holder)
    if here is not None or holder.job is None:
        return bool(here)
    ref = JobRef.of(holder, session.here)
    status = session.scheduler.poll([ref.job]).tasks.get(ref)
    return bool(status and status.alive and not status.waits)


def _patiently(action: Callable[[], None], tell: Callable[[str], None], sleep: Callable[[float], None]) -> None:
    """Do it again while the controller does not answer."""
    for delay in _AGAIN:
        try:
            action()
        except (SchedulerUnavailableError, SubmissionUnknownError) as error:  # noqa: PERF203 - five tries
            tell(f"{error}; trying again in {delay} s")
            sleep(delay)
        else:
            return
    action()
