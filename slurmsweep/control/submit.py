"""Hand trials to Slurm: one sbatch per array, each array under a name that is known before it is asked for."""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.backends.slurm import executor, limits, queue
from slurmsweep.backends.slurm.cluster import is_elsewhere, site_name
from slurmsweep.backends.slurm.executor import ArrayRequest
from slurmsweep.backends.slurm.fit_limits import SubmitResult, Submitted, hand_over
from slurmsweep.backends.slurm.resources import merge
from slurmsweep.backends.slurm.template import Template, load_template, normal_template_name
from slurmsweep.errors import (
    JobLimitError,
    SchedulerError,
    StateError,
    StateUnwritableError,
    SubmissionUnknownError,
    UsageError,
)
from slurmsweep.state import view_cache as foldcache
from slurmsweep.state.assignment import AGENTS, MAX_SLOTS
from slurmsweep.state.lifecycle import SweepState
from slurmsweep.state.records import SubmitRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slurmsweep.backends.base import SubmitOptions
    from slurmsweep.state.replay import Submission, SweepView
    from slurmsweep.state.store import SweepStore
    from slurmsweep.state.tail import AttemptId
    from slurmsweep.state.transaction import Transaction
    from slurmsweep.sweepfile.config import SweepConfig

#: Seconds between two looks for an array whose submission was not answered: a hung controller shows it two later.
_SECOND_LOOK = 3.0

#: Why trials may be claimed again, in the journal.
_AGAIN = "resubmit"


class JobBatch(NamedTuple):
    """Jobs that ask for the same.

    Attributes:
        wishes: what they ask for.
        trials: that they run, in all.
        attempt_ids: what each of them is for; empty where each takes the next one there is.
        again: next attempts of trials that ended: they may be claimed from the moment Slurm is asked for the jobs on,
            and where it refuses these the trials are what they were.
    """

    wishes: SubmitOptions
    trials: int
    attempt_ids: tuple[AttemptId, ...] = ()
    again: tuple[AttemptId, ...] = ()

    def part(self, start: int, stop: int) -> JobBatch:
        """Some of its trials."""
        attempt_ids, stop = self.attempt_ids[start:stop], min(stop, self.trials)
        chosen = set(self.again)
        again = (
            tuple(attempt_id for attempt_id in attempt_ids if attempt_id in chosen)
            if self.attempt_ids
            else self.again[start:stop]
        )
        return self._replace(trials=stop - start, attempt_ids=attempt_ids, again=again)

    def as_far_as(self, view: SweepView) -> JobBatch:
        """Without trials that somebody else has given back, or taken, since it was planned."""
        gone = {attempt_id for attempt_id in self.again if not may_be_given_back(view, attempt_id)}
        attempt_ids = tuple(attempt_id for attempt_id in self.attempt_ids if attempt_id not in gone)
        again = tuple(attempt_id for attempt_id in self.again if attempt_id not in gone)
        return self._replace(trials=self.trials - len(gone), attempt_ids=attempt_ids, again=again)


def submit(store: SweepStore, count: int, wishes: SubmitOptions) -> SubmitResult:
    """Submit ``count`` single-count agents: as many as Slurm's limits leave room for, as arrays under MaxArraySize.

    Where the template packs them, a job runs several.

    Raises:
        UsageError: an option or the template is wrong; nothing was submitted.
        JobLimitError: there is no room for a single one.
        SchedulerError: Slurm refused or could not be asked; the arrays submitted before stay, and are in the journal.
    """
    return send(store, JobBatch(wishes, count))


def send_all(
    store: SweepStore,
    errands: Sequence[JobBatch],
    *,
    takes_up: bool = False,
    tell: Callable[[Submitted], None] | None = None,
) -> SubmitResult:
    """Send one errand after the other. Where there is no room for one, it and those after it are kept back.

    Args:
        store: of the sweep.
        errands: in the order in which they take what room there is.
        takes_up: a paused or ended sweep runs again with the first array that Slurm takes; else nothing is given back
            there.
        tell: called for each array that Slurm took.

    Raises:
        as :func:`submit`.
    """
    arrays: list[Submitted] = []
    for place, errand in enumerate(errands):
        try:
            handed = send(store, errand, takes_up=takes_up)
        except JobLimitError as error:
            if not arrays:
                raise
            handed = SubmitResult((), errand.trials, str(error))
        if tell:
            for array in handed.arrays:
                tell(array)
        arrays += handed.arrays
        if handed.kept_back:
            later = sum(other.trials for other in errands[place + 1 :])
            return SubmitResult(tuple(arrays), handed.kept_back + later, handed.why)
    return SubmitResult(tuple(arrays))


