"""Why jobs wait on a real Slurm: `status` says it and what would help, `submit` says what never starts."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from pathlib import Path

import pytest
from cluster.test_orders import SCRIPT
from cluster.waiting import wait_until

pytestmark = pytest.mark.cluster


@pytest.fixture
def sweep(on_cluster, write_sweep, tmp_path):
    """A sweep whose trials run for as long as they may; at the end they are cancelled."""
    sweep = on_cluster("create", str(write_sweep(SCRIPT, "  x: {min: 1, max: 40}"))).stdout.strip()
    yield sweep
    on_cluster("cancel", sweep)


@pytest.fixture
def reasons(on_cluster, sweep):
    """Wait until `status` says that reason of Slurm's; returns what it says of each, by that."""

    def said(reason: str) -> dict[str, dict]:
        def found():
            listed = json.loads(on_cluster("status", sweep, "--json").stdout)["waiting"]
            return {one["reason"]: one for one in listed if one["reason"].startswith(reason)} and {
                one["reason"]: one for one in listed
            }

        return wait_until(found, f"the reason {reason}")

    return said


@contextmanager
def partition(slurm, name: str, **values: str):
    """Change a partition for a while."""
    before = slurm("scontrol", "-o", "show", "partition", name)
    slurm("scontrol", "update", f"partition={name}", *(f"{key}={value}" for key, value in values.items()))
    yield
    old = {key: re.search(rf"\b{key}=(\S+)", before)[1] for key in values}
    slurm("scontrol", "update", f"partition={name}", *(f"{key}={value}" for key, value in old.items()))


def test_a_dependency_that_fails_is_said_by_submit_and_set_mends_it(on_cluster, slurm, sweep, reasons, tmp_path):
    failed = slurm("sbatch", "--parsable", "-o", "/dev/null", "--wrap", "exit 3").strip()
    wait_until(lambda: "FAILED" in slurm("squeue", "-h", "-t", "all", "-j", failed, "-o", "%T"))

    done = on_cluster("submit", sweep, "--count", "3", "--time", "5", "--sbatch", f"dependency=afterok:{failed}")

    why = "the job that they wait for did not end as they need it (DependencyNeverSatisfied)"
    help_ = f"`slurmsweep set {sweep} --sbatch dependency=0` lets them start without"
    assert done.returncode == 0, done.stderr
    job = done.stderr.split("submitted job ")[1].split(":")[0]
    assert f"3 jobs ({job}_0 ...) never start as they are: {why}; {help_}" in done.stderr
    text = " ".join(on_cluster("status", sweep).stdout.split())
    assert f"waits 3 jobs ({job}_0 ...) never start as they are: {why}" in text

    assert on_cluster("set", sweep, "--sbatch", "dependency=0").returncode == 0

    wait_until(lambda: json.loads(on_cluster("status", sweep, "--json").stdout)["jobs"] == {"running": 3})


def test_too_much_time_is_said_where_slurm_takes_the_job(cluster, on_cluster, slurm, sweep, reasons):
    """EnforcePartLimits=NO is Slurm's default; the tests' cluster has ALL."""
    conf = Path(cluster.environ["SLURM_CONF"])
    text = conf.read_text()

    def is_judged() -> bool:
        """Return whether a new job has its reason at once: a controller that is just reconfigured gives it later."""
        job = slurm("sbatch", "--parsable", "-o", "/dev/null", "-t", "120", "-p", "urgent", "--wrap", "true").strip()
        reason = slurm("squeue", "-h", "-j", job, "-o", "%r").strip()
        slurm("scancel", job)
        return reason == "PartitionTimeLimit"

    conf.write_text(text.replace("EnforcePartLimits=ALL", "EnforcePartLimits=NO"))
    slurm("scontrol", "reconfigure")
    try:
        wait_until(is_judged, "the controller judges new jobs at once")
        done = on_cluster("submit", sweep, "--count", "2", "--time", "120", "--partition", "urgent")
    finally:
        conf.write_text(text)
        slurm("scontrol", "reconfigure")

    why = "they ask for 120 minutes, and partition urgent gives a job 60"
    assert f"never start as they are: {why}" in done.stderr
    assert f"`slurmsweep set {sweep} --time 60` asks for less" in done.stderr
    [reason] = reasons("PartitionTimeLimit").values()
    assert (reason["jobs"], reason["is_stuck"]) == (2, True)
    assert on_cluster("set", sweep, "--time", "60").returncode == 0
    wait_until(lambda: json.loads(on_cluster("status", sweep, "--json").stdout)["jobs"] == {"running": 2})


def test_what_only_needs_time_or_an_order_is_said_by_status(on_cluster, slurm, sweep, reasons):
    with partition(slurm, "urgent", State="DOWN"):
        done = on_cluster("submit", sweep, "--count", "2", "--time", "5", "--partition", "urgent")
        assert "never start" not in done.stderr
        [down] = reasons("PartitionDown").values()
        assert (down["jobs"], down["help"].partition(" chooses")[0]) == (
            2, f"wait, or `slurmsweep set {sweep} --partition NAME`",
        )  # fmt: skip
        assert on_cluster("set", sweep, "--partition", "main").returncode == 0
    wait_until(lambda: json.loads(on_cluster("status", sweep, "--json").stdout)["jobs"] == {"running": 2})

    on_cluster("submit", sweep, "--count", "4", "--time", "5", "--width", "1")
    assert reasons("JobArrayTaskLimit")["JobArrayTaskLimit"]["jobs"] == 3
    on_cluster("submit", sweep, "--count", "2", "--time", "5", "--sbatch", "begin=now+1hour")
    later = reasons("BeginTime")["BeginTime"]
    assert (later["jobs"], len(later["starts"])) == (2, len("2026-11-29T14:00:00"))
    on_cluster("pause", sweep)
    held = wait_until(lambda: [one for one in reasons("JobHeld").values() if one["jobs"] == 5])
    assert "`slurmsweep resume" in held[0]["help"]


def test_a_drained_node_and_a_maintenance_are_named(on_cluster, slurm, sweep, reasons):
    slurm("scontrol", "update", "nodename=n4", "state=drain", "reason=test")
    try:
        on_cluster("submit", sweep, "--count", "1", "--time", "5", "--sbatch", "nodelist=n4")
        said = reasons("ReqNodeNotAvail")
        # Slurm 22.05 names the node, 24.11 does not
        [why] = [one["why"] for one in said.values()]
        assert why in ("nodes n4 are down or drained", "the nodes that fit are drained, or reserved for other jobs")
    finally:
        slurm("scontrol", "update", "nodename=n4", "state=resume")
    # a job that has started meanwhile may run into it
    flags = "flags=maint,ignore_jobs"
    name = slurm(
        "scontrol", "create", "reservation", "starttime=now+5minutes", "duration=60", "user=root", flags, "nodes=ALL"
    ).split()[-1]
    try:
        on_cluster("submit", sweep, "--count", "1", "--time", "60")
        said = reasons("ReqNodeNotAvail, Reserved for maintenance")
        assert "a maintenance begins before they would end" in {one["why"] for one in said.values()}
    finally:
        slurm("scontrol", "delete", f"reservationname={name}")
