"""Ask Slurm, from a compute node, for the two things that an agent asks for: both are help and no part of the promise.

An agent whose job runs out of time puts it back into the queue; if it cannot, ``resubmit`` goes on with the trial. The
agent whose trial reached the sweep's target cancels the jobs that wait; one that starts all the same finds the sweep
finished and ends within seconds, and every command that reconciles cancels what is left.

Loaded in these moments only. In jobs of AWS nothing is asked: what waits there is cancelled from where jobs are
submitted, and a service starts a job again by its own rules.
"""

from __future__ import annotations

import os
import subprocess
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING

from slurmsweep.state.assignment import ranges

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Seconds for each call: Slurm's clients give up after MessageTimeout (10 s by default).
_TIMEOUT = 15

#: Array, element, restarts and name of a job that waits.
_FORMAT = "ArrayJobID:|,ArrayTaskID:|,RestartCnt:|,Name:200|"


def requeue(job: str) -> str:
    """Ask Slurm to start this job again; return its objection, empty if it agreed. Slurm then ends this process.

    No other process knows at this moment that the job's time is up and that its trial has saved its state.

    Args:
        job: ``123_4`` or ``123``, never ``$SLURM_JOB_ID``: one element of each array has the array's own id, by which
            all of its elements would be put back.
    """
    try:
        _call("scontrol", "requeue", job)
    except FileNotFoundError:
        return "there is no scontrol on this node"
    except OSError as error:
        return f"scontrol cannot be run: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"scontrol did not answer within {_TIMEOUT} s"
    except subprocess.CalledProcessError as error:
        return f"{error.stderr}".strip()
    return ""


def cancel_waiting(submissions: str) -> str:
    """Cancel the jobs of a sweep that have never started; return what was done, or what hindered it, in words.

    Args:
        submissions: folder of the documents of the sweep's submissions. Each is named as its jobs are, and no other
            job ever was, so nothing else in the queue can be meant.
    """
    names: list[str] = []
    with suppress(OSError):
        names = sorted(name.removesuffix(".json") for name in os.listdir(submissions) if name.endswith(".json"))
    if not names:
        return "no jobs were submitted for the sweep"
    try:
        found = _call("squeue", "-h", "-a", "-r", "-t", "PENDING", f"--name={','.join(names)}", "-O", _FORMAT)
        targets = _never_started(found, names)
        if targets:
            # one that starts in between goes on to find the sweep finished
            _call("scancel", "--state=PENDING", *targets)
    except FileNotFoundError as error:
        return f"waiting jobs will start and find nothing to do: there is no {error.filename} on this node"
    except OSError as error:  # such as names of so many submissions that no argument takes them
        return f"waiting jobs will start and find nothing to do: {error.filename} cannot be run: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"waiting jobs will start and find nothing to do: Slurm did not answer within {_TIMEOUT} s"
    except subprocess.CalledProcessError as error:
        said = f"{error.stderr}".strip() or f"exit code {error.returncode}"
        return f"waiting jobs will start and find nothing to do: {error.cmd[0]}: {said}"
    return f"waiting jobs cancelled: {', '.join(targets) or 'none'}"


def _never_started(lines: str, names: Sequence[str]) -> list[str]:
    """Return ``123_[4-9,12]`` for each array with elements that wait; those that wait to go on with a trial do so."""
    waiting: defaultdict[str, list[int]] = defaultdict(list)
    plain = []
    for line in lines.splitlines():
        job, element, restarts, name = [part.strip() for part in line.split("|")][:4]
        if name not in names or restarts != "0":
            continue
        if element.isdecimal():
            waiting[job].append(int(element))
        else:
            plain.append(job)
    return [*(f"{job}_[{','.join(ranges(sorted(elements)))}]" for job, elements in waiting.items()), *plain]


def _call(*argv: str) -> str:
    """Run one of Slurm's programs on the job's own cluster, whichever one a shell chose.

    Raises OSError (FileNotFoundError where it is not there), TimeoutExpired, CalledProcessError.
    """
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SQUEUE_", "SCANCEL_", "SLURM_CLUSTERS"))
    }
    environ["LC_ALL"] = "C"
    done = subprocess.run(
        argv,
        env=environ,
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        timeout=_TIMEOUT,
        check=True,
    )
    return done.stdout
