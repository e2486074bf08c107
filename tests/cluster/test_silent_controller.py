"""A controller that does not answer is said soon, not after minutes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cluster.misfortune import Lab
from cluster.waiting import wait_until

pytestmark = pytest.mark.cluster

#: Seconds in which a command has to say that it waits.
SOON = 10.0


@pytest.mark.parametrize("how", ["hangs", "is gone"])
def test_a8_mend_says_within_ten_seconds_that_slurm_does_not_answer(cluster, on_cluster, write_sweep, tmp_path, how):
    sweep = on_cluster("create", str(write_sweep("pass"))).stdout.strip()
    lab = Lab(Path(cluster.environ["SLURM_CONF"]).parents[1])
    controller = int((lab.folder / "run" / "slurmctld.pid").read_text())
    argv = [sys.executable, "-m", "slurmsweep", "mend", sweep]
    os.kill(controller, signal.SIGSTOP if how == "hangs" else signal.SIGTERM)
    try:
        mend = subprocess.Popen(argv, cwd=tmp_path, env=os.environ | cluster.environ, stderr=subprocess.PIPE)
        try:
            said, _, _ = select.select([mend.stderr], [], [], SOON)
            line = mend.stderr.readline().decode() if said else ""
        finally:
            mend.kill()
            mend.wait()
            mend.stderr.close()
    finally:
        if how == "hangs":
            os.kill(controller, signal.SIGCONT)
        else:
            wait_until(lambda: not os.path.exists(f"/proc/{controller}"), "the controller's end")
            lab.start_controller()

    assert "Slurm has not answered yet: waiting" in line
