"""The metric is read from what a script left, however it ended: native history, and runs of the real wandb, offline."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from slurmsweep.agent import wandb_file
from slurmsweep.agent.metrics import MetricReading, read_metric

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import os, sys, wandb
run = wandb.init(config={"lr": 0.5})
run.define_metric("lowest", summary="min")
for step in range(200):
    run.log({"loss": 1 / (step + 1), "val": {"acc": step / 200}, "lowest": abs(step - 50), "odd": float("nan"), "word": "x" * 300})
"""


@pytest.fixture(scope="module")
def offline_run(tmp_path_factory):
    """The file of a finished offline run of the real wandb, over 32 KiB."""
    folder = tmp_path_factory.mktemp("run")
    return run_wandb(folder, SCRIPT)


def run_wandb(folder, script, **environ) -> Path:
    settings = {
        "WANDB_MODE": "offline", "WANDB_DIR": str(folder), "WANDB_SILENT": "true", "WANDB_RUN_ID": "abcd1234-0",
        "WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL": "0.1", "WANDB_CACHE_DIR": str(folder), "WANDB_CONFIG_DIR": str(folder),
        "WANDB_DATA_DIR": str(folder),
    }  # fmt: skip
    subprocess.run(
        [sys.executable, "-c", script], env=os.environ | settings | environ, check=False, capture_output=True
    )
    [file] = folder.glob("wandb/offline-run-*/run-*.wandb")
    return file


def test_a_run_of_the_real_wandb_is_read_whole(offline_run):
    run = wandb_file.read(str(offline_run))

    assert run.exit_code == 0
    assert [row["loss"] for row in run.history] == [1 / (step + 1) for step in range(200)]
    assert run.history[-1]["val.acc"] == 199 / 200
    assert run.summary["lowest"] == {"min": 0} or run.summary["lowest.min"] == 0


@pytest.mark.parametrize(
    ("name", "value"), [("loss", 1 / 200), ("val.acc", 199 / 200), ("lowest", 0.0), ("odd", None), ("word", None)]
)
def test_the_metric_is_the_summarys(offline_run, name, value):
    reading = read_metric("/nowhere", str(offline_run.parents[2]), name)

    assert reading.value == value
    assert reading.source == "wandb"


def test_a_file_cut_anywhere_gives_what_is_whole(offline_run, tmp_path):
    data = offline_run.read_bytes()
    cut = tmp_path / "cut.wandb"
    lengths = []
    for end in [*range(200), *range(200, len(data), 997)]:
        cut.write_bytes(data[:end])
        lengths.append(len(wandb_file.read(str(cut)).history))

    assert lengths == sorted(lengths)
    assert lengths[0] == 0
    assert lengths[-1] > 190


def test_a_killed_run_leaves_its_last_value(tmp_path):
    script = SCRIPT + "import time; time.sleep(1.5); os.kill(os.getpid(), 9)"

    file = run_wandb(tmp_path, script)

    assert wandb_file.read(str(file)).exit_code is None
    assert read_metric("/nowhere", str(tmp_path), "loss") == MetricReading(1 / 200, 200, "wandb")


def test_a_native_history_is_read_and_a_torn_last_line_left_out(tmp_path):
    (tmp_path / "history.jsonl").write_text(
        '{"loss": 2, "a": {"b": 1}}\n{"loss": NaN}\n{"loss": true}\n{"loss": 1.5}\n{"lo'
    )

    assert read_metric(str(tmp_path), str(tmp_path), "loss") == MetricReading(1.5, 2, "native")
    assert read_metric(str(tmp_path), str(tmp_path), "a.b").value == 1.0


def test_a_native_summary_stands_over_the_last_value(tmp_path):
    (tmp_path / "history.jsonl").write_text('{"loss": 2}\n{"loss": 3}\n{"_summary": {"loss": 2}}\n')

    assert read_metric(str(tmp_path), str(tmp_path), "loss").value == 2.0


def test_a_script_that_logged_nothing_has_no_metric(tmp_path):
    assert read_metric(str(tmp_path), str(tmp_path), "loss") == MetricReading()


def test_of_several_attempts_the_newest_run_counts(tmp_path):
    for number, value in ((1, 5.0), (2, 7.0)):
        folder = tmp_path / f"try{number}"
        folder.mkdir()
        file = run_wandb(folder, f"import wandb\nwith wandb.init() as run: run.log({{'loss': {value}}})")
        target = tmp_path / "wandb" / f"offline-run-2026010{number}_000000-abcd1234-0"
        target.mkdir(parents=True)
        (target / file.name).write_bytes(file.read_bytes())
        os.utime(target / file.name, (number, number))

    assert read_metric("/nowhere", str(tmp_path), "loss").value == 7.0
