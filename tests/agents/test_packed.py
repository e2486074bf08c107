"""Several agents side by side, forked from one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

#: Waits until as many trials as there are seats run at the same time.
TOGETHER = """
import os, sys, time
open(f"running-{os.environ['SLURMSWEEP_TRIAL']}", "w").close()
while sum(name.startswith("running-") for name in os.listdir()) < 3: time.sleep(0.02)
"""
WAITING = TOGETHER + "\ntime.sleep(300)"


@pytest.fixture
def sweep(slurmsweep, write_sweep):
    """Return a new sweep of three trials with that script."""
    return lambda script: slurmsweep("create", str(write_sweep(script))).stdout.strip()


@pytest.fixture
def trials(slurmsweep):
    return lambda sweep: json.loads(slurmsweep("trials", sweep, "--json").stdout)


def three_at_work(name, folder) -> subprocess.Popen:
    """Return the first process of three agents, once all their commands run."""
    command = [sys.executable, "-m", "slurmsweep", "agent", "--count", "1", "--seats", "3", name]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(folder.glob("running-*"))) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


def test_agents_run_side_by_side_each_with_its_seat(slurmsweep, sweep, trials, tmp_path):
    name = sweep(TOGETHER)

    done = slurmsweep("agent", "--count", "1", "--seats", "3", name)

    assert done.returncode == 0, done.stderr
    assert [trial["state"] for trial in trials(name)] == ["finished"] * 3
    owners = [json.loads(path.read_text())["owner"] for path in tmp_path.glob("wandb/sweep-*/trials/0/*/1/owner")]
    assert sorted(owner["seat"] for owner in owners) == [1, 2, 3]
    assert len({owner["pid"] for owner in owners}) == 3


def test_the_exit_code_is_that_of_the_first_seat_whose_trial_failed(slurmsweep, sweep):
    name = sweep("import os, sys; sys.exit([0, 3, 4][int(os.environ['SLURMSWEEP_TRIAL'])])")

    assigned = {"SLURMSWEEP_SLOTS": "0-2", "SLURM_ARRAY_TASK_ID": "0"}
    done = slurmsweep("agent", "--count", "1", "--seats", "3", name, **assigned)

    assert done.returncode == 3, done.stderr


def test_a_seat_that_finds_nothing_left_is_no_failure(slurmsweep, sweep, trials):
    name = sweep("pass")

    done = slurmsweep("agent", "--count", "1", "--seats", "5", name)

    assert (done.returncode, done.stderr.count("nothing left to do")) == (0, 2)
    assert [trial["state"] for trial in trials(name)] == ["finished"] * 3


@pytest.mark.parametrize(
    ("number", "state", "cause"),
    [(signal.SIGUSR1, "crashed", "timeout"), (signal.SIGTERM, "killed", "terminated")],
)
def test_what_the_first_process_is_told_every_agent_is_told(sweep, trials, tmp_path, number, state, cause):
    name = sweep(WAITING)
    process = three_at_work(name, tmp_path)

    os.kill(process.pid, number)

    assert process.wait(timeout=120) == 128 + signal.SIGTERM
    assert [(trial["state"], trial["cause"]) for trial in trials(name)] == [(state, cause)] * 3


def test_an_agent_killed_outright_counts_as_its_signal(sweep, tmp_path):
    name = sweep(WAITING)
    process = three_at_work(name, tmp_path)

    with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
        for pid in file.read().split():
            os.kill(int(pid), signal.SIGKILL)

    assert process.wait(timeout=120) == 128 + signal.SIGKILL


def test_no_seats_at_all_is_a_mistake(slurmsweep, sweep):
    done = slurmsweep("agent", "--seats", "0", sweep("pass"))

    assert done.returncode == 2
    assert "--seats" in done.stderr


def test_each_trial_sees_its_place_and_its_part_of_the_gpus(slurmsweep, sweep, tmp_path):
    told = "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "SLURMSWEEP_SEAT"
    name = sweep(TOGETHER + f"open('seen', 'a').write(','.join(os.environ.get(n, '-') for n in {told}) + '\\n')")
    of_job = {"CUDA_VISIBLE_DEVICES": "4,5,7", "ROCR_VISIBLE_DEVICES": "0,1,2", "SLURM_JOB_GPUS": "4,5,7"}

    done = slurmsweep("agent", "--count", "1", "--seats", "3", name, **of_job)

    assert done.returncode == 0, done.stderr
    assert sorted((tmp_path / "seen").read_text().split()) == ["4,0,0,0", "5,1,0,1", "7,2,0,2"]
