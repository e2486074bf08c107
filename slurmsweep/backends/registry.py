"""Which backend a command uses. A backend is imported when it is chosen."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from slurmsweep.errors import UsageError

if TYPE_CHECKING:
    from slurmsweep.backends.base import Backend
    from slurmsweep.backends.queues import Machine, WorkQueue

#: Chooses by what was used before and by what this machine has. Never a service: those cost money.
AUTO = "auto"

#: Services by word: module and class. Machines of ``ec2`` run agents; what is submitted for them goes to ``sqs``.
SERVICES = {
    "batch": ("batch", "BatchBackend"),
    "ecs": ("ecs", "EcsBackend"),
    "sagemaker": ("sagemaker", "SageMakerBackend"),
    "sqs": ("sqs", "SqsBackend"),
    "ec2": ("sqs", "SqsBackend"),
}

#: Words of ``--backend`` for jobs that outlive the command.
SUBMITTING = ("slurm", "batch", "ecs", "sagemaker", "sqs")

#: Chooses where the sweep was submitted before, and Slurm where it was not, or ran on this machine.
QUEUED = "queued"

#: Words of ``--backend``. Sweeps that W&B holds are not chosen by a word but by their name: :mod:`.wandb_hosted`.
WORDS = (AUTO, "local", *SUBMITTING)


def choose(word: str, remembered: str = "", *, rehearsal: bool = False) -> Backend:
    """Return the backend of that word.

    Args:
        word: one of :data:`WORDS`, or :data:`QUEUED`.
        remembered: what ``auto`` means, if the sweep was submitted before; else it is Slurm where ``sbatch`` is found.
        rehearsal: nothing will be submitted, so that the scheduler need not be there.

    Raises:
        UsageError: there is no such backend, or a library that it needs is not installed.
        SchedulerUnavailableError: it is not there on this machine.
    """
    from slurmsweep.backends.slurm import commands

    if word == AUTO:
        word = remembered or ("slurm" if commands.available() else "local")
    if word == QUEUED:
        word = remembered if remembered in SUBMITTING else "slurm"
    if word == "local":
        from slurmsweep.backends.local import LocalBackend

        return LocalBackend()
    if word not in WORDS:
        raise UsageError(f"there is no backend {word!r}: choose one of {', '.join(WORDS)}")
    if word in SERVICES:
        return service(word)
    if not rehearsal:
        commands.require_sbatch()
    return scheduler()


def scheduler() -> Backend:
    """Return the backend whose jobs the journal names as owners of trials: Slurm, and each service that a key names.

    None of them need be there on this machine.
    """
    from slurmsweep.backends.schedulers import Schedulers

    return Schedulers(service)


def hosting(word: str, remembered: str, *, rehearsal: bool = False) -> Backend:
    """Return the backend that submits agents of a sweep that W&B holds: Slurm with a width, or a service.

    Args, and raises, as :func:`choose`; the word is one of :data:`SUBMITTING`, or :data:`QUEUED`.
    """
    from slurmsweep.backends.wandb_hosted.backend import HostedBackend

    remembered = "slurm" if remembered == HostedBackend.name else remembered
    chosen = choose(word, remembered, rehearsal=rehearsal)
    return HostedBackend() if chosen.name == "slurm" else chosen


def of_section(section: str) -> Backend:
    """Return a backend that knows the names of the options in a section of a sweep file: ``slurm`` or ``aws``."""
    return scheduler() if section == "slurm" else service("batch")


def service(word: str) -> Backend:
    """Return the backend of a service: by the word of ``--backend``, or the one with which a cluster's name begins.

    Raises:
        UsageError: no such service is known to this version, or boto3 is not installed.
    """
    if word not in SERVICES:
        raise UsageError(f"this slurmsweep knows no service {word!r}, of which a job of the sweep is: a newer one does")
    module, name = SERVICES[word]
    backend: Backend = getattr(import_module(f"slurmsweep.backends.aws.{module}"), name)()
    return backend


def open_queue(url: str, region: str = "") -> WorkQueue:
    """Return the queue of that URL, in that region where the URL says none; it is not asked yet.

    Raises:
        UsageError: it is no URL of a queue, no region is known, or a library is not installed.
    """
    from slurmsweep.backends.aws.queue import SqsQueue

    return SqsQueue(url, region)


def this_machine(instance: str = "", region: str = "") -> Machine:
    """Return the machine that this process is on, by its own metadata, or else by the names that a user gave.

    Raises:
        UsageError: it has no metadata and no names were given, or one is none.
    """
    from slurmsweep.backends.aws import machine

    return machine.this_machine(instance, region)
