"""The GPUs of a job on a real Slurm, dealt out to the trials of a packed job. Its GPUs are files that nothing opens."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.cluster

#: Waits until all trials of the job run, so that none takes the seat of another that has ended.
SCRIPT = """
import os, time
with open("seen", "a") as seen:
    seen.write(f"{os.environ['SLURMSWEEP_SEAT']} {os.environ.get('CUDA_VISIBLE_DEVICES')}\\n")
while len(open("seen").readlines()) < 4: time.sleep(0.05)
"""


@pytest.mark.parametrize(
    ("gpus", "said", "seen"),
    [
        ("2", "the GPUs of a job (2) are dealt out to its 4 trials, fewer than trials", ["0 0", "1 0", "2 1", "3 1"]),
        (None, "", ["0 None", "1 None", "2 None", "3 None"]),
    ],
)
def test_each_seat_of_a_packed_job_sees_its_part(on_cluster, write_sweep, tmp_path, gpus, said, seen):
    file = str(write_sweep(SCRIPT, "  x: {values: [1, 2, 3, 4]}"))
    options = ["--gpus", gpus] if gpus else []

    done = on_cluster("run", file, "--backend", "slurm", "--template", "packed", "--time", "5", *options)

    assert done.returncode == 0, done.stderr
    assert said in done.stderr
    assert sorted((tmp_path / "seen").read_text().splitlines()) == seen


def test_a_gpu_for_each_of_two_trials(on_cluster, write_sweep, tmp_path):
    file = str(write_sweep(SCRIPT.replace("< 4", "< 2"), "  x: {values: [1, 2]}"))
    packed = ["--template", "packed", "--sbatch", "gres=gpu:2", "--time", "5"]

    done = on_cluster("run", file, "--backend", "slurm", *packed, SLURMSWEEP_AGENTS="2")

    assert done.returncode == 0, done.stderr
    assert "dealt out to its 2 trials, 1 each" in done.stderr
    assert sorted((tmp_path / "seen").read_text().splitlines()) == ["0 0", "1 1"]
