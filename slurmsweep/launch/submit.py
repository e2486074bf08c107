"""Hand trials to Slurm: one sbatch per array, each array under a name that is known before it is asked for."""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.errors import (
    JobLimitError,
    SchedulerError,
    StateError,
    StateUnwritableError,
    SubmissionUnknownError,
    UsageError,
)
from slurmsweep.launch.handover import Handover, Submitted, hand_over
from slurmsweep.slurm import executor, limits, queue
from slurmsweep.slurm.cluster import is_elsewhere, site_name
from slurmsweep.slurm.executor import ArrayRequest
from slurmsweep.slurm.resources import merge
from slurmsweep.slurm.template import Template, load_template, normal_template_name
from slurmsweep.state import foldcache
from slurmsweep.state.assignment import AGENTS, MAX_SLOTS
from slurmsweep.state.lifecycle import SweepState, TrialState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from slurmsweep.state.fold import Fold, Submission
    from slurmsweep.state.head import Slot
    from slurmsweep.state.store import SweepStore
    from slurmsweep.state.transaction import Transaction
    from slurmsweep.sweepfile.config import SweepConfig

#: Seconds between two looks for an array whose submission was not answered: a hung controller shows it two later.
_SECOND_LOOK = 3.0

#: Why trials may be claimed again, in the journal.
_AGAIN = "resubmit"


class Wishes(NamedTuple):
    """What a person asks of Slurm on the command line.

    Attributes:
        template: name or path of the job template.
        options: sbatch options; they win over the sweep file's ``slurm:`` section, which wins over the template.
        width: jobs of an array at a time; None for as many as Slurm lets.
    """

    template: str = "array"
    options: Mapping[str, str | bool] | None = None
    width: int | None = None


class Errand(NamedTuple):
    """Jobs that ask for the same.

    Attributes:
        wishes: what they ask for.
        trials: that they run, in all.
        slots: what each of them is for; empty where each takes the next one there is.
        again: next attempts of trials that ended: they may be claimed from the moment Slurm is asked for the jobs on,
            and where it refuses these the trials are what they were.
    """

    wishes: Wishes
    trials: int
    slots: tuple[Slot, ...] = ()
    again: tuple[Slot, ...] = ()

    def part(self, start: int, stop: int) -> Errand:
        """Some of its trials."""
        slots, stop = self.slots[start:stop], min(stop, self.trials)
        chosen = set(self.again)
        again = tuple(slot for slot in slots if slot in chosen) if self.slots else self.again[start:stop]
        return self._replace(trials=stop - start, slots=slots, again=again)

    def as_far_as(self, fold: Fold) -> Errand:
        """Without trials that somebody else has given back, or taken, since it was planned."""
        gone = {slot for slot in self.again if not may_be_given_back(fold, slot)}
        slots = tuple(slot for slot in self.slots if slot not in gone)
        again = tuple(slot for slot in self.again if slot not in gone)
        return self._replace(trials=self.trials - len(gone), slots=slots, again=again)


def submit(store: SweepStore, count: int, wishes: Wishes) -> Handover:
    """Submit ``count`` single-count agents: as many as Slurm's limits leave room for, as arrays under MaxArraySize.

    Where the template packs them, a job runs several.

    Raises:
        UsageError: an option or the template is wrong; nothing was submitted.
        JobLimitError: there is no room for a single one.
        SchedulerError: Slurm refused or could not be asked; the arrays submitted before stay, and are in the journal.
    """
    return send(store, Errand(wishes, count))


def send_all(
    store: SweepStore,
    errands: Sequence[Errand],
    *,
    takes_up: bool = False,
    tell: Callable[[Submitted], None] | None = None,
) -> Handover:
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
            handed = Handover((), errand.trials, str(error))
        if tell:
            for array in handed.arrays:
                tell(array)
        arrays += handed.arrays
        if handed.kept_back:
            later = sum(other.trials for other in errands[place + 1 :])
            return Handover(tuple(arrays), handed.kept_back + later, handed.why)
    return Handover(tuple(arrays))


