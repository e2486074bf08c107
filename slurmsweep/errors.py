"""The exceptions that slurmsweep raises on purpose, each with the exit code of its kind.

::

    SlurmsweepError                 1
    |- UsageError                   2   wrong or contradictory options
    |  `- SweepFileError            2   a sweep file breaks rules; holds all violations
    |- NotFoundError                3   no such sweep, no such trial
    |- SchedulerError               4
    |  |- SchedulerUnavailableError 4   Slurm gave no answer: nothing is known about any job
    |  |- SubmissionRefusedError    4   Slurm refused: nothing was submitted
    |  |  `- JobLimitError          4   Slurm refused because of the number of jobs: try fewer, or try later
    |  `- SubmissionUnknownError    4   no answer in time: the job may exist
    `- StateError                   5
       |- LockTimeoutError          5   another process held a lock for too long
       |- StateUnreadableError      5   damaged, of a newer format, of another owner, or not permitted
       `- StateUnwritableError      5   disk full, read-only, over quota, not permitted
          `- JournalReplacedError   5   the journal was removed or repaired in the middle of a change

A message says what is wrong, where, and what would be right. ``cli.main`` is the only place that turns an exception
into a line on stderr and an exit code.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple


class SlurmsweepError(Exception):
    """Base of all errors meant for the user; exit code 1. The text is printed as it is, without a traceback."""

    exit_code: ClassVar[int] = 1


class UsageError(SlurmsweepError):
    """Raised for a command or call that has no meaning; exit code 2.

    Example: ``method bayes: its points depend on results, and this version cannot propose them: use random``.
    """

    exit_code: ClassVar[int] = 2


class Violation(NamedTuple):
    """One mistake in a sweep file, or one warning about it.

    Attributes:
        path: the key path, ``parameters.lr.min``; empty for the file as a whole.
        problem: what is wrong.
        hint: what would be right; may be empty.
        line: the 1-based line in the file; None if it is not known.
    """

    path: str
    problem: str
    hint: str = ""
    line: int | None = None

    def __str__(self) -> str:
        """Return one line: ``line 7, parameters.lr.min: problem (hint)``."""
        where = ", ".join(part for part in (f"line {self.line}" if self.line else "", self.path) if part)
        return (f"{where}: " if where else "") + self.problem + (f" ({self.hint})" if self.hint else "")


class SweepFileError(UsageError):
    """Raised for a sweep file that breaks rules of the sweep language; exit code 2.

    Example: ``sweep.yaml: 1 thing wrong in this sweep file``, and below it ``- line 3, method: 'gird' is not a method
    (did you mean 'grid'?)``.

    Attributes:
        source: the name of the file as the user gave it.
        violations: every violation, in the order of the file if lines are known.
    """

    kind: ClassVar[str] = "sweep file"

    def __init__(self, source: str, violations: list[Violation]) -> None:
        super().__init__(source, violations)
        self.source = source
        self.violations = violations

    def __str__(self) -> str:
        """Return the name of the file, then a line for each violation; one line where the whole file is wrong."""
        count = len(self.violations)
        if count == 1 and not self.violations[0].path and self.violations[0].line is None:
            return f"{self.source}: {self.violations[0]}"
        head = f"{self.source}: {count} thing{'s' if count > 1 else ''} wrong in this {self.kind}"
        return "\n".join([head, *(f"  - {violation}" for violation in self.violations)])


class DefaultsFileError(SweepFileError):
    """Raised for a file with the defaults of a user or a project that is wrong; exit code 2.

    Example: ``/home/me/.config/slurmsweep/config.yaml: 1 thing wrong in this file of defaults``, and below it
    ``- line 2, slurm.partion: 'partion' is not an option of sbatch; did you mean partition?``.
    """

    kind: ClassVar[str] = "file of defaults"


class NotFoundError(SlurmsweepError):
    """Raised if there is no such sweep, trial, log or folder; exit code 3.

    Example: ``sweep abcd1234 has trials 0 to 9: there is no trial 12``.
    """

    exit_code: ClassVar[int] = 3


class SchedulerError(SlurmsweepError):
    """Base of the errors of Slurm's programs, for callers that treat them alike; exit code 4."""

    exit_code: ClassVar[int] = 4


class SchedulerUnavailableError(SchedulerError):
    """Raised if a program of Slurm is missing, fails or does not answer; exit code 4. Nothing follows about any job.

    Example: ``squeue did not answer within 60 s``.
    """


class SubmissionRefusedError(SchedulerError):
    """Raised if Slurm refuses a job, so that nothing was submitted; exit code 4.

    Example: ``Slurm refused the jobs: invalid partition specified: gpus; ...``.
    """


class JobLimitError(SubmissionRefusedError):
    """Raised if Slurm refuses an array for its number of jobs; exit code 4. A smaller array, or a later try, may work.

    Example: ``Slurm takes no more jobs now: ...; submit later``.

    Attributes:
        cluster_is_full: True if the whole cluster holds no more jobs (MaxJobCount), for which sbatch waits two minutes
            before it refuses; False for a limit of the user, an account or a QOS.
    """

    def __init__(self, message: str, *, cluster_is_full: bool = False) -> None:
        super().__init__(message)
        self.cluster_is_full = cluster_is_full


class SubmissionUnknownError(SchedulerError):
    """Raised if Slurm does not answer a submission in time; exit code 4. The jobs may exist: look for their name.

    Example: ``the controller took the request and did not answer (...): the jobs may exist all the same``.
    """


class StateError(SlurmsweepError):
    """Base of the errors of files and locks of a sweep; exit code 5."""

    exit_code: ClassVar[int] = 5


class LockTimeoutError(StateError):
    """Raised if other processes hold a lock for longer than the timeout; exit code 5.

    Example: ``another `slurmsweep sync` of this sweep is at work: wait for its end; nothing was done``.
    """


class StateUnreadableError(StateError):
    """Raised for a file of the sweep that is damaged, of a newer format, or may not be read; exit code 5.

    Example: a journal with a damaged line in its middle, which ``slurmsweep check --repair`` rebuilds.
    """


class StateUnwritableError(StateError):
    """Raised for a file of the sweep that could not be written; exit code 5. Its earlier content is unchanged.

    Example: ``cannot write /scratch/wandb: No space left on device; choose another folder by WANDB_DIR``.
    """


class JournalReplacedError(StateUnwritableError):
    """Raised if the journal was removed, or replaced by a repair, while a process wrote to it; exit code 5.

    Example: ``.../journal.log: it was removed or replaced in this moment: the change may be missing in it``.
    """


def kind_of(exit_code: int) -> type[SlurmsweepError]:
    """Return the kind of error with which one of our commands ended; StateError for a code that no error has."""
    kinds: tuple[type[SlurmsweepError], ...] = (UsageError, NotFoundError, SchedulerError)
    return next((kind for kind in kinds if kind.exit_code == exit_code), StateError)
