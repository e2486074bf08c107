"""A real Slurm for the tests in this folder: started once where it may be, and stopped at the end."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
LAB = Path(os.environ.get("SLURMSWEEP_LAB", "/tmp/slurmsweep-lab"))
#: First port of the first cluster; the second one's are a hundred further on.
PORTS = int(os.environ.get("SLURMSWEEP_LAB_PORTS", "26800"))


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Attributes:
        environ: what Slurm's clients need.
    """

    environ: dict[str, str]


@pytest.fixture(scope="session")
def cluster():
    """Return the cluster, with accounting; skips, and says why, where none may be started."""
    with running(LAB) as started:
        yield started


@pytest.fixture(scope="session")
def cluster_without_accounting():
    """Return a second cluster beside it, which keeps no accounts and forgets a job two seconds after its end."""
    knobs = {
        "SLURMSWEEP_LAB_ACCOUNTING": "0",
        "SLURMSWEEP_LAB_PORTS": str(PORTS + 100),
        "SLURMSWEEP_LAB_NODES": "2",
        "SLURMSWEEP_LAB_MINJOBAGE": "2",
    }
    with running(LAB.with_name(f"{LAB.name}-plain"), **knobs) as started:
        yield started


@pytest.fixture(scope="session")
def two_clusters():
    """Return two clusters that one slurmdbd knows, "one" and "other", whose jobs have the same ids."""
    first = LAB.with_name(f"{LAB.name}-one")
    knobs = {"SLURMSWEEP_LAB_NODES": "2", "SLURMSWEEP_LAB_FIRST_JOB": "5000"}
    one = {"SLURMSWEEP_LAB_CLUSTER": "one", "SLURMSWEEP_LAB_PORTS": str(PORTS + 200)}
    other = {
        "SLURMSWEEP_LAB_CLUSTER": "other",
        "SLURMSWEEP_LAB_PORTS": str(PORTS + 300),
        "SLURMSWEEP_LAB_BESIDE": str(first),
    }
    with (
        running(first, **knobs, **one) as here,
        running(LAB.with_name(f"{LAB.name}-other"), **knobs, **other) as there,
    ):
        yield here, there


@pytest.fixture(scope="session")
def private_cluster():
    """Return a cluster that shows its users neither jobs of others nor nodes and partitions; root's is the account."""
    knobs = {
        "SLURMSWEEP_LAB_CLUSTER": "private",
        "SLURMSWEEP_LAB_CONF": "PrivateData=jobs,nodes,partitions",
        "SLURMSWEEP_LAB_PORTS": str(PORTS + 400),
        "SLURMSWEEP_LAB_NODES": "2",
    }
    with running(LAB.with_name(f"{LAB.name}-private"), **knobs) as started:
        yield started


@pytest.fixture
def on_cluster(cluster, slurmsweep):
    """Return the command line with the cluster's environment."""
    return lambda *argv, **environ: slurmsweep(*argv, **cluster.environ, **environ)


@pytest.fixture
def slurm(cluster):
    """Run one of Slurm's own programs; its stdout."""

    def run(*argv) -> str:
        done = subprocess.run(argv, env=os.environ | cluster.environ, capture_output=True, text=True, check=True)
        return done.stdout

    return run


@contextmanager
def running(lab: Path, **knobs: str) -> Iterator[Cluster]:
    """Return the cluster of that folder: left alone if it runs already, else started and stopped."""
    installed = subprocess.run([HERE / "install"], capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(installed.stdout.strip())
    environ = os.environ | {"SLURMSWEEP_LAB": str(lab)} | knobs
    was_up = (lab / "run" / "slurmctld.pid").exists()
    started = subprocess.run([HERE / "up"], env=environ, capture_output=True, text=True, check=False)
    assert started.returncode == 0, started.stderr
    yield Cluster({"SLURM_CONF": str(lab / "etc" / "slurm.conf")})
    if not was_up:
        subprocess.run([HERE / "down"], env=environ, check=True, capture_output=True)
