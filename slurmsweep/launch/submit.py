"""Hand trials to Slurm: one sbatch per array, each array under a name that is known before it is asked for."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from slurmsweep.errors import JobLimitError, SchedulerError, SubmissionUnknownError, UsageError
from slurmsweep.slurm import executor, limits, queue
from slurmsweep.slurm.executor import ArrayRequest
from slurmsweep.slurm.resources import merge
from slurmsweep.slurm.template import Template, load_template, normal_template_name
from slurmsweep.state.assignment import AGENTS, MAX_SLOTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from slurmsweep.state.fold import Submission
    from slurmsweep.state.head import Slot
    from slurmsweep.state.store import SweepStore
    from slurmsweep.sweepfile.config import SweepConfig

#: Seconds between two looks for an array whose submission was not answered: a hung controller shows it two later.
_SECOND_LOOK = 3.0


@dataclass(frozen=True)
class Wishes:
    """What a person asks of Slurm on the command line.

    Attributes:
        template: name or path of the job template.
        options: sbatch options; they win over the sweep file's ``slurm:`` section, which wins over the template.
        width: jobs of an array at a time; None for as many as Slurm lets.
    """

    template: str = "array"
    options: Mapping[str, str | bool] | None = None
    width: int | None = None


@dataclass(frozen=True)
class Submitted:
    """One array that Slurm took.

    Attributes:
        job: its id.
        tasks: number of elements.
        agents: of each element: so many trials it runs side by side.
    """

    job: str
    tasks: int
    agents: int = 1

    @property
    def trials(self) -> int:
        """That it runs at most."""
        return self.tasks * self.agents


@dataclass(frozen=True)
class Handover(Collection[Submitted]):
    """What Slurm took, and what it could not take now.

    Nothing more is kept of what waits: it is the trials that nobody has claimed and no job is there for, so the next
    submission finds them.

    Attributes:
        arrays: what it took; a handover is the collection of these.
        kept_back: trials that a limit left no room for.
        why: the limit, in words; empty where nothing was kept back.
    """

    arrays: tuple[Submitted, ...]
    kept_back: int = 0
    why: str = ""

    def __iter__(self) -> Iterator[Submitted]:
        """The arrays."""
        return iter(self.arrays)

    def __len__(self) -> int:
        """Number of arrays."""
        return len(self.arrays)

    def __contains__(self, array: object) -> bool:
        """Whether it is one of the arrays."""
        return array in self.arrays

    @property
    def trials(self) -> int:
        """That the jobs which Slurm took run at most."""
        return sum(array.trials for array in self.arrays)


def submit(store: SweepStore, count: int, wishes: Wishes) -> Handover:
    """Submit ``count`` single-count agents: as many as Slurm's limits leave room for, as arrays under MaxArraySize.

    Where the template packs them, a job runs several.

    Raises:
        UsageError: an option or the template is wrong; nothing was submitted.
        JobLimitError: there is no room for a single one.
        SchedulerError: Slurm refused or could not be asked; the arrays submitted before stay, and are in the journal.
    """
    template = load_template(wishes.template)
    agents = agents_of(template) or 1

    def part(start: int, tasks: int) -> Submitted:
        trials = min(tasks * agents, count - start * agents)
        return _submit_array(store, array_request(store, trials, wishes, template), wishes)

    options = job_options(wishes, store.manifest.config)
    return _in_trials(_hand_over(-(-count // agents), limits.max_array_size(), options, part), count)


def submit_slots(store: SweepStore, slots: Sequence[Slot], wishes: Wishes) -> Handover:
    """Submit one agent for each of ``slots``, which runs that attempt and no other. Raises as :func:`submit`.

    Attempts beyond the first must have been allowed before (:func:`slurmsweep.launch.reconcile.give_back`).
    """
    template = load_template(wishes.template)
    agents = agents_of(template) or 1

    def part(start: int, tasks: int) -> Submitted:
        some = tuple(slots[start * agents : (start + tasks) * agents])
        return _submit_array(store, array_request(store, len(some), wishes, template, some), wishes)

    largest = min(limits.max_array_size(), MAX_SLOTS // agents)
    options = job_options(wishes, store.manifest.config)
    return _in_trials(_hand_over(-(-len(slots) // agents), largest, options, part), len(slots))


def _in_trials(handed: Handover, count: int) -> Handover:
    """What was kept back, counted in trials and not in jobs."""
    return replace(handed, kept_back=max(0, count - handed.trials))


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
        options=job_options(wishes, store.manifest.config),
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


def job_options(wishes: Wishes, config: SweepConfig) -> dict[str, str | bool]:
    """The sbatch options that the three places give together. Raises UsageError for whatever is wrong with them."""
    return merge(load_template(wishes.template).options, config.slurm, wishes.options or {})


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
    lost = [s for s in missing if not _recover(store, s.name, s.tasks)]
    with store.transaction() as transaction:
        still = {s.name for s in _unanswered(store)}  # its submitter may have got the answer meanwhile
        for submission in lost:
            if submission.name in still:
                transaction.submit(submission.name, submission.tasks, "")


def _unanswered(store: SweepStore) -> list[Submission]:
    return [submission for submission in store.fold().submissions.values() if submission.job is None]


def _hand_over(
    count: int, largest: int, options: Mapping[str, str | bool], part: Callable[[int, int], Submitted]
) -> Handover:
    """Submit ``count`` jobs in arrays of at most ``largest``: all that fits.

    An array counts all its elements and is taken whole or not at all, so what a limit does not leave room for is halved
    until it fits: log2(count) refusals find the limit to the job.

    Args:
        count: 1 or more.
        largest: array that Slurm takes here.
        options: of the jobs.
        part: submits so many from a position on. Raises JobLimitError where Slurm does not take them.
    """
    room = limits.room(options)
    if room.jobs == 0:
        raise JobLimitError(f"Slurm takes no more jobs now: {room.why}; submit later")
    fits = count if room.jobs is None else min(count, room.jobs)
    why = room.why if fits < count else ""
    arrays: list[Submitted] = []
    done, size, refusal = 0, largest, None
    while done < fits:
        tasks = min(size, fits - done)
        try:
            arrays.append(part(done, tasks))
            done += tasks
        except JobLimitError as error:
            fits = done + _may_still_fit(tasks, error, is_first=refusal is None)
            why, refusal = str(error), error
        if refusal:
            size = max(1, fits - done if refusal.cluster_is_full else (fits - done + 1) // 2)
    if refusal and not arrays:
        raise refusal
    return Handover(tuple(arrays), count - done, why)


def _may_still_fit(refused: int, error: JobLimitError, *, is_first: bool) -> int:
    """Upper bound of what a limit still leaves room for, after it refused that many.

    Each question to a full cluster takes two minutes, so it gets one more, well within what it should take.
    """
    if not error.cluster_is_full:
        return refused - 1
    return min(refused - 1, (limits.free_in_cluster() or 0) // 2) if is_first else 0


def _submit_array(store: SweepStore, request: ArrayRequest, wishes: Wishes) -> Submitted:
    asked = {"time": executor.DEFAULT_TIME, **request.options}
    with store.transaction() as transaction:
        transaction.submit(
            request.name,
            request.tasks,
            None,
            asked,
            normal_template_name(wishes.template),
            wishes.options,
            request.agents or 1,
        )
    try:
        job = executor.submit(request)
    except SubmissionUnknownError:
        job = _recover(store, request.name, request.tasks)
        if not job:
            raise
    except SchedulerError:
        _record(store, request.name, request.tasks, "")
        raise
    _record(store, request.name, request.tasks, job)
    return Submitted(job, request.tasks, request.agents or 1)


def _record(store: SweepStore, name: str, tasks: int, job: str) -> None:
    with store.transaction() as transaction:
        transaction.submit(name, tasks, job)


def _recover(store: SweepStore, name: str, tasks: int) -> str:
    """The array of that name, recorded; empty where Slurm has none (yet: a hung controller shows it seconds later)."""
    found = queue.find_by_name(name)
    if found:
        _record(store, name, tasks, found[0])
    return found[0] if found else ""
