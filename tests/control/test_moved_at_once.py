"""Two commands that move one sweep at the same moment, and one that makes it longer: none loses what another did."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from slurmsweep.state.store import SweepStore

TRIALS = 6

#: Writes where it ran and as which trial, in one line.
SCRIPT = """
import os
with open(os.environ["RAN"], "a") as file:
    file.write(os.environ["SLURMSWEEP_TRIAL"] + " " + os.getcwd() + "\\n")
"""


def start(folder, *words, **environ) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "slurmsweep", *words]
    return subprocess.Popen(
        command, cwd=folder, env=os.environ | environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("attempt", range(3))
def test_two_runs_that_move_the_sweep_at_once_run_each_trial_once_in_a_folder_that_was_named(
    slurmsweep, write_sweep, tmp_path, attempt
):
    file = write_sweep(SCRIPT, "  x: {min: 0, max: 9}", "run_cap: 6", method="random")
    sweep = slurmsweep("create", str(file)).stdout.strip()
    folders = [tmp_path / "first place", tmp_path / "zweiter-Platz-ü"]
    for folder in folders:
        folder.mkdir()
        (folder / "train.py").write_text(SCRIPT)
    (tmp_path / "train.py").unlink()
    log = tmp_path / "ran"
    runs = [
        start(tmp_path, "run", sweep, "--backend", "local", "--jobs", "1", "--workdir", str(folder), RAN=str(log))
        for folder in folders
    ]
    longer = start(tmp_path, "extend", sweep, "--count", "1")

    ended = [(process.communicate(timeout=180)[1], process.returncode) for process in (*runs, longer)]

    assert "Traceback" not in "".join(said for said, _ in ended)
    assert ended[2][1] == 0, ended
    assert slurmsweep("run", sweep, "--backend", "local", RAN=str(log)).returncode == 0
    lines = [line.split(" ", 1) for line in log.read_text().splitlines()]
    assert sorted(int(number) for number, _ in lines) == list(range(TRIALS + 1))
    assert {place for _, place in lines} <= set(map(str, folders))
    store = SweepStore.open(str(tmp_path / "wandb" / f"sweep-{sweep}"))
    assert (store.manifest.trials, store.manifest.workdir in map(str, folders)) == (TRIALS + 1, True)
    assert slurmsweep("check", sweep).returncode == 0
