"""Several `submit` at the same moment on a real Slurm: as many jobs as trials, also where one of them is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from cluster.waiting import wait_until

pytestmark = pytest.mark.cluster

SCRIPT = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.1)\n"
TRIALS = 24


def elements(slurm, sweep) -> int:
    names = slurm("squeue", "-h", "-r", "-o", "%j").split()
    return sum(name.startswith(f"slurmsweep-{sweep}-") for name in names)


def command_line(cluster, tmp_path, *argv, **environ) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "slurmsweep", *argv],
        env=os.environ | cluster.environ | environ,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def test_eight_at_once_make_one_job_a_trial(cluster, on_cluster, slurm, write_sweep, tmp_path):
    sweep = on_cluster("create", str(write_sweep(SCRIPT, f"  x: {{min: 1, max: {TRIALS}}}"))).stdout.strip()

    started = [command_line(cluster, tmp_path, "submit", sweep, "--time", "5") for _ in range(8)]
    said = [process.communicate(timeout=500)[1] for process in started]

    assert [process.returncode for process in started] == [0] * 8, said
    assert elements(slurm, sweep) == TRIALS, said
    (tmp_path / "go").touch()
    wait_until(lambda: elements(slurm, sweep) == 0)
    assert "24 finished" in on_cluster("status", sweep).stdout
    assert on_cluster("check", sweep).returncode == 0


def test_one_that_is_killed_between_its_announcement_and_sbatch_holds_up_no_other(
    cluster, on_cluster, slurm, write_sweep, tmp_path
):
    sweep = on_cluster("create", str(write_sweep(SCRIPT, f"  x: {{min: 1, max: {TRIALS}}}"))).stdout.strip()
    (tmp_path / "bin").mkdir()
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.write_text('#!/bin/sh\ncase " $* " in *" --help "*|*" --version "*) exit 1;; esac\nkill -9 "$PPID"\n')
    sbatch.chmod(0o755)

    dying = command_line(cluster, tmp_path, "submit", sweep, PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    said = dying.communicate(timeout=300)[1]
    assert dying.returncode == -signal.SIGKILL, said
    assert elements(slurm, sweep) == 0
    started = [command_line(cluster, tmp_path, "submit", sweep, "--time", "5") for _ in range(3)]
    said = [process.communicate(timeout=500)[1] for process in started]

    assert [process.returncode for process in started] == [0] * 3, said
    assert elements(slurm, sweep) == TRIALS, said
    on_cluster("cancel", sweep)
