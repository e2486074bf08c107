"""Points that run several times on a real Slurm: each run is a job of its own, and one that is killed is missed."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.cluster

#: The job of one run kills its agent, as if its node had been lost.
SCRIPT = """
import os, signal
import slurmsweep
run = slurmsweep.init()
x, seed = run.config["x"], run.config["seed"]
if (x, seed) == (1, 2) and os.environ["SLURMSWEEP_ATTEMPT"] == "1":
    os.kill(os.getppid(), signal.SIGKILL)
slurmsweep.log({"loss": x + (seed - 1) / 10})
"""
SPACE = "  x: {values: [2, 1, 3]}"
EXTRA = "metric: {name: loss, goal: minimize}\nslurmsweep: {repeats: {parameter: seed, values: [0, 1, 2]}}"


def test_a_point_with_a_killed_job_is_done_when_that_run_has_run_again(cluster, on_cluster, write_sweep):
    sweep = on_cluster("create", str(write_sweep(SCRIPT, SPACE, EXTRA))).stdout.strip()
    points = lambda: json.loads(on_cluster("trials", sweep, "--json").stdout)  # noqa: E731 - looked at twice

    first = on_cluster("run", sweep, "--time", "10")
    before, best_before = points(), json.loads(on_cluster("best", sweep, "--json").stdout)
    again = on_cluster("resubmit", sweep, "--wait")

    runs = json.loads(on_cluster("trials", sweep, "--repeats", "--json").stdout)
    assert (first.returncode, again.returncode) == (1, 0), again.stderr
    assert [(row["state"], row["metric"]) for row in before] == [
        ("finished", 2.0),
        ("crashed", None),
        ("finished", 3.0),
    ]
    assert best_before["point"] == 0
    assert [(row["state"], row["metric"]) for row in points()] == [
        ("finished", 2.0),
        ("finished", 1.0),
        ("finished", 3.0),
    ]
    assert json.loads(on_cluster("best", sweep, "--json").stdout)["point"] == 1
    assert [row["attempt"] for row in runs] == [1, 1, 1, 1, 1, 2, 1, 1, 1]
    assert len({row["job"] for row in runs}) == 9
    assert on_cluster("check", sweep).returncode == 0
