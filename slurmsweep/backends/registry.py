"""The backends by name, and which of them a command uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.errors import SchedulerUnavailableError

if TYPE_CHECKING:
    from slurmsweep.backends.base import Backend

#: Words of ``--backend``.
NAMES = ("auto", "local", "slurm")


def choose(word: str, remembered: str = "", *, rehearsal: bool = False) -> Backend:
    """Return the backend of that name.

    Args:
        word: ``auto`` for the remembered one, else Slurm where ``sbatch`` is found, else processes of this machine.
        remembered: name of the backend that the sweep was started on; empty for none.
        rehearsal: nothing will be submitted, so that the scheduler need not be there.

    Raises:
        SchedulerUnavailableError: that backend is not there on this machine.
    """
    from slurmsweep.backends.slurm import commands

    name = word if word != "auto" else remembered or ("slurm" if commands.available() else "local")
    if name == "local":
        from slurmsweep.backends.local import LocalBackend

        return LocalBackend()
    if not rehearsal and not commands.available():
        raise SchedulerUnavailableError(
            "there is no sbatch on this machine: use --backend local, or log in to the cluster"
        )
    return scheduler()


def scheduler() -> Backend:
    """Return the backend whose jobs the journal names: Slurm."""
    from slurmsweep.backends.slurm.backend import SlurmBackend

    return SlurmBackend()
