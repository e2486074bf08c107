"""The exceptions slurmsweep raises on purpose, each with the exit code of its kind.

::

    SlurmsweepError                 1
    |- UsageError                   2   wrong options, or options that contradict each other
    |  `- SweepFileError            2   a sweep file that breaks rules; carries all violations
    |- NotFoundError                3   no such sweep, no such trial
    |- SchedulerError               4
    |  |- SchedulerUnavailableError 4   it could not be asked: nothing is known
    |  |- SubmissionRefusedError    4   it said no: nothing was submitted
    |  |  `- JobLimitError          4   because of how many jobs there are: fewer, or the same later, it would take
    |  `- SubmissionUnknownError    4   it did not answer in time: the job may exist all the same
    `- StateError                   5
       |- LockTimeoutError          5   somebody else held the journal's lock for too long
       |- StateUnreadableError      5   damaged, of a newer format, not ours, or not permitted
       `- StateUnwritableError      5   disk full, read-only, over quota, not permitted

A message says what is wrong, where, and what would be right. ``cli.main`` is the only place that turns an exception
into a line on stderr and an exit code.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple


class SlurmsweepError(Exception):
    """Base of all errors meant for the user: its text is printed as it is, without a traceback."""

    exit_code: ClassVar[int] = 1


class UsageError(SlurmsweepError):
    """The command was asked for something it cannot mean."""

    exit_code: ClassVar[int] = 2


class Violation(NamedTuple):
    """One thing wrong with (or worth knowing about) a sweep file.

    Attributes:
        path: the key path, ``parameters.lr.min``; empty for the file as a whole.
        problem: what is wrong.
        hint: what would be right; may be empty.
        line: 1-based line in the file, where YAML can tell.
    """

    path: str
    problem: str
    hint: str = ""
    line: int | None = None

    def __str__(self) -> str:
        """One line: ``line 7, parameters.lr.min: problem (hint)``."""
        where = ", ".join(part for part in (f"line {self.line}" if self.line else "", self.path) if part)
        return (f"{where}: " if where else "") + self.problem + (f" ({self.hint})" if self.hint else "")


class SweepFileError(UsageError):
    """A sweep file that breaks rules of the sweep language.

    Attributes:
        source: the file's name as the user gave it.
        violations: every violation found, in the order of the file where that is known.
    """

    def __init__(self, source: str, violations: list[Violation]) -> None:
        super().__init__(source, violations)
        self.source = source
        self.violations = violations

    def __str__(self) -> str:
        """The file, then one line a violation."""
        count = len(self.violations)
        head = f"{self.source}: {count} thing{'s' if count > 1 else ''} wrong in this sweep file"
        return "\n".join([head, *(f"  - {violation}" for violation in self.violations)])


class NotFoundError(SlurmsweepError):
    """There is no such sweep or trial."""

    exit_code: ClassVar[int] = 3


class SchedulerError(SlurmsweepError):
    """Slurm could not be asked, or refused."""

    exit_code: ClassVar[int] = 4


class SchedulerUnavailableError(SchedulerError):
    """Slurm's programs are absent, or its controller did not answer: nothing follows about any job."""


class SubmissionRefusedError(SchedulerError):
    """Slurm refused a job: nothing was submitted."""


class JobLimitError(SubmissionRefusedError):
    """Slurm refused an array for its number of jobs: a smaller one, or the same later, it would take.

    Attributes:
        cluster_is_full: it is the cluster that holds no more (MaxJobCount), and not this user who may not have more:
            sbatch then waits for two minutes before it says so.
    """

    def __init__(self, message: str, *, cluster_is_full: bool = False) -> None:
        super().__init__(message)
        self.cluster_is_full = cluster_is_full


class SubmissionUnknownError(SchedulerError):
    """Slurm did not answer a submission in time: the job may exist all the same; look for its name."""


class StateError(SlurmsweepError):
    """The sweep's state could not be locked, read or written."""

    exit_code: ClassVar[int] = 5


class LockTimeoutError(StateError):
    """The journal's lock was held by others for longer than the timeout."""


class StateUnreadableError(StateError):
    """A file of the sweep is damaged, of a newer format, of a foreign owner, or may not be read."""


class StateUnwritableError(StateError):
    """A file of the sweep could not be written: what was there before is unchanged."""
