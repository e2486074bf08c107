"""What a sweep would cost: arrays, core-hours, files, bytes; and when Slurm would start it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from slurmsweep.backends.slurm import commands, executor, limits
from slurmsweep.backends.slurm.resources import DEFAULT_TIME, cpu_count, minutes
from slurmsweep.state.paths import TRIALS_PER_SHARD

if TYPE_CHECKING:
    from slurmsweep.backends.base import JobRequest

#: Files and folders of a finished trial: two folders, owner, log, outcome, history (tests hold the number). An offline
#: run of the real wandb adds about 15.
_INODES_PER_TRIAL = 6

#: Folder of the sweep, sweep.json, journal, parents of trials and jobs.
_INODES_PER_SWEEP = 5

#: A claim and an outcome in the journal.
_JOURNAL_BYTES_PER_TRIAL = 800


@dataclass(frozen=True)
class Forecast:
    """What to expect of a number of trials.

    Attributes:
        trials: how many.
        arrays: sizes of the Slurm arrays they need, under MaxArraySize; one array where there is no Slurm to ask.
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
        """The document in ``plan --json``."""
        return asdict(self)


@dataclass(frozen=True)
class SlurmsWord:
    """What Slurm says to a request before it is made.

    Attributes:
        max_array_size: elements an array may have; None where nobody was asked.
        earliest_start: as :class:`Forecast`.
        refusal: as :class:`Forecast`.
    """

    max_array_size: int | None = None
    earliest_start: str | None = None
    refusal: str | None = None


def ask_slurm(request: JobRequest) -> SlurmsWord:
    """Two questions, where there is a Slurm; submits nothing.

    Raises:
        SchedulerUnavailableError: the controller does not answer.
    """
    if not commands.available():
        return SlurmsWord()
    start, refusal = executor.earliest_start(request)
    return SlurmsWord(limits.max_array_size(), start, refusal)


def forecast(request: JobRequest, word: SlurmsWord, trials: int | None = None) -> Forecast:
    """Arithmetic over what is asked for and what Slurm said; ``trials`` where they are not as many as the jobs."""
    trials = request.tasks if trials is None else trials
    return Forecast(
        trials=trials,
        arrays=tuple(limits.split(request.tasks, word.max_array_size or request.tasks)),
        core_hours=_core_hours(request),
        inodes=_INODES_PER_SWEEP + _INODES_PER_TRIAL * trials + -(-trials // TRIALS_PER_SHARD),
        journal_bytes=_JOURNAL_BYTES_PER_TRIAL * trials,
        earliest_start=word.earliest_start,
        refusal=word.refusal,
    )


def _core_hours(request: JobRequest) -> float | None:
    limit = minutes(str(request.options.get("time", DEFAULT_TIME)))
    if limit is None:
        return None
    return round(request.tasks * (cpu_count(request.options) or 1) * limit / 60, 3)
