"""Limits on a real Slurm: what fits is submitted, what does not waits; and what waits is changed live."""

from __future__ import annotations

import json

import pytest
from cluster.waiting import wait_until

pytestmark = pytest.mark.cluster

SCRIPT = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.1)\n"


@pytest.fixture
def tight(slurm):
    """Return a QOS that lets a user have ten jobs."""
    slurm("sacctmgr", "-iQ", "add", "qos", "tight", "set", "MaxSubmitJobsPerUser=10")
    slurm("sacctmgr", "-iQ", "modify", "user", "root", "set", "qos+=tight")
    yield "tight"
    slurm("scancel", "--qos", "tight")
    slurm("sacctmgr", "-iQ", "modify", "user", "root", "set", "qos-=tight")
    slurm("sacctmgr", "-iQ", "delete", "qos", "tight")


def test_what_a_limit_leaves_no_room_for_waits_and_the_next_submit_takes_it(
    cluster, slurmsweep, write_sweep, tight, tmp_path
):
    def on_cluster(*argv):
        return slurmsweep(*argv, **cluster.environ)

    def counts() -> dict:
        document = json.loads(on_cluster("status", sweep, "--json").stdout)
        return {state: n for state, n in document["counts"].items() if n}

    sweep = on_cluster("create", str(write_sweep(SCRIPT, "  x: {min: 1, max: 18}"))).stdout.strip()
    submit = ("submit", sweep, "--qos", tight, "--time", "5")

    first = on_cluster(*submit)

    assert first.returncode == 0, first.stderr
    assert "8 trials wait without a job" in first.stderr
    assert "MaxSubmitJobsPU limits your jobs in QOS tight to 10" in first.stderr
    assert "sbatch: error" not in first.stderr  # that sbatch refused all of them first is no news for a person
    taken = [int(line.split(": ")[2].split()[0]) for line in first.stderr.splitlines() if "submitted job" in line]
    assert sum(taken) == 10
    wait_until(lambda: counts() == {"running": 10, "pending": 8})
    full = on_cluster(*submit)
    assert full.returncode == 4
    assert "limits your jobs in QOS tight to 10, and 10 are there" in full.stderr

    (tmp_path / "go").touch()
    wait_until(lambda: counts() == {"finished": 10, "pending": 8})
    wait_until(lambda: on_cluster(*submit).returncode == 0)
    wait_until(lambda: counts() == {"finished": 18})
    assert on_cluster("check", sweep).returncode == 0


def test_what_waits_is_changed_live_and_what_slurm_refuses_is_said(cluster, slurmsweep, slurm, write_sweep, tmp_path):
    def on_cluster(*argv):
        return slurmsweep(*argv, **cluster.environ)

    def queued(job, states="PD") -> set[str]:
        return set(slurm("squeue", "-h", "-t", states, "-j", job, "-o", "%K %l %P %y").splitlines())

    sweep = on_cluster("create", str(write_sweep(SCRIPT, "  x: {min: 1, max: 6}"))).stdout.strip()
    nothing = on_cluster("set", sweep, "--time", "45")
    assert (nothing.returncode, "nothing was changed" in nothing.stderr) == (1, True)
    done = on_cluster("submit", sweep, "--width", "2", "--time", "10")
    job = done.stderr.split("submitted job ")[1].split(":")[0]
    wait_until(lambda: len(queued(job, "R")) == 2)

    changed = on_cluster("set", sweep, "--time", "45", "--partition", "urgent", "--nice", "100", "--json")

    assert json.loads(changed.stdout) == [{"job": job, "waiting": 4, "running": 0, "problems": []}]
    assert queued(job) == {"2-5%2 45:00 urgent 100"}
    assert queued(job, "R") == {"0 10:00 main 0", "1 10:00 main 0"}
    assert on_cluster("set", sweep, "--width", "3").returncode == 0
    wait_until(lambda: len(queued(job, "R")) == 3)
    shorter = json.loads(on_cluster("set", sweep, "--time", "8", "--running", "--json").stdout)
    assert shorter == [{"job": job, "waiting": 3, "running": 3, "problems": []}]
    assert {line.split()[1] for line in queued(job, "R,PD")} == {"8:00"}

    refused = on_cluster("set", sweep, "--partition", "nope")
    assert refused.returncode == 4
    assert "Invalid partition name" in refused.stderr
    fixed = on_cluster("set", sweep, "--sbatch", "ntasks=2")
    assert (fixed.returncode, "cannot be changed" in fixed.stderr) == (2, True)
    (tmp_path / "go").touch()
    wait_until(lambda: json.loads(on_cluster("status", sweep, "--json").stdout)["counts"]["finished"] == 6)
