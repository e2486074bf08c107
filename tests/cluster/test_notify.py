"""On a real Slurm a sweep that no command waits for and no supervisor looks after tells its first failure and its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from cluster.waiting import wait_until

pytestmark = pytest.mark.cluster


def test_the_agents_of_a_sweep_without_a_supervisor_tell(on_cluster, write_sweep, tmp_path):
    sweep = on_cluster("create", str(write_sweep("import sys; sys.exit(sys.argv[1] == '--x=2')"))).stdout.strip()
    notify = f"bash -c 'cat >> {tmp_path}/told'"
    submitted = on_cluster("submit", sweep, "--time", "10", "--notify", notify)
    assert submitted.returncode == 0, submitted.stderr
    told = tmp_path / "told"

    wait_until(lambda: told.exists() and '"ended"' in told.read_text(), "the end is told")

    events = [json.loads(line) for line in told.read_text().splitlines()]
    assert sorted(one["event"] for one in events) == ["ended", "failed"]
    [end] = [one for one in events if one["event"] == "ended"]
    assert end["counts"] == {"finished": 2, "failed": 1}


def test_a_supervisor_tells_the_end_of_its_sweep(on_cluster, write_sweep, tmp_path):
    sweep = on_cluster("create", str(write_sweep("pass"))).stdout.strip()
    notify = f"bash -c 'cat >> {tmp_path}/told'"
    submitted = on_cluster("submit", sweep, "--time", "10", "--mend", "--notify", notify)
    assert submitted.returncode == 0, submitted.stderr
    told = tmp_path / "told"

    wait_until(told.exists, "the end is told")

    [end] = [json.loads(line) for line in told.read_text().splitlines()]
    assert (end["event"], end["counts"]) == ("ended", {"finished": 3})


def test_a_command_that_is_interrupted_hands_over_to_the_agents(cluster, write_sweep, tmp_path):
    write_sweep("import os, time\nwhile not os.path.exists('go'): time.sleep(0.2)")
    notify = f"bash -c 'cat >> {tmp_path}/told'"
    argv = [
        sys.executable,
        "-m",
        "slurmsweep",
        "run",
        "sweep.yaml",
        "--backend",
        "slurm",
        "-t",
        "10",
        "--notify",
        notify,
    ]
    waits = subprocess.Popen(argv, cwd=tmp_path, env=os.environ | cluster.environ, stderr=subprocess.PIPE, text=True)
    try:
        line = next(line for line in waits.stderr if "submitted job" in line)
        wait_until(lambda: list(tmp_path.glob(".slurmsweep/sweep-*/trials/**/output.log")), "a trial that runs")
        waits.send_signal(signal.SIGINT)
        said = waits.stderr.read()
        assert waits.wait(120) == 130
    finally:
        waits.kill()
        waits.stderr.close()
    assert ("3 trials" in line, "the jobs go on" in said) == (True, True)
    told = tmp_path / "told"
    assert not told.exists()
    (tmp_path / "go").touch()

    wait_until(told.exists, "the end is told by an agent")

    [end] = [json.loads(line) for line in told.read_text().splitlines()]
    assert (end["event"], end["counts"]) == ("ended", {"finished": 3})


def test_a_moved_project_is_one_error_before_jobs_are_submitted(on_cluster, write_sweep, tmp_path):
    (tmp_path / "before").mkdir()
    write_sweep("pass").rename(tmp_path / "before" / "sweep.yaml")
    (tmp_path / "train.py").rename(tmp_path / "before" / "train.py")
    sweep = on_cluster("create", "sweep.yaml", cwd=tmp_path / "before").stdout.strip()
    now = (tmp_path / "before").rename(tmp_path / "now")

    refused = on_cluster("submit", sweep, "--time", "10", cwd=now)
    done = on_cluster("submit", sweep, "--time", "10", "--workdir", ".", "--wait", cwd=now)

    assert (refused.returncode, "submitted job" in refused.stderr) == (2, False)
    assert "--workdir FOLDER" in refused.stderr
    assert done.returncode == 0, done.stderr
    assert json.loads(on_cluster("status", sweep, "--json", cwd=now).stdout)["counts"]["finished"] == 3
