"""An agent that is killed, locally, loses its trial and not the others."""

from __future__ import annotations

import json

SCRIPT = """
import os, sys, time
import slurmsweep as wandb
run = wandb.init()
run.log({"loss": run.config["x"]})
if run.config["x"] == 1:
    os.kill(os.getppid(), 9)
    time.sleep(300)
"""


def test_a_killed_agent_loses_its_trial_and_the_others_run(slurmsweep, write_sweep):
    file = write_sweep(SCRIPT, "  x: {values: [1, 2, 3]}", "metric: {name: loss}")

    done = slurmsweep("run", str(file), "--backend", "local", "--json")

    assert done.returncode == 1, done.stderr
    status = json.loads(done.stdout)
    assert (status["counts"]["finished"], status["counts"]["crashed"]) == (2, 1)
    trials = json.loads(slurmsweep("trials", status["id"], "--json").stdout)
    assert [(t["state"], t["cause"], t["metric"]) for t in trials] == [
        ("crashed", "lost", 1.0), ("finished", "", 2.0), ("finished", "", 3.0),
    ]  # fmt: skip

    assert slurmsweep("run", status["id"], "--backend", "local").returncode == 1  # it is taken up again, and lost again
    assert json.loads(slurmsweep("trials", status["id"], "--json").stdout)[0]["attempt"] == 2
