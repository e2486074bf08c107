"""The process that runs an attempt, and its claim: enough to ask whether it still lives.

The operating system is asked, Slurm, or the service of AWS that ran its job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.state.fields import Fields, document, maybe, text, whole

if TYPE_CHECKING:
    from slurmsweep.state.chosen import ChosenPoint
    from slurmsweep.state.tail import AttemptId


class JobPlace(NamedTuple):
    """The job in which a process runs, as its environment tells.

    Attributes:
        kind: ``slurm``, ``batch``, ``ecs``, ``sagemaker`` or ``ec2``; ``local`` outside jobs.
        cluster, job, task, node: as of an :class:`Owner`.
        element: its index in the array, from 0 on; of Slurm also where the array's id is not known.
        tasks: elements of the array; None where that is not told.
        restart: as of an owner; None where the service tells nothing: claims tell (``agents/incarnations.py``).
        idle: why this process is to take no trial, where another machine of its job does; else empty.
        submission: as of an owner.
    """

    kind: str = "local"
    cluster: str | None = None
    job: str | None = None
    task: int | None = None
    element: int | None = None
    tasks: int | None = None
    restart: int | None = 0
    node: str | None = None
    idle: str = ""
    submission: str | None = None


def service_of(cluster: str | None) -> str:
    """Return the word of the service that a recorded cluster is of (``batch`` of ``batch:eu-west-1``); empty for Slurm.

    Names of Slurm's clusters have no colon.
    """
    word, colon, _ = (cluster or "").partition(":")
    return word if colon else ""


class Owner(NamedTuple):
    """The agent of an attempt.

    Attributes:
        host: the operating system's name of the machine.
        pid_space: the pid namespace: in another one the same pid is another process.
        pid: of the agent, on that host.
        start: the process's start time in clock ticks since boot: a pid may be given again, the pair is not.
        boot: the kernel's boot id: after a reboot nothing of before lives.
        node: the scheduler's name of the machine; None where it gives none.
        cluster: Slurm's name of itself; of another service its word and where it runs jobs: ``batch:eu-west-1``,
            ``ecs:eu-west-1/mine``. None outside jobs.
        job: id of the job, Slurm's or the service's; of the array where there is one: the id of one array task of Slurm
            is equal to the array's own, so tasks are always named by array id and index.
        task: array index; None outside arrays.
        restart: how often the job had been started again: requeued by Slurm, retried by AWS Batch, started again by
            SageMaker after an interruption.
        seat: which of the agents that one job runs side by side; None where it runs one.
        code: version of the code that it found right before the claim (:mod:`.code_version`); None where the program is
            in no repository, or the sweep has a copy of the code.
        submission: name of the submission that made the job, where the job has an id of its own that says nothing of
            it; None where the job's id leads to the submission, and where that is not told.
    """

    host: str
    pid: int
    start: int
    boot: str
    pid_space: str = ""
    node: str | None = None
    cluster: str | None = None
    job: str | None = None
    task: int | None = None
    restart: int = 0
    seat: int | None = None
    code: str | None = None
    submission: str | None = None

    @property
    def job_name(self) -> str | None:
        """``123_4``, ``123``, or None outside jobs."""
        if self.job is None or self.task is None:
            return self.job
        return f"{self.job}_{self.task}"

    @property
    def service(self) -> str:
        """The service that ran the job, ``batch`` or ``ecs``; empty for Slurm, and outside jobs."""
        return service_of(self.cluster)

    def same_job(self, other: Owner) -> bool:
        """Return whether both are incarnations of one agent of one job (array task)."""
        mine = (self.cluster, self.job, self.task, self.seat)
        return self.job is not None and mine == (other.cluster, other.job, other.task, other.seat)

    def to_json(self) -> dict[str, Any]:
        """Return the fields that have a value; no ``restart`` of a job that was started once."""
        data = self._asdict()
        return {key: value for key, value in data.items() if value is not None and (key != "restart" or value)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Owner:
        """Return the owner of a record; fields that a newer version added are left out. Raises WrongFieldError."""
        return cls(**{"host": "", "pid": 0, "start": 0, "boot": "", **_FIELDS(data)})


_FIELDS = Fields(
    {},
    {
        **dict.fromkeys(("host", "boot", "pid_space"), text),
        **dict.fromkeys(("pid", "start", "restart"), whole()),
        **dict.fromkeys(("node", "cluster", "job", "code", "submission"), maybe(text)),
        **dict.fromkeys(("task", "seat"), maybe(whole())),
    },
)


class Claim(NamedTuple):
    """An attempt whose folder and owner file this process made: no other process runs it.

    Attributes:
        attempt_id: trial and attempt.
        token: 64 random bits, in the claim record and in the owner file.
        owner: the process that claimed it.
        chosen: the trial's point; None where the search gives it by the trial's number.
    """

    attempt_id: AttemptId
    token: str
    owner: Owner
    chosen: ChosenPoint | None = None

    def document(self) -> bytes:
        """Return the content of the owner file."""
        said = {"token": self.token, "owner": self.owner.to_json()}
        return document(said | self.chosen.to_json() if self.chosen else said)


class NothingLeft(NamedTuple):
    """There is nothing to claim.

    Attributes:
        reason: for people: ``every trial has been claimed``, ``the sweep is paused``.
        is_ordered: a person ordered it so, or the sweep reached its target.
    """

    reason: str
    is_ordered: bool = False
