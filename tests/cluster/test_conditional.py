"""A grid with conditions on a real Slurm: as many jobs as there are points, each with what exists of it."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.cluster

SCRIPT = """
import json, os, sys
import slurmsweep
run = slurmsweep.init()
print(json.dumps([sys.argv[1:], os.environ["SLURM_ARRAY_JOB_ID"]]))
run.log({"loss": run.config["hidden"] - run.config.get("momentum", 0)})
"""
SPACE = "  momentum: {values: [0.0, 0.9]}\n  optimizer: {values: [adam, sgd]}\n  width: {values: [2, 3]}"
OURS = """metric: {name: loss, goal: minimize}
slurmsweep:
  order: shuffled
  conditions: {momentum: {optimizer: sgd}}
  computed: {hidden: 4 * width}
"""


def test_an_array_has_a_job_for_each_point_that_is_left(on_cluster, write_sweep, tmp_path):
    done = on_cluster("run", str(write_sweep(SCRIPT, SPACE, OURS)), "--time", "5", "--json")

    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout)
    rows = json.loads(on_cluster("trials", status["id"], "--json").stdout)
    assert status["counts"]["finished"] == len(rows) == 6
    assert sorted(str(sorted(row["params"].items())) for row in rows) == sorted(
        str(sorted(point.items()))
        for width in (2, 3)
        for point in (
            {"optimizer": "adam", "width": width, "hidden": 4 * width},
            {"optimizer": "sgd", "momentum": 0.0, "width": width, "hidden": 4 * width},
            {"optimizer": "sgd", "momentum": 0.9, "width": width, "hidden": 4 * width},
        )
    )
    jobs = set()
    for row in rows:
        log = next(tmp_path.glob(f".slurmsweep/*/trials/0/{row['number']}/1/output.log"))
        argv, job = json.loads(log.read_text())
        assert argv == [f"--{name}={value}" for name, value in row["params"].items()]
        jobs.add(job)
    assert len(jobs) == 1
    assert status["best"]["params"] == {"hidden": 8, "momentum": 0.9, "optimizer": "sgd", "width": 2}
    assert on_cluster("check", status["id"]).returncode == 0
