"""Functions on a real Slurm: by their import path in jobs of ours, and by ``slurmsweep.agent`` in a job of the user's."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from cluster.waiting import wait_until

pytestmark = pytest.mark.cluster

MODULE = """
import os, signal, sys, time
import slurmsweep

def save(number, frame):
    print("saved upon", signal.Signals(number).name, flush=True)
    sys.exit(128 + number)

def train():
    signal.signal(signal.SIGTERM, save)
    x = slurmsweep.init().config.x
    slurmsweep.log({"loss": x})
    print("job", os.environ["SLURM_JOB_ID"], flush=True)
    if x == 2 and os.environ["SLURMSWEEP_ATTEMPT"] == "1":
        os.kill(os.getppid(), signal.SIGUSR1)  # Slurm's warning before the time limit
        time.sleep(600)
"""

SWEEP = "method: grid\nmetric: {name: loss, goal: minimize}\nparameters: {x: {values: [1, 2]}}\n"

PROGRAM = """
import sys, time
import slurmsweep

def train():
    x = slurmsweep.init().config.x
    slurmsweep.log({"loss": x})
    if x == 2:
        time.sleep(600)

slurmsweep.agent(sys.argv[1], function=train)
"""


@pytest.fixture
def trials(on_cluster):
    """State and cause of every trial, as the command line shows them."""

    def trials(sweep) -> list[tuple[str, str]]:
        shown = json.loads(on_cluster("trials", sweep, "--json").stdout)
        return [(trial["state"], trial["cause"]) for trial in shown]

    return trials


def test_a_function_is_called_in_jobs_hears_their_warning_and_is_resubmitted_without_being_named_again(
    on_cluster, trials, tmp_path
):
    (tmp_path / "job.py").write_text(MODULE)
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    wrong = on_cluster("run", "sweep.yaml", "--backend", "slurm", "--function", "job:trian")
    first = on_cluster("run", "sweep.yaml", "--backend", "slurm", "--time", "5", "--function", "job:train", "--json")
    sweep = json.loads(first.stdout)["id"]
    ended = trials(sweep)
    log = on_cluster("logs", sweep, "1").stdout

    done = on_cluster("resubmit", sweep, "--wait")

    assert (wrong.returncode, "did you mean 'train'" in wrong.stderr) == (2, True)
    assert ended == [("finished", ""), ("crashed", "timeout")]
    assert log.endswith("saved upon SIGTERM\n")
    assert done.returncode == 0, done.stderr
    assert trials(sweep) == [("finished", ""), ("finished", "")]


def test_a_function_in_a_job_of_the_users_own_that_is_cancelled_is_found_by_reconcile(
    cluster, on_cluster, slurm, trials, tmp_path, monkeypatch
):
    import slurmsweep

    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    parameters = {"x": {"values": [1, 2, 3]}}
    sweep = slurmsweep.sweep({"method": "grid", "metric": {"name": "loss"}, "parameters": parameters})
    command = f"{sys.executable} program.py {sweep}"
    environ = os.environ | cluster.environ
    argv = ["sbatch", "--parsable", "--time=5", "--output=own.out", f"--wrap={command}"]
    job = subprocess.run(argv, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True).stdout.strip()
    wait_until(lambda: trials(sweep)[:2] == [("finished", ""), ("running", "")], "the second trial")

    slurm("scancel", job)
    wait_until(lambda: trials(sweep)[1][0] != "running", "the end of the job")

    def reconciled() -> bool:  # Slurm says why once the job has left its node
        assert on_cluster("reconcile", sweep).returncode == 0
        return trials(sweep)[1] == ("killed", "cancelled")

    wait_until(reconciled, "Slurm's word on the job", 30)
    assert json.loads(on_cluster("trials", sweep, "--json").stdout)[1]["job"] == job
