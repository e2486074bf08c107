"""Trials in parts on a real Slurm: each part is a job with its own limit, the best go on, and faults change nothing."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from cluster.waiting import wait_until

pytestmark = pytest.mark.cluster

#: An epoch is a line of the file `epochs`; curves of two trials never cross. It goes on from its checkpoint. Where a file
#: `fault-<x>-<rung>` is there the first job of that rung removes it and does what it says in its first epoch.
SCRIPT = """
import json, os, signal, sys, time
import slurmsweep
run = slurmsweep.init()
x, rung = run.config["x"], os.environ["SLURMSWEEP_RUNG"]
checkpoint = os.path.join(os.environ["SLURMSWEEP_CHECKPOINT_DIR"], "checkpoint.json")
start = json.load(open(checkpoint)) if os.path.exists(checkpoint) else 0
def save(epoch):
    with open(checkpoint + ".new", "w") as file:
        json.dump(epoch, file)
    os.replace(checkpoint + ".new", checkpoint)
for epoch in range(start, int(os.environ["SLURMSWEEP_RUNG_STEPS"])):
    fault = f"fault-{x}-{rung}"
    if os.path.exists(fault):
        what = open(fault).read()
        os.remove(fault)
        if what == "kill":
            os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)
    slurmsweep.log({"loss": x + 10 / (epoch + 1)}, step=epoch)
    with open("epochs", "a") as file:
        file.write(f"{x} {epoch}\\n")
    save(epoch + 1)
"""
RUNGS = "metric: {name: loss, goal: minimize}\nslurmsweep: {rungs: {steps: [1, 3, 9], keep: 1/3}}"
VALUES = [4, 7, 1, 8, 0, 6, 3, 5, 2]


@pytest.fixture
def create(on_cluster, write_sweep):
    """Create a sweep of nine trials with three rungs."""

    def create(extra: str = RUNGS) -> str:
        done = on_cluster("create", str(write_sweep(SCRIPT, f"  x: {{values: {VALUES}}}", extra)))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return create


def rows(on_cluster, sweep) -> list[dict]:
    return json.loads(on_cluster("trials", sweep, "--json").stdout)


def assert_the_best_went_on(on_cluster, sweep, tmp_path) -> None:
    """Of curves that never cross the best trial runs to the end, and no epoch of any trial is run twice."""
    ended = rows(on_cluster, sweep)
    best = json.loads(on_cluster("best", sweep, "--json").stdout)
    assert {row["state"] for row in ended} == {"finished"}
    assert best["params"]["x"] == 0
    assert [row["params"]["x"] for row in ended if not row["cause"]] == [0]
    epochs = Counter((tmp_path / "epochs").read_text().splitlines())
    assert {n for line, n in epochs.items()} == {1}
    assert len(epochs) <= 0.45 * len(VALUES) * 9
    assert on_cluster("check", sweep).returncode == 0


def limits(slurm, sweep_jobs) -> dict[str, str]:
    """The time limit in minutes of each element, as accounting has it."""
    lines = slurm("sacct", "-X", "-n", "-P", "-j", ",".join(sweep_jobs), "-o", "JobID,TimelimitRaw").splitlines()
    return dict(line.split("|") for line in lines)


def test_each_part_is_a_job_that_asks_for_no_more_than_its_part(cluster, on_cluster, slurm, create, tmp_path):
    sweep = create()

    done = on_cluster("run", sweep, "--time", "90")

    assert done.returncode == 0, done.stderr
    assert_the_best_went_on(on_cluster, sweep, tmp_path)
    jobs = {row["job"].partition("_")[0] for row in rows(on_cluster, sweep)}
    scripts = "".join(path.read_text() for path in (tmp_path / "wandb" / f"sweep-{sweep}" / "jobs").glob("*.sh"))
    assert {line for line in scripts.splitlines() if "--time" in line} == {
        f"#SBATCH --time={minutes}" for minutes in (10, 30, 90)
    }
    assert jobs


def test_by_hand_each_call_starts_what_may_go_on(cluster, on_cluster, create, tmp_path):
    sweep = create()

    for started in ("9 trials", "3 trials", "1 trial"):
        done = on_cluster("resubmit", sweep, "--time", "90")
        assert done.returncode == 0, done.stderr
        assert f": {started}" in done.stderr
        wait_until(lambda: {row["state"] for row in rows(on_cluster, sweep)} == {"finished"})
    again = on_cluster("resubmit", sweep, "--time", "90")

    assert "nothing" in again.stderr
    assert_the_best_went_on(on_cluster, sweep, tmp_path)


@pytest.mark.parametrize("rung", [1, 2, 3])
@pytest.mark.parametrize("fault", ["kill", "time", "requeue"])
def test_a_fault_in_any_part_changes_nothing_of_the_result(cluster, on_cluster, slurm, create, tmp_path, rung, fault):
    sweep = create()
    (tmp_path / f"fault-0-{rung}").write_text("kill" if fault == "kill" else "sleep")

    submitted = on_cluster("submit", sweep, "--time", "90", "--mend", "--mend-every", "1")
    assert submitted.returncode == 0, submitted.stderr
    if fault != "kill":
        wait_until(lambda: _sleeper(on_cluster, sweep) and not (tmp_path / f"fault-0-{rung}").exists(), "the fault")
        job = _sleeper(on_cluster, sweep)
        if fault == "time":
            slurm("scontrol", "update", f"JobId={job}", "TimeLimit=1")
        else:
            slurm("scontrol", "requeue", job)
    report = tmp_path / "wandb" / f"sweep-{sweep}" / "report.txt"
    wait_until(report.exists, "the report", 420)

    assert_the_best_went_on(on_cluster, sweep, tmp_path)


def _sleeper(on_cluster, sweep) -> str:
    """The job of the best trial while it runs."""
    return next((r["job"] for r in rows(on_cluster, sweep) if r["params"]["x"] == 0 and r["state"] == "running"), "")