def send(store: SweepStore, errand: Errand, *, takes_up: bool = False) -> Handover:
    """Submit the jobs of one errand. Args and errors as :func:`send_all`."""
    template = load_template(errand.wishes.template)
    agents = agents_of(template) or 1

    def part(start: int, tasks: int) -> Submitted | None:
        return _submit_array(store, errand.part(start * agents, (start + tasks) * agents), template, takes_up=takes_up)

    largest = min(limits.max_array_size(), MAX_SLOTS // agents) if errand.slots else limits.max_array_size()
    options = job_options(errand.wishes, store.manifest.config, template)
    was_refused = any(submission.job == "" for submission in foldcache.read(store).submissions.values())
    handed = hand_over(-(-errand.trials // agents), largest, options, part, was_refused=was_refused)
    return _in_trials(handed, errand.trials)


def _in_trials(handed: Handover, count: int) -> Handover:
    """What was kept back, counted in trials and not in jobs."""
    return handed._replace(kept_back=max(0, count - handed.trials) if handed.kept_back else 0)


def array_request(
    store: SweepStore, trials: int, wishes: Wishes, template: Template | None = None, slots: tuple[Slot, ...] = ()
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
        slots=slots,
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


def job_options(wishes: Wishes, config: SweepConfig, template: Template | None = None) -> dict[str, str | bool]:
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
    waiting = [submission for submission in store.fold().submissions.values() if submission.job is None]
    here = site_name() if waiting else ""
    return [submission for submission in waiting if not is_elsewhere(submission.cluster, here)]


def _submit_array(store: SweepStore, errand: Errand, template: Template, *, takes_up: bool) -> Submitted | None:
    """Announce an array, ask Slurm for it, and record the answer; None where there was nothing left to submit.

    What is given back with it and what it takes up again hangs on the announced name: whoever records that Slurm
    refused the array takes it back by that, and who is killed in between leaves an array without an answer, which
    :func:`recover_submissions` asks for.
    """
    with store.transaction() as transaction:
        fold = store.fold() if errand.again or takes_up else None
        if fold:
            errand = errand.as_far_as(fold)
        is_ordered = bool(fold and fold.word and not takes_up)
        if not errand.trials or (errand.again and is_ordered):
            return None
        request = array_request(store, errand.trials, errand.wishes, template, errand.slots)
        _announce(transaction, fold, request, errand)
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


def _announce(transaction: Transaction, fold: Fold | None, request: ArrayRequest, errand: Errand) -> None:
    resumes = fold.word if fold else None
    if resumes:
        transaction.order(SweepState.RUNNING)
    transaction.submit(
        request.name,
        request.tasks,
        None,
        {"time": executor.DEFAULT_TIME, **request.options},
        normal_template_name(errand.wishes.template),
        errand.wishes.options,
        request.agents or 1,
        resumes,
        site_name(),
    )
    if fold and errand.again:
        before = {slot.trial: fold.trials[slot.trial].state for slot in errand.again}
        transaction.retry(list(errand.again), before, _AGAIN, array=request.name)


def _record_job(store: SweepStore, request: ArrayRequest, errand: Errand, job: str) -> None:
    """Slurm took the array. Trials that were given back for it, and for no certain element, anybody may take now."""
    with store.transaction() as transaction:
        transaction.submit(request.name, request.tasks, job)
        if errand.again and not errand.slots:
            fold = store.fold()
            left = [slot for slot in errand.again if fold.trials[slot.trial].newest < slot.attempt]
            transaction.retry(left, {slot.trial: TrialState.PENDING for slot in left}, _AGAIN)


def _record_refusal(store: SweepStore, name: str) -> None:
    """Slurm has no such array and never will: the sweep is what it was before that was announced.

    Trials that somebody claimed meanwhile go on, and an order that was given since then stands.
    """
    with store.transaction() as transaction:
        fold = store.fold()
        known = fold.submissions[name]
        if known.job is not None:  # its submitter got an answer after all
            return
        promised = [fold.trials[number] for number, attempt in known.again if fold.trials[number].newest < attempt]
        transaction.withdrawn(
            [trial.current.outcome.state for trial in promised if trial.current and trial.current.outcome]
        )
        transaction.submit(name, known.tasks, "")
        if known.resumes and fold.word is None and fold.word_sequence < known.sequence:
            transaction.order(SweepState(known.resumes))


def may_be_given_back(fold: Fold, slot: Slot) -> bool:
    """Whether the trial ended, did not finish, and that is its next attempt."""
    trial = fold.trials.get(slot.trial)
    if trial is None or trial.newest + 1 != slot.attempt:
        return False
    return trial.state.has_ended() and trial.state is not TrialState.FINISHED


def _recover(store: SweepStore, name: str, tasks: int) -> str:
    """The array of that name, recorded; empty where Slurm has none (yet: a hung controller shows it seconds later)."""
    found = queue.find_by_name(name)
    if found:
        with store.transaction() as transaction:
            transaction.submit(name, tasks, found[0])
    return found[0] if found else ""
