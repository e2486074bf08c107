"""A real Slurm for the tests in this folder: started once where it may be, and stopped at the end."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LAB = Path(os.environ.get("SLURMSWEEP_LAB", "/tmp/slurmsweep-lab"))


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Attributes:
        environ: what Slurm's clients need.
    """

    environ: dict[str, str]


@pytest.fixture(scope="session")
def cluster():
    """The cluster; skips, and says why, where none may be started."""
    installed = subprocess.run([HERE / "install"], capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(installed.stdout.strip())
    was_up = (LAB / "run" / "slurmctld.pid").exists()
    started = subprocess.run([HERE / "up"], capture_output=True, text=True, check=False)
    assert started.returncode == 0, started.stderr
    yield Cluster({"SLURM_CONF": str(LAB / "etc" / "slurm.conf")})
    if not was_up:
        subprocess.run([HERE / "down"], check=True, capture_output=True)
