"""Pause, resume, stop on a real Slurm: running trials go on, waiting jobs are held, released, cancelled."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from cluster.waiting import wait_until

pytestmark = pytest.mark.cluster

#: Runs until a file of its point's name, or for all, is there.
SCRIPT = (
    "import os, sys, time\n"
    "name = sys.argv[1].lstrip('-')\n"
    "while not (os.path.exists(name) or os.path.exists('all')): time.sleep(0.1)\n"
)


def test_pause_holds_resume_releases_stop_cancels_what_waits(cluster, slurmsweep, write_sweep, tmp_path):
    def on_cluster(*argv):
        done = slurmsweep(*argv, **cluster.environ)
        assert done.returncode == 0, done.stderr
        return done

    def counts() -> dict:
        return {
            state: n for state, n in json.loads(on_cluster("status", sweep, "--json").stdout)["counts"].items() if n
        }

    def queued(job) -> list[str]:
        argv = ["squeue", "-h", "-r", "-t", "PD", "-j", job, "-o", "%r"]
        done = subprocess.run(argv, env=os.environ | cluster.environ, capture_output=True, text=True, check=False)
        return done.stdout.split()

    sweep = on_cluster("create", str(write_sweep(SCRIPT, "  x: {min: 1, max: 6}"))).stdout.strip()
    done = on_cluster("submit", sweep, "--width", "2", "--time", "10")
    job = done.stderr.split("submitted job ")[1].split(":")[0]
    wait_until(lambda: counts() == {"running": 2, "pending": 4})

    paused = json.loads(on_cluster("pause", sweep, "--json").stdout)
    assert (paused["state"], paused["jobs"]) == ("paused", [job])
    (tmp_path / "x=1").touch()
    wait_until(lambda: counts() == {"finished": 1, "running": 1, "pending": 4})
    assert all(reason.startswith("JobHeld") for reason in queued(job))
    assert len(queued(job)) == 4

    resumed = json.loads(on_cluster("resume", sweep, "--json").stdout)
    assert (resumed["jobs"], resumed["without_job"]) == ([job], 0)
    wait_until(lambda: counts() == {"finished": 1, "running": 2, "pending": 3})

    on_cluster("stop", sweep)
    wait_until(lambda: queued(job) == [])
    assert counts() == {"finished": 1, "running": 2, "pending": 3}
    (tmp_path / "all").touch()
    wait_until(lambda: counts() == {"finished": 3, "pending": 3})
    assert json.loads(on_cluster("status", sweep, "--json").stdout)["state"] == "stopped"

    again = json.loads(on_cluster("resume", sweep, "--json").stdout)
    assert again["without_job"] == 3
    on_cluster("submit", sweep, "--time", "10")
    wait_until(lambda: counts() == {"finished": 6})
    assert on_cluster("check", sweep).returncode == 0
