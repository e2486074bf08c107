"""On a real Slurm a command hears of one order to stop once, whichever process gives it."""

from __future__ import annotations

import json
import os

import pytest
from cluster.waiting import wait_until

pytestmark = pytest.mark.cluster

#: Counts what it hears, and leaves a while after the first, as one that saves a checkpoint.
COUNTER = """
import os, signal, sys, time
heard = []
signal.signal(signal.SIGTERM, lambda *_: heard.append("SIGTERM"))
folder = os.environ["SLURMSWEEP_ATTEMPT_DIR"]
open(os.path.join(folder, "ready"), "w").close()
while not heard:
    time.sleep(0.02)
for _ in range(60):
    time.sleep(0.02)
print("heard", *heard, flush=True)
sys.exit(143)
"""


def test_a_command_hears_of_scancel_preemption_and_a_batch_signal_once(on_cluster, slurm, write_sweep, tmp_path):
    def run(*argv):
        done = on_cluster(*argv)
        assert done.returncode == 0, done.stderr
        return done.stdout

    sweep = run("create", str(write_sweep(COUNTER, "  x: {values: [1, 2, 3]}"))).strip()
    run("submit", sweep, "--time", "10", "--cpus-per-task", "8")
    folders = [tmp_path / "wandb" / f"sweep-{sweep}" / "trials" / "0" / str(n) / "1" for n in range(3)]
    wait_until(lambda: all((folder / "ready").exists() for folder in folders), "three trials")
    jobs = [trial["job"] for trial in json.loads(run("trials", sweep, "--json"))]
    node = slurm("squeue", "-h", "-j", jobs[2], "-o", "%N").strip()

    slurm("scancel", jobs[0])
    slurm("scancel", "--batch", "--signal=TERM", jobs[1])
    slurm("sbatch", "-p", "urgent", "-w", node, "-c8", "--wrap=true", "-o", os.devnull)

    logs = [folder / "output.log" for folder in folders]
    wait_until(lambda: all("heard" in log.read_text() for log in logs), "what they heard")
    run("cancel", sweep)  # the one that was preempted waits to start again
    assert [log.read_text().splitlines()[-1] for log in logs] == ["heard SIGTERM"] * 3
