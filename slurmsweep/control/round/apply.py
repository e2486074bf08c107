"""Do what was planned: give trials back, submit jobs, and leave on disk what the next command has to know.

An array is announced in the journal and written down as a document before the scheduler is asked for it; its answer is
recorded after. A process that is killed in between leaves an array without an answer, which the next command looks for
by its name (:func:`slurmsweep.control.round.reconcile.recover_submissions`).

Of commands that submit at the same moment each sees, under the lock, what the others have announced since it looked at
the sweep, and makes no jobs for the trials that these are for.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from slurmsweep.agents.identity import this_process
from slurmsweep.backends.base import Ability, JobSource, SubmitResult, Submitted
from slurmsweep.control.round.batch import was_claimed
from slurmsweep.control.round.events import ArraySubmitted, JobsReleased
from slurmsweep.control.round.reconcile import AGAIN, give_back, record_job, record_refusal
from slurmsweep.errors import JobLimitError, SlurmsweepError, StateError, SubmissionUnknownError
from slurmsweep.report.figures import counted
from slurmsweep.state.assignment import to_text
from slurmsweep.state.lifecycle import SweepState
from slurmsweep.state.owner import JobPlace
from slurmsweep.state.records import SubmitRecord
from slurmsweep.state.submissions import SubmissionDocument

if TYPE_CHECKING:
    from slurmsweep.backends.base import JobRequest
    from slurmsweep.control.round.batch import JobBatch, PlanBasis
    from slurmsweep.control.round.decide import Plan
    from slurmsweep.control.round.events import Tell
    from slurmsweep.control.session import Session
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.tail import AttemptId


@dataclass
class _JobsLeft:
    """The part of a plan's new trials that is left to it, where others submit at the same moment.

    Attributes:
        basis: of the plan; None where nothing bounds the number of jobs.
        named: new trials that jobs of the plan are each for, and that it has neither asked for nor given up; in the
            order in which jobs that are for no certain trial take them.
        names: of what this plan has announced.
        given_up: for how many new trials others have got jobs, so that the plan has made none for them.
    """

    basis: PlanBasis | None
    named: list[AttemptId] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    given_up: int = 0

    @classmethod
    def by(cls, plan: Plan) -> _JobsLeft:
        """Return all of a plan."""
        named = {a for batch in plan.batches for a in batch.attempt_ids}.difference(*(b.again for b in plan.batches))
        return cls(plan.basis, sorted(named, key=lambda a: (a.attempt == 1, a.trial)))

    def of(self, batch: JobBatch, view: SweepView) -> JobBatch:
        """Return what of a batch still has no job, as of ``view``.

        Jobs of others are for the first trials there are, whatever batches of this plan these are in.
        """
        left = batch.as_far_as(view)
        if self.basis is None:
            return left
        more = max(0, self.basis.announced_since(view, self.names) - self.basis.spare - self.given_up)
        if not more or not batch.attempt_ids:
            return replace(left, trials=left.trials - min(more, left.new))
        free = [a for a in self.named if not was_claimed(view, a)]
        # what was claimed since is among what others got jobs for
        return left.without(free[: max(0, more - (len(self.named) - len(free)))])

    def settle(self, planned: JobBatch, asked_for: JobBatch) -> None:
        """Note that a batch is done with: jobs were asked for, or others have them."""
        self.given_up += planned.new - asked_for.new
        done = set(planned.attempt_ids)
        self.named = [a for a in self.named if a not in done]


def apply(session: Session, plan: Plan, tell: Tell) -> SubmitResult:
    """Do what the plan says, in its order. Where there is no room for a batch, it and those after it are kept back.

    Args:
        session: of the sweep that the plan was made for.
        plan: of :func:`slurmsweep.control.round.decide.decide`.
        tell: called with an event for each thing that was done.

    Raises:
        UsageError: an option or the template is wrong; nothing was submitted.
        JobLimitError: there is no room for a single job.
        SchedulerError: the scheduler refused or did not answer; arrays submitted before stay, and are in the journal.
        StateError: the journal or a document could not be written.
    """
    if plan.release:
        session.backend.release(plan.release)
        tell(JobsReleased(plan.release))
    if plan.reopen and not plan.batches:
        give_back(session, lambda _: False, why="run")  # jobs that wait already find the sweep running
    done, share = SubmitResult(), _JobsLeft.by(plan)
    for place, batch in enumerate(plan.batches):
        try:
            result = _submit_batch(session, batch, share, reopen=plan.reopen, tell=tell)
        except JobLimitError as error:
            if not done.arrays:
                raise
            result = SubmitResult((), batch.trials, str(error))
        done = replace(done, arrays=(*done.arrays, *result.arrays))
        if result.kept_back:
            later = sum(other.trials for other in plan.batches[place + 1 :])
            done = replace(done, kept_back=result.kept_back + later, why=result.why)
            break
    return replace(done, left_to_others=share.given_up)


def words_of_others(result: SubmitResult) -> str:
    """Return that trials were left to another command's jobs, for people; empty where none were."""
    if not result.left_to_others:
        return ""
    trials = counted(result.left_to_others, "trial was left out", "trials were left out")
    return f"{trials}: another command has asked for jobs for as many since this one looked at the sweep"


