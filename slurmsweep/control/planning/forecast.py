"""Forecast the cost of a sweep: arrays, core-hours, files, bytes; and when Slurm would start it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from slurmsweep.state.paths import TRIALS_PER_SHARD

if TYPE_CHECKING:
    from slurmsweep.backends.base import Asked, JobRequest, StartEstimate

#: Files and folders of a finished trial: two folders, owner, log, outcome, history (tests hold the number). An offline
#: run of the real wandb adds about 15.
_INODES_PER_TRIAL = 6

#: Folder of the sweep, sweep.json, journal, parents of trials and jobs; a submission and its folder.
_INODES_PER_SWEEP = 7

#: A claim and an outcome in the journal.
_JOURNAL_BYTES_PER_TRIAL = 800


@dataclass(frozen=True)
class Forecast:
    """The cost of a number of trials.

    Attributes:
        trials: how many.
        arrays: sizes of the Slurm arrays they need, under MaxArraySize; one array where there is no Slurm to ask, and
            none where the trials run without it.
        core_hours: if every trial takes all of its time; None for a time without limit.
        inodes: files and folders, native client or none; the real wandb adds about 15 a trial.
        journal_bytes: size of the journal in the end.
        log_bytes: None: what a trial prints is known when one has run.
        earliest_start: of one such job now, as ``sbatch --test-only`` says; None where there is no Slurm.
        refusal: what Slurm says against the request; None where it has nothing against it.
    """

    trials: int
    arrays: tuple[int, ...]
    core_hours: float | None
    inodes: int
    journal_bytes: int
    log_bytes: int | None = None
    earliest_start: str | None = None
    refusal: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the document in ``plan --json``."""
        return asdict(self)


def forecast(request: JobRequest, asked: Asked, estimate: StartEstimate) -> Forecast:
    """Return the arithmetic over what is asked for, what a job asks for, and what the scheduler said."""
    hours = None if asked.time is None else round(request.tasks * (asked.cpus or 1) * asked.time / 60, 3)
    return Forecast(
        trials=request.trials,
        arrays=estimate.arrays,
        core_hours=hours,
        inodes=_INODES_PER_SWEEP + _INODES_PER_TRIAL * request.trials + -(-request.trials // TRIALS_PER_SHARD),
        journal_bytes=_JOURNAL_BYTES_PER_TRIAL * request.trials,
        earliest_start=estimate.earliest_start,
        refusal=estimate.refusal,
    )
