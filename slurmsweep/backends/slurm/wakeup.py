"""Plain jobs that start later, when others have ended or at a time: found by name, moved, cancelled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slurmsweep.backends.slurm.commands import answer, as_outside_of_jobs, available, call
from slurmsweep.backends.slurm.jobstates import meaning
from slurmsweep.backends.slurm.refusals import explain
from slurmsweep.errors import SchedulerUnavailableError
from slurmsweep.state import assignment

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping


@dataclass(frozen=True)
class When:
    """When a job may start: both conditions hold.

    Attributes:
        ended: arrays or jobs of which one must have ended, however (``afterany`` joined by ``?``: 22.05 and later take
            it on pending jobs too); none for no such condition.
        seconds: from now.
    """

    ended: tuple[str, ...] = ()
    seconds: int = 0

    @property
    def dependency(self) -> str:
        """As sbatch and scontrol take it."""
        return "?".join(f"afterany:{job}" for job in self.ended)

    @property
    def begin(self) -> str:
        """As sbatch and scontrol take it."""
        return f"now+{self.seconds}" if self.seconds else "now"


@dataclass(frozen=True)
class WakeupJob:
    """A live job that was found by its name.

    Attributes:
        job: its id.
        name: by which it was found.
        waits: it has not started.
    """

    job: str
    name: str
    waits: bool


def submit(name: str, body: str, options: Mapping[str, str | bool], when: When) -> str:
    """Submit a plain job that runs ``body``; its id.

    Raises:
        SubmissionRefusedError: Slurm said no; the message says which option to change.
        SubmissionUnknownError: it did not answer in time: the job may exist, and will be found by its name.
        SchedulerUnavailableError: there is no sbatch here, or no controller.
    """
    if not available():
        raise SchedulerUnavailableError("there is no sbatch on this machine")
    words = [f"--{key}" if value is True else f"--{key}={value}" for key, value in options.items()]
    words += [f"--job-name={name}", f"--begin={when.begin}"]
    words += [f"--dependency={when.dependency}"] if when.ended else []
    command = [*as_outside_of_jobs(assignment.VARIABLE), "sbatch", "--parsable", *words]
    done = call(*command, text=f"#!/bin/bash\n{body}\n")
    if done.returncode != 0:
        raise explain(done.stderr)
    return done.stdout.strip().partition(";")[0]


def find(names: Collection[str]) -> list[WakeupJob]:
    """Live jobs of these names, the oldest first. Raises SchedulerUnavailableError."""
    text = answer("squeue", "-h", "-a", f"--name={','.join(names)}", "-O", "JobID:|,State:|,Name:200")
    return sorted(_alarms(text), key=lambda alarm: int(alarm.job))


def _alarms(text: str) -> Iterable[WakeupJob]:
    """Lines such as ``45|PENDING|slurmsweep-abcd1234-mend``."""
    for line in text.splitlines():
        fields = [part.strip() for part in line.split("|")]
        if len(fields) == 3 and fields[0].isdecimal():
            said = meaning(fields[1])
            if said.alive:
                yield WakeupJob(fields[0], fields[2], said.waits)
