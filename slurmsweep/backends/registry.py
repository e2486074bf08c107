"""Which backend a command uses. A backend is imported when it is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.errors import UsageError

if TYPE_CHECKING:
    from slurmsweep.backends.base import Backend

#: Chooses by what was used before and by what this machine has.
AUTO = "auto"

#: Words of ``--backend``. Sweeps that W&B holds are not chosen by a word but by their name: :mod:`.wandb_hosted`.
WORDS = (AUTO, "local", "slurm")


def choose(word: str, remembered: str = "", *, rehearsal: bool = False) -> Backend:
    """Return the backend of that word.

    Args:
        word: one of :data:`WORDS`.
        remembered: what ``auto`` means, if the sweep was submitted before; else it is Slurm where ``sbatch`` is found.
        rehearsal: nothing will be submitted, so that the scheduler need not be there.

    Raises:
        UsageError: there is no such backend.
        SchedulerUnavailableError: it is not there on this machine.
    """
    from slurmsweep.backends.slurm import commands

    if word == AUTO:
        word = remembered or ("slurm" if commands.available() else "local")
    if word == "local":
        from slurmsweep.backends.local import LocalBackend

        return LocalBackend()
    if word != "slurm":
        raise UsageError(f"there is no backend {word!r}: choose one of {', '.join(WORDS)}")
    if not rehearsal:
        commands.require_sbatch()
    return scheduler()


def scheduler() -> Backend:
    """Return the backend whose jobs the journal names as owners of trials; it need not be there on this machine."""
    from slurmsweep.backends.slurm.backend import SlurmBackend

    return SlurmBackend()
