"""Put this job back into Slurm's queue: the only request that a compute node sends to Slurm.

All others are sent by backends/slurm/ on the login node. Only the job itself knows at this moment that its time is up
and that its trial has saved its state.
"""

from __future__ import annotations

import subprocess

#: Seconds. Slurm's clients give up after MessageTimeout (10 s by default); the job's time limit is near.
_TIMEOUT = 15


def requeue(job: str) -> str:
    """Ask Slurm to start the job again; return its objection, empty if it agreed. Slurm then ends this process.

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