def _submit_batch(session: Session, batch: JobBatch, share: _JobsLeft, *, reopen: bool, tell: Tell) -> SubmitResult:
    """Submit the jobs of one batch: as many as the scheduler's limits leave room for. Raises as :func:`apply`."""
    request = _request(session, batch)
    was_refused = any(submission.job == "" for submission in session.view.submissions.values())

    def part(start: int, trials: int) -> Submitted | None:
        array = _submit_array(session, batch.part(start, start + trials), share, reopen=reopen)
        if array and Ability.OUTLIVE in session.backend.abilities:
            tell(ArraySubmitted(array, batch.minutes, batch.mib))
        return array

    return session.backend.submit(request, part, was_refused=was_refused)


def _request(session: Session, batch: JobBatch) -> JobRequest:
    return session.backend.request(JobSource.of(session.store), batch.trials, batch.wish, batch.attempt_ids)


def _submit_array(session: Session, planned: JobBatch, share: _JobsLeft, *, reopen: bool) -> Submitted | None:
    """Announce an array, ask for it, and record the answer; return None where nothing was left to submit.

    What is given back with the array, and that the sweep runs again, hangs on the announced name: the
    process that records that the scheduler refused the array takes it back by that.
    """
    is_kept = Ability.OUTLIVE in session.backend.abilities
    with session.transaction() as transaction:
        view = session.view
        if (view.word and not reopen) or view.reached:  # only `resume` lifts a target
            return None
        batch, resumes = share.of(planned, view), view.word if reopen else None
        if not batch.trials:
            share.settle(planned, batch)
            return None
        request = _request(session, batch)
        share.names.add(request.name)
        document = _document(session, request, batch)
        if resumes:
            transaction.order(SweepState.RUNNING)
        if is_kept:
            asked = (document.options, document.template, document.wishes, document.agents)
            transaction.submit(
                SubmitRecord(
                    request.name, request.tasks, None, *asked, resumes, document.cluster, trials=document.trials
                )
            )
        transaction.retry(list(batch.again), AGAIN, array=request.name if is_kept else "")
    try:
        session.submissions.write(document)
        job = session.backend.send(request)
    except SubmissionUnknownError as unanswered:
        job = _looked_for(session, document, unanswered)
    except SlurmsweepError:  # nothing was submitted
        if is_kept:
            with suppress(StateError):
                record_refusal(session, request.name)
        raise
    share.settle(planned, batch)
    tasks = session.backend.taken(request)
    if is_kept:
        record_job(session, request.name, tasks, job, () if batch.attempt_ids else batch.again)
    trials = batch.trials if tasks == request.tasks else min(batch.trials, tasks * (request.agents or 1))
    return Submitted(job, tasks, trials, request.agents or 1)


def _looked_for(session: Session, document: SubmissionDocument, unanswered: SubmissionUnknownError) -> str:
    """Return the key of the jobs of a submission that was not answered. Raises its error where none are found (yet)."""
    try:
        job = session.backend.find(document.name, document.cluster)
    except SlurmsweepError as error:  # so the jobs may exist, whatever this error would say alone
        raise SubmissionUnknownError(f"{unanswered}; they could not be looked for: {error}") from error
    if not job:
        raise unanswered
    return job


def _document(session: Session, request: JobRequest, batch: JobBatch) -> SubmissionDocument:
    return SubmissionDocument(
        name=request.name,
        backend=session.backend.name,
        sweep=session.store.manifest.sweep_id,
        tasks=request.tasks,
        trials=batch.trials,
        agents=request.agents or 1,
        width=request.width,
        options=dict(request.options),
        wishes=dict(batch.wish.options or {}),
        template=request.template,
        attempts=to_text(batch.attempt_ids),
        retried=tuple(batch.again),
        job=None,
        cluster=session.backend.cluster(request.options),
        submitted=round(time.time(), 3),
        by=this_process(os.environ, JobPlace()),
    )
