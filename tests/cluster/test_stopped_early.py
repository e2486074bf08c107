"""Early termination on a real Slurm: what it saves of sixty trials, and what Slurm and the commands say of them."""

from __future__ import annotations

import json

import pytest
from cluster.waiting import wait_until

pytestmark = pytest.mark.cluster

#: Curves of which no two cross: the best trial at any epoch is the best in the end.
SCRIPT = """
import time
import slurmsweep
run = slurmsweep.init()
for epoch in range(1, 28):
    slurmsweep.log({"loss": run.config.x + 30 / epoch})
    with open("epochs", "a") as file:
        file.write(f"{run.config.x}\\n")
    time.sleep(0.25)
"""
KEYS = "metric: {name: loss, goal: minimize}\nearly_terminate: {type: hyperband, min_iter: 3}\n"
TRIALS, EPOCHS = 60, 27


def test_half_of_the_epochs_of_sixty_trials_are_saved_and_the_best_point_is_found(
    cluster, on_cluster, slurm, write_sweep, tmp_path
):
    file = write_sweep(SCRIPT, f"  x: {{min: 0, max: {TRIALS - 1}}}", KEYS + "slurmsweep: {order: shuffled}")

    done = on_cluster("run", str(file), "--json")

    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    sweep, counts, early = document["id"], document["counts"], document["stopped_early"]
    epochs = len((tmp_path / "epochs").read_text().splitlines())
    print(f"{epochs} of {TRIALS * EPOCHS} epochs, {counts['finished']} trials finished, {early} stopped early")
    assert document["best"]["params"] == {"x": 0}
    assert (counts["finished"] + early, counts["failed"], counts["crashed"]) == (TRIALS, 0, 0)
    assert early > TRIALS / 2
    assert epochs <= TRIALS * EPOCHS / 2

    trials = json.loads(on_cluster("trials", sweep, "--json").stdout)
    job = trials[0]["job"].split("_")[0]
    wait_until(lambda: len(slurm("sacct", "-X", "-n", "-P", "-j", job, "-o", "State").split()) == TRIALS)
    wait_until(lambda: set(slurm("sacct", "-X", "-n", "-P", "-j", job, "-o", "State").split()) == {"COMPLETED"})
    again = on_cluster("resubmit", sweep)
    assert (again.returncode, "nothing to" in again.stderr) == (0, True), again.stderr
    assert on_cluster("check", sweep).returncode == 0
