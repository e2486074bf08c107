"""What was asked is what is submitted, whatever the shell says; and what Slurm made of it is said."""

from __future__ import annotations

import pytest
from cluster.test_orders import SCRIPT
from cluster.waiting import wait_until

pytestmark = pytest.mark.cluster

SHELL = {
    "SBATCH_TIMELIMIT": "7",
    "SBATCH_PARTITION": "urgent",
    "SBATCH_JOB_NAME": "foo",
    "SBATCH_ARRAY_INX": "0-4",
    "SBATCH_MEM_PER_NODE": "300",
    "SBATCH_COMMENT": "of the shell",
}


def test_options_of_the_shell_count_for_what_is_not_asked_for_alone(on_cluster, slurm, write_sweep, tmp_path):
    sweep = on_cluster("create", str(write_sweep(SCRIPT, "  x: {min: 1, max: 9}"))).stdout.strip()
    asked = ("--time", "5", "--partition", "main", "--mem", "100M", "--count", "2")

    done = on_cluster("submit", sweep, *asked, **SHELL)

    assert done.returncode == 0, done.stderr
    job = done.stderr.split("submitted job ")[1].split(":")[0]
    fields = "ArrayTaskID:|,Name:60|,TimeLimit:|,Partition:|,MinMemory:|,Comment:60|"
    lines = slurm("squeue", "-h", "-r", "-j", job, "-O", fields).splitlines()
    jobs = sorted([part.strip() for part in line.split("|")] for line in lines)
    assert [row[0] for row in jobs] == ["0", "1"]
    assert {row[1].rpartition("-")[0] for row in jobs} == {f"slurmsweep-{sweep}"}
    assert {tuple(row[2:6]) for row in jobs} == {("5:00", "main", "100M", "of the shell")}
    (tmp_path / "all").touch()


def test_what_slurm_made_of_a_request_is_said_once_and_kept(on_cluster, slurm, write_sweep, tmp_path):
    """By scontrol here; a plugin of a site does the same."""
    sweep = on_cluster("create", str(write_sweep(SCRIPT, "  x: {min: 1, max: 9}"))).stdout.strip()
    done = on_cluster("submit", sweep, "--time", "10", "--partition", "main", "--count", "2")
    job = done.stderr.split("submitted job ")[1].split(":")[0]
    wait_until(lambda: slurm("squeue", "-h", "-r", "-j", job, "-t", "R", "-o", "%i").count("\n") == 2)
    slurm("scontrol", "update", f"jobid={job}", "TimeLimit=3")
    changed = f"job {job}: --time is 3, and 10 was asked for"

    assert changed in on_cluster("status", sweep).stderr
    assert changed in on_cluster("reconcile", sweep).stderr
    assert changed not in on_cluster("reconcile", sweep).stderr
    assert changed not in on_cluster("status", sweep).stderr
    (tmp_path / "all").touch()
