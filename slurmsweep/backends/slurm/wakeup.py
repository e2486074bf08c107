"""Plain jobs that start at a time or when other jobs have ended; they are found by name."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from slurmsweep.backends.base import WakeupJob
from slurmsweep.backends.keys import by_id, key_on, parts_of
from slurmsweep.backends.slurm.changes import change_job
from slurmsweep.backends.slurm.cluster import target
from slurmsweep.backends.slurm.commands import answer, as_outside_of_jobs, available, call, on
from slurmsweep.backends.slurm.inherited import removed
from slurmsweep.backends.slurm.jobstates import meaning
from slurmsweep.backends.slurm.queue import submitted
from slurmsweep.backends.slurm.refusals import explain
from slurmsweep.errors import SchedulerUnavailableError
from slurmsweep.state import assignment

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from slurmsweep.backends.base import When


def submit(name: str, body: str, options: Mapping[str, str | bool], when: When) -> str:
    """Submit a plain job that runs ``body``; return its id. Raises as :meth:`.Backend.send`."""
    if not available():
        raise SchedulerUnavailableError("there is no sbatch on this machine")
    words = [f"--{key}" if value is True else f"--{key}={value}" for key, value in options.items()]
    cluster = target(options)
    words += [f"--job-name={name}", f"--begin={_begin(when)}"]
    words += [f"--dependency={dependency}"] if (dependency := _dependency(when, cluster)) else []
    command = [*as_outside_of_jobs(assignment.VARIABLE), "sbatch", "--parsable", *words]
    # what this shell wishes of jobs it wishes of those that the supervisor will submit
    wishes = [f"export {name}={shlex.quote(os.environ[name])}\n" for name in removed(os.environ)]
    done = call(*command, text=f"#!/bin/bash\n{''.join(wishes)}{body}\n")
    if done.returncode != 0:
        raise explain(done.stderr)
    return submitted(done.stdout)


def move(job: str, when: When) -> bool:
    """Change when a waiting job starts; return whether that was possible."""
    return change_job(job, [f"Dependency={_dependency(when, parts_of(job)[1])}", f"StartTime={_begin(when)}"])


def _begin(when: When) -> str:
    return f"now+{when.seconds}" if when.seconds else "now"


def _dependency(when: When, cluster: str) -> str:
    # "?" means that one of them is enough; 22.05 and later take it for pending jobs too. No job can wait for a job of
    # another cluster, whose id may be another job's here: the clock wakes then.
    there = (parts_of(job) for job in when.ended)
    return "?".join(f"afterany:{job}" for job, its_cluster in there if its_cluster == cluster)


def find(names: Collection[str], cluster: str) -> list[WakeupJob]:
    """Return live jobs with one of these names on this cluster or that one, the oldest first."""
    text = answer("squeue", *on(cluster), "-h", "-a", f"--name={','.join(names)}", "-O", "JobID:|,State:|,Name:200")
    found = []
    for line in text.splitlines():  # such as ``45|PENDING|slurmsweep-abcd1234-mend``
        fields = [part.strip() for part in line.split("|")]
        if len(fields) == 3 and fields[0].isdecimal() and meaning(fields[1]).alive:
            found.append(WakeupJob(key_on(fields[0], cluster), fields[2], meaning(fields[1]).waits))
    return sorted(found, key=lambda job: by_id(job.job))
