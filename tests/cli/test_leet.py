"""All trials of a sweep as a folder that W&B's own viewer reads, whatever they logged with."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

wandb = pytest.importorskip("wandb", reason="the viewer is wandb's own")
CORE = Path(wandb.__file__).parent / "bin" / "wandb-core"

LOCAL = ("--backend", "local")
NATIVE = """
import slurmsweep
with slurmsweep.init() as run:
    for step in range(3):
        run.log({"loss": run.config["x"] + 1 / (step + 1), "val": {"acc": step}})
if run.config["x"] == 2:
    raise SystemExit(3)
"""


def inspected(folder: Path) -> list[dict]:
    """Return what the viewer reads of each run, by its own summary."""
    found = []
    for file in sorted(folder.glob("*/*.wandb"), key=lambda path: path.name):
        command = [CORE, "leet", "inspect", "-no-observability", "-summary", "-json", "-run-file", file, file.parent]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout))
    return found


def test_trials_of_the_native_client_are_runs_that_the_viewer_reads(slurmsweep, write_sweep, tmp_path):
    slurmsweep(
        "run", str(write_sweep(NATIVE, "  x: {values: [1, 2]}\n  deep: {parameters: {lr: {value: 0.5}}}")), *LOCAL
    )
    done = slurmsweep("leet", "last", "--links", "runs")

    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/runs\n")
    assert "2 trials in " in done.stderr
    assert [
        (run["name"], run["state"], run["exit_code"], run["config"], run["step"])
        for run in inspected(tmp_path / "runs")
    ] == [
        ("trial 0", "finished", 0, {"x": 1, "deep": {"lr": 0.5}}, 2),
        ("trial 1", "failed", 3, {"x": 2, "deep": {"lr": 0.5}}, 2),
    ]
    assert [run["summary"]["loss"] for run in inspected(tmp_path / "runs")] == [1 + 1 / 3, 2 + 1 / 3]


def test_a_folder_is_brought_up_to_date_and_runs_of_the_real_wandb_are_links(slurmsweep, write_sweep, tmp_path):
    script = "import wandb, sys\nrun = wandb.init()\nrun.log({'loss': run.config['x']})\nrun.finish()\n"
    sweep = write_sweep(script, "  x: {values: [1, 2]}")
    for _ in range(2):
        name = str(sweep) if not (tmp_path / ".slurmsweep").exists() else "last"
        assert slurmsweep("run", name, "--backend", "local", "--count", "1").returncode == 0
        assert slurmsweep("leet", "last", "--links", "runs").returncode == 0

    links = sorted((tmp_path / "runs").iterdir())
    assert [link.is_symlink() for link in links] == [True, True]
    assert [run["summary"]["loss"] for run in inspected(tmp_path / "runs")] == [1, 2]
    assert slurmsweep("check", "last").returncode == 0


def test_nothing_logged_is_nothing_to_view(slurmsweep, write_sweep):
    slurmsweep("create", str(write_sweep("pass")))
    done = slurmsweep("leet", "last")

    assert (done.returncode, "nothing to view" in done.stderr) == (2, True)


def test_the_viewer_shows_every_trial_on_a_terminal(slurmsweep, write_sweep, tmp_path):
    slurmsweep("run", str(write_sweep(NATIVE, "  x: {values: [1, 2]}")), *LOCAL)
    process, screen = pty.fork()
    if process == 0:
        os.chdir(tmp_path)
        os.environ.update(TERM="xterm-256color", HOME=str(tmp_path))
        os.execv(sys.executable, [sys.executable, "-m", "slurmsweep", "leet", "last"])
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 45, 160, 0, 0))
    shown, deadline = "", time.monotonic() + 120
    try:
        while not ("[2 items]" in shown and "loss" in shown and "State:" in shown):
            assert time.monotonic() < deadline, shown
            if select.select([screen], [], [], 0.2)[0]:
                shown += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", os.read(screen, 65536).decode("utf-8", "replace"))
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(screen)  # the viewer hears that its terminal is gone