def send(store: SweepStore, errand: JobBatch, *, takes_up: bool = False) -> SubmitResult:
    """Submit the jobs of one errand. Args and errors as :func:`send_all`."""
    template = load_template(errand.wishes.template)
    agents = agents_of(template) or 1

    def part(start: int, tasks: int) -> Submitted | None:
        return _submit_array(store, errand.part(start * agents, (start + tasks) * agents), template, takes_up=takes_up)

    largest = min(limits.max_array_size(), MAX_SLOTS // agents) if errand.attempt_ids else limits.max_array_size()
    options = job_options(errand.wishes, store.manifest.config, template)
    was_refused = any(submission.job == "" for submission in foldcache.read(store).submissions.values())
    handed = hand_over(-(-errand.trials // agents), largest, options, part, was_refused=was_refused)
    return _in_trials(handed, errand.trials)


def _in_trials(handed: SubmitResult, count: int) -> SubmitResult:
    """What was kept back, counted in trials and not in jobs."""
    return handed._replace(kept_back=max(0, count - handed.trials) if handed.kept_back else 0)


def array_request(
    store: SweepStore,
    trials: int,
    wishes: SubmitOptions,
    template: Template | None = None,
    attempt_ids: tuple[AttemptId, ...] = (),
) -> ArrayRequest:
    """What would be handed to Slurm for that many trials. Raises UsageError."""
    template = template or load_template(wishes.template)
    agents = agents_of(template)
    return ArrayRequest(
        name=f"slurmsweep-{store.manifest.sweep_id}-{secrets.token_hex(4)}",
        tasks=-(-trials // (agents or 1)),
        width=wishes.width,
        options=job_options(wishes, store.manifest.config, template),
        body=template.body,
        sweep_dir=store.layout.folder,
        jobs_dir=store.layout.jobs,
        workdir=store.manifest.workdir,
        attempt_ids=attempt_ids,
        agents=agents,
        trials=trials if agents else None,
    )


def agents_of(template: Template) -> int | None:
    """How many agents a job of the template runs side by side; None where it knows nothing of that. Raises UsageError.

    ``SLURMSWEEP_AGENTS`` here is what the batch script will see.
    """
    if template.agents is None:
        return None
    text = os.environ.get(AGENTS) or str(template.agents)
    if not text.isdecimal() or not 0 < int(text) <= MAX_SLOTS:
        raise UsageError(f"{AGENTS}={text}: write how many trials a job runs side by side, 1 to {MAX_SLOTS}")
    return int(text)


def job_options(wishes: SubmitOptions, config: SweepConfig, template: Template | None = None) -> dict[str, str | bool]:
    """The sbatch options that the three places give together. Raises UsageError for whatever is wrong with them."""
    template = template or load_template(wishes.template)
    return merge(template.options, config.slurm, wishes.options or {})


def recover_submissions(store: SweepStore, sleep: Callable[[float], None] = time.sleep) -> None:
    """Look for arrays whose submission was never answered, by their unique names, and record what is found.

    What Slurm does not know at two looks was never taken: a controller that hung while it was asked shows the jobs
    seconds after it answers again.

    Raises:
        SchedulerUnavailableError: Slurm could not be asked: nothing is known.
    """
    missing = [s for s in _unanswered(store) if not _recover(store, s.name, s.tasks)]
    if not missing:
        return
    sleep(_SECOND_LOOK)
    for submission in missing:
        if not _recover(store, submission.name, submission.tasks):
            _record_refusal(store, submission.name)


def _unanswered(store: SweepStore) -> list[Submission]:
    """Of this cluster: another one's arrays are not found here, whatever became of them."""
    waiting = [submission for submission in store.replay().submissions.values() if submission.job is None]
    here = site_name() if waiting else ""
    return [submission for submission in waiting if not is_elsewhere(submission.cluster, here)]


def _submit_array(store: SweepStore, errand: JobBatch, template: Template, *, takes_up: bool) -> Submitted | None:
    """Announce an array, ask Slurm for it, and record the answer; None where there was nothing left to submit.

    What is given back with it and what it takes up again hangs on the announced name: whoever records that Slurm
    refused the array takes it back by that, and who is killed in between leaves an array without an answer, which
    :func:`recover_submissions` asks for.
    """
    reading = store.reading() if errand.again or takes_up else None
    with store.transaction(reading) as transaction:
        view = reading.view if reading else None
        if view:
            errand = errand.as_far_as(view)
        is_ordered = bool(view and view.word and not takes_up)
        if not errand.trials or (errand.again and is_ordered):
            return None
        request = array_request(store, errand.trials, errand.wishes, template, errand.attempt_ids)
        _announce(transaction, view, request, errand)
    try:
        job = executor.submit(request)
    except SubmissionUnknownError:
        job = _recover(store, request.name, request.tasks)
        if not job:
            raise
    except SchedulerError:
        _record_refusal(store, request.name)
        raise
    except StateUnwritableError:  # the script; nothing was submitted
        with suppress(StateError):
            _record_refusal(store, request.name)
        raise
    _record_job(store, request, errand, job)
    return Submitted(job, request.tasks, errand.trials, request.agents or 1)


def _announce(transaction: Transaction, view: SweepView | None, request: ArrayRequest, errand: JobBatch) -> None:
    resumes = view.word if view else None
    if resumes:
        transaction.order(SweepState.RUNNING)
    transaction.submit(
        SubmitRecord(
            request.name,
            request.tasks,
            None,
            asked={"time": executor.DEFAULT_TIME, **request.options},
            template=normal_template_name(errand.wishes.template),
            wishes=errand.wishes.options,
            agents=request.agents,
            resumes=resumes,
            cluster=site_name(),
        )
    )
    if view and errand.again:
        transaction.retry(errand.again, _AGAIN, array=request.name)


def _record_job(store: SweepStore, request: ArrayRequest, errand: JobBatch, job: str) -> None:
    """Slurm took the array. Trials that were given back for it, and for no certain element, anybody may take now."""
    reading = store.reading() if errand.again and not errand.attempt_ids else None
    with store.transaction(reading) as transaction:
        transaction.submit(SubmitRecord(request.name, request.tasks, job))
        if reading:
            view = reading.view
            left = [
                attempt_id for attempt_id in errand.again if view.trials[attempt_id.trial].newest < attempt_id.attempt
            ]
            transaction.retry(left, _AGAIN)


def _record_refusal(store: SweepStore, name: str) -> None:
    """Slurm has no such array and never will: the sweep is what it was before that was announced.

    Trials that somebody claimed meanwhile go on, and an order that was given since then stands.
    """
    reading = store.reading()
    with store.transaction(reading) as transaction:
        view = reading.view
        known = view.submissions[name]
        if known.job is not None:  # its submitter got an answer after all
            return
        transaction.submit(SubmitRecord(name, known.tasks, ""))
        if known.resumes and view.word is None and view.word_sequence < known.sequence:
            transaction.order(known.resumes)


def may_be_given_back(view: SweepView, attempt_id: AttemptId) -> bool:
    """Whether the trial ended, did not finish, and that is its next attempt."""
    trial = view.trials.get(attempt_id.trial)
    return trial is not None and trial.next_attempt == attempt_id and trial.state.can_retry


def _recover(store: SweepStore, name: str, tasks: int) -> str:
    """The array of that name, recorded; empty where Slurm has none (yet: a hung controller shows it seconds later)."""
    found = queue.find_by_name(name)
    if found:
        with store.transaction() as transaction:
            transaction.submit(SubmitRecord(name, tasks, found[0]))
    return found[0] if found else ""
