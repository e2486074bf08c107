"""Sweeps made and run from Python."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import slurmsweep
from slurmsweep.api import naming
from slurmsweep.state.store import SweepStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(autouse=True)
def _ctrl_c_is_heard():
    """As in a terminal, also where the tests run in the background, whose shell has SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(monkeypatch, tmp_path):
    """Each test is a new program: it knows no sweep yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(naming, "_known", {})


@pytest.fixture
def make_sweep() -> Callable[..., str]:
    """Return a sweep of a function: a grid over ``x`` with the metric ``loss``; its id."""

    def make(values=(1, 2, 3), prior_runs=None, **more: Any) -> str:
        metric = {"name": "loss", "goal": "minimize"}
        config = {"method": "grid", "metric": metric, "parameters": {"x": {"values": list(values)}}, **more}
        return slurmsweep.sweep(config, prior_runs=prior_runs)

    return make


@pytest.fixture
def outcomes() -> Callable[[str], dict[int, tuple[str, str]]]:
    """State and cause of every trial that was claimed, as the journal has them."""

    def read(sweep: str) -> dict[int, tuple[str, str]]:
        return {number: (str(t.state), t.cause) for number, t in SweepStore.open(sweep).replay().trials.items()}

    return read


@pytest.fixture
def log_of(tmp_path) -> Callable[..., str]:
    """Return the log of a trial's attempt."""

    def read(sweep: str, trial: int = 0, attempt: int = 1) -> str:
        folder: Path = tmp_path / "wandb" / f"sweep-{sweep}" / "trials" / "0" / str(trial) / str(attempt)
        return (folder / "output.log").read_text()

    return read


@pytest.fixture
def python(tmp_path) -> Callable[..., subprocess.Popen[str]]:
    """Start a Python program in the test's folder; ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str, *argv: str, **environ: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", program, *argv],
            cwd=tmp_path,
            env=os.environ | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
