"""Cancel what waits in Slurm for a sweep that reached its target: done by the agent whose trial reached it.

:func:`call` is the one way in which agents ask Slurm for anything.

In jobs of AWS nothing is asked, by this module or another: what waits there is cancelled from where jobs are submitted.

Loaded in that moment only. It is help and no part of the promise: a job that starts all the same finds the sweep
finished and ends within seconds, and every command that reconciles cancels what is left.
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
TIMEOUT = 15

#: Array, element, restarts and name of a job that waits.
_FORMAT = "ArrayJobID:|,ArrayTaskID:|,RestartCnt:|,Name:200|"


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
        found = call("squeue", "-h", "-a", "-r", "-t", "PENDING", f"--name={','.join(names)}", "-O", _FORMAT)
        targets = _never_started(found, names)
        if targets:
            # one that starts in between goes on to find the sweep finished
            call("scancel", "--state=PENDING", *targets)
    except FileNotFoundError as error:
        return f"waiting jobs will start and find nothing to do: there is no {error.filename} on this node"
    except subprocess.TimeoutExpired:
        return f"waiting jobs will start and find nothing to do: Slurm did not answer within {TIMEOUT} s"
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


def call(*argv: str) -> str:
    """Run one of Slurm's programs on the job's own cluster, whichever one a shell chose.

    Raises FileNotFoundError, TimeoutExpired, CalledProcessError.
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
        timeout=TIMEOUT,
        check=True,
    )
    return done.stdout
