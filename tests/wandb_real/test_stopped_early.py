"""``early_terminate`` with the real wandb, offline: its run file is read while the script runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

OFTEN = {"SLURMSWEEP_EARLY_TERMINATE_SECONDS": "0.2"}
KEYS = "metric: {name: loss, goal: minimize}\nearly_terminate: {type: hyperband, min_iter: 3}"

#: The best trial ends by itself; the others log three values, and a fourth if they are not stopped within two minutes.
SCRIPT = """
import time
import wandb
with wandb.init() as run:
    for step in range(3):
        run.log({"loss": run.config.x + 1 / (step + 1)})
    if run.config.x:
        time.sleep(120)
    run.log({"loss": run.config.x})
"""


def test_trials_are_stopped_by_what_their_live_run_files_hold(slurmsweep, write_sweep):
    file = write_sweep(SCRIPT, "  x: {values: [0, 1, 2]}", KEYS)

    done = slurmsweep("run", str(file), "--backend", "local", "--json", **OFTEN)

    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["counts"]["finished"], document["stopped_early"], document["best"]["number"]) == (1, 2, 0)
    trials = json.loads(slurmsweep("trials", document["id"], "--json").stdout)
    assert [trial["cause"] for trial in trials] == ["", "early_terminate", "early_terminate"]
    assert [round(trial["metric"], 3) for trial in trials] == [0, 1.333, 2.333]


def test_a_function_with_a_wandb_run_is_stopped_and_its_run_ended(slurmsweep, tmp_path):
    program = """
import time
import wandb
import slurmsweep

def train():
    with wandb.init() as run:
        for step in range(3):
            run.log({"loss": run.config.x + 1 / (step + 1)})
        deadline = time.monotonic() + 120
        while run.config.x and time.monotonic() < deadline:
            time.sleep(0.02)

sweep = slurmsweep.sweep({
    "method": "grid", "metric": {"name": "loss"}, "early_terminate": {"type": "hyperband", "min_iter": 3},
    "parameters": {"x": {"values": [0, 1, 2]}},
})
slurmsweep.agent(sweep, train)
print(sweep)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | OFTEN,
        capture_output=True,
        text=True,
        check=True,
    )
    sweep = done.stdout.splitlines()[-1]

    trials = json.loads(slurmsweep("trials", sweep, "--json").stdout)
    assert [(trial["state"], trial["cause"]) for trial in trials] == [
        ("finished", ""),
        ("killed", "early_terminate"),
        ("killed", "early_terminate"),
    ]
    runs = [path for path in (tmp_path / ".slurmsweep").rglob("*.wandb") if "offline-run-" in str(path)]
    assert len(runs) == 3
