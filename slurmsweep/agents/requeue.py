"""Puts this job back into Slurm's queue: the one question that a compute node asks of Slurm.

All others are asked by slurm/ on the login node. This one is not: only the job itself knows, at this moment, that its
time is up and its trial has saved what it needs.
"""

from __future__ import annotations

import subprocess

#: Seconds. Slurm's clients give up after MessageTimeout (10 s by default); the job has its warning's rest at most.
_TIMEOUT = 15


def requeue(job: str) -> str:
    """Ask Slurm to start the job again; what it said against that, empty where it agreed. It then ends this process.

    Args:
        job: ``123_4`` or ``123``. Never ``$SLURM_JOB_ID``: one element of each array has the array's own id, by which
            all of its elements would be put back.
    """
    try:
        done = subprocess.run(
            ["scontrol", "requeue", job], capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except FileNotFoundError:
        return "there is no scontrol on this node"
    except subprocess.TimeoutExpired:
        return f"scontrol did not answer within {_TIMEOUT} s"
    return done.stderr.strip() if done.returncode else ""
