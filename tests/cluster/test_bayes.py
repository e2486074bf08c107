"""A search that learns on a real Slurm: jobs choose their points when they start, side by side and after a fault."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.cluster

SCRIPT = """
import os, signal, sys
import slurmsweep
run = slurmsweep.init()
slurmsweep.log({"loss": (run.config["lr"] - 0.3) ** 2 + 0.1 * (run.config["optimizer"] != "adam")})
if os.environ["SLURMSWEEP_TRIAL"] == "5" and os.environ["SLURMSWEEP_ATTEMPT"] == "1":
    os.kill(os.getppid(), signal.SIGKILL)
"""
SPACE = "  lr: {min: 0.0, max: 1.0}\n  optimizer: {values: [sgd, adam, lion]}"


def test_an_array_of_a_bayes_sweep_finds_the_best_and_a_killed_job_keeps_its_point(
    cluster, on_cluster, write_sweep, tmp_path
):
    extra = "metric: {name: loss}\nrun_cap: 24"
    sweep = on_cluster("create", str(write_sweep(SCRIPT, SPACE, extra, "bayes"))).stdout.strip()
    shown = lambda: json.loads(on_cluster("trials", sweep, "--json").stdout)  # noqa: E731 - looked at twice

    # where all 24 start at once there is nothing to learn from
    first = on_cluster("run", sweep, "--time", "10", "--width", "4")
    before = next(row for row in shown() if row["number"] == 5)
    again = on_cluster("resubmit", sweep, "--wait")

    rows = shown()
    points = {json.dumps(row["params"], sort_keys=True) for row in rows}
    best = min(rows, key=lambda row: row["metric"])
    assert first.returncode == 1, first.stderr
    assert again.returncode == 0, again.stderr
    assert (before["state"], next(row for row in rows if row["number"] == 5)["params"]) == ("crashed", before["params"])
    assert len(points) == len(rows) == 24
    assert {row["state"] for row in rows} == {"finished"}
    assert best["params"]["optimizer"] == "adam"
    assert abs(best["params"]["lr"] - 0.3) < 0.1
    assert on_cluster("check", sweep).returncode == 0
