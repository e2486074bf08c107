"""Hand trials to Slurm: one sbatch per array, each array under a name that is known before it is asked for."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slurmsweep.errors import SchedulerError, SubmissionUnknownError
from slurmsweep.slurm import executor, limits, queue
from slurmsweep.slurm.executor import ArrayRequest
from slurmsweep.slurm.resources import merge
from slurmsweep.slurm.template import Template, load_template, normal_template_name
from slurmsweep.state.assignment import MAX_SLOTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slurmsweep.state.head import Slot
    from slurmsweep.state.store import SweepStore
    from slurmsweep.sweepfile.config import SweepConfig


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
    """

    job: str
    tasks: int


def submit(store: SweepStore, count: int, wishes: Wishes) -> list[Submitted]:
    """Submit ``count`` single-count agents as arrays under MaxArraySize.

    Raises:
        UsageError: an option or the template is wrong; nothing was submitted.
        SchedulerError: Slurm refused or could not be asked; the arrays submitted before stay, and are in the journal.
    """
    template = load_template(wishes.template)
    sizes = limits.split(count, limits.max_array_size())
    return [_submit_array(store, array_request(store, tasks, wishes, template), wishes) for tasks in sizes]


def submit_slots(store: SweepStore, slots: Sequence[Slot], wishes: Wishes) -> list[Submitted]:
    """Submit one agent for each of ``slots``, which runs that attempt and no other. Raises as :func:`submit`.

    Attempts beyond the first must have been allowed before (:func:`slurmsweep.launch.reconcile.give_back`).
    """
    template = load_template(wishes.template)
    size = min(limits.max_array_size(), MAX_SLOTS)
    parts = [tuple(slots[start : start + size]) for start in range(0, len(slots), size)]
    return [_submit_array(store, array_request(store, len(part), wishes, template, part), wishes) for part in parts]


def array_request(
    store: SweepStore, tasks: int, wishes: Wishes, template: Template | None = None, slots: tuple[Slot, ...] = ()
) -> ArrayRequest:
    """What would be handed to Slurm for ``tasks`` trials. Raises UsageError."""
    template = template or load_template(wishes.template)
    return ArrayRequest(
        name=f"slurmsweep-{store.manifest.sweep_id}-{secrets.token_hex(4)}",
        tasks=tasks,
        width=wishes.width,
        options=job_options(wishes, store.manifest.config),
        body=template.body,
        sweep_dir=store.layout.folder,
        jobs_dir=store.layout.jobs,
        workdir=store.manifest.workdir,
        slots=slots,
    )


def job_options(wishes: Wishes, config: SweepConfig) -> dict[str, str | bool]:
    """The sbatch options that the three places give together. Raises UsageError for whatever is wrong with them."""
    return merge(load_template(wishes.template).options, config.slurm, wishes.options or {})


def recover_submissions(store: SweepStore) -> None:
    """Look for arrays whose submission was never answered, by their unique names, and record what is found.

    Raises:
        SchedulerUnavailableError: Slurm could not be asked; nothing was recorded.
    """
    for submission in store.fold().submissions.values():
        if submission.job is None:
            _recover(store, submission.name, submission.tasks)


def _submit_array(store: SweepStore, request: ArrayRequest, wishes: Wishes) -> Submitted:
    asked = {"time": executor.DEFAULT_TIME, **request.options}
    with store.transaction() as transaction:
        transaction.submit(
            request.name, request.tasks, None, asked, normal_template_name(wishes.template), wishes.options
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
    return Submitted(job, request.tasks)


def _record(store: SweepStore, name: str, tasks: int, job: str) -> None:
    with store.transaction() as transaction:
        transaction.submit(name, tasks, job)


def _recover(store: SweepStore, name: str, tasks: int) -> str:
    """The array of that name, recorded; empty where Slurm has none (yet: a hung controller shows it seconds later)."""
    found = queue.find_by_name(name)
    if found:
        _record(store, name, tasks, found[0])
    return found[0] if found else ""
