"""A real Slurm for the tests in this folder: started once where it may be, and stopped at the end."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cluster.place import Place, own_place

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Attributes:
        environ: what Slurm's clients need.
    """

    environ: dict[str, str]


@pytest.fixture(scope="session")
def place():
    """Return the folder and the first port of the first cluster; each other one's are a hundred further on."""
    with own_place("slurmsweep-lab") as own:
        yield own


@pytest.fixture(scope="session")
def cluster(place):
    """Return the cluster, with accounting; skips, and says why, where none may be started."""
    with running(place) as started:
        yield started


@pytest.fixture(scope="session")
def cluster_without_accounting(place):
    """Return a second cluster beside it, which keeps no accounts and forgets a job two seconds after its end."""
    knobs = {"SLURMSWEEP_LAB_ACCOUNTING": "0", "SLURMSWEEP_LAB_NODES": "2", "SLURMSWEEP_LAB_MINJOBAGE": "2"}
    with running(place.beside("plain", 100), **knobs) as started:
        yield started


@pytest.fixture(scope="session")
def two_clusters(place):
    """Return two clusters that one slurmdbd knows, "one" and "other", whose jobs have the same ids."""
    first = place.beside("one", 200)
    knobs = {"SLURMSWEEP_LAB_NODES": "2", "SLURMSWEEP_LAB_FIRST_JOB": "5000"}
    one = {"SLURMSWEEP_LAB_CLUSTER": "one"}
    other = {"SLURMSWEEP_LAB_CLUSTER": "other", "SLURMSWEEP_LAB_BESIDE": str(first.folder)}
    with (
        running(first, **knobs, **one) as here,
        running(place.beside("other", 300), **knobs, **other) as there,
    ):
        yield here, there


@pytest.fixture(scope="session")
def private_cluster(place):
    """Return a cluster that shows its users neither jobs of others nor nodes and partitions; root's is the account."""
    knobs = {
        "SLURMSWEEP_LAB_CLUSTER": "private",
        "SLURMSWEEP_LAB_CONF": "PrivateData=jobs,nodes,partitions",
        "SLURMSWEEP_LAB_NODES": "2",
    }
    with running(place.beside("private", 400), **knobs) as started:
        yield started


@pytest.fixture
def on_cluster(cluster, slurmsweep):
    """Return the command line with the cluster's environment."""
    return lambda *argv, **environ: slurmsweep(*argv, **cluster.environ, **environ)


@pytest.fixture
def slurm(cluster):
    """Run one of Slurm's own programs; its stdout."""

    def run(*argv) -> str:
        done = subprocess.run(argv, env=os.environ | cluster.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout

    return run


@contextmanager
def running(place: Place, **knobs: str) -> Iterator[Cluster]:
    """Return the cluster of that folder: left alone if it runs already, else started and stopped."""
    installed = subprocess.run([HERE / "install"], capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(installed.stdout.strip())
    environ = os.environ | place.knobs | knobs
    was_up = (place.folder / "run" / "slurmctld.pid").exists()
    try:
        started = subprocess.run([HERE / "up"], env=environ, capture_output=True, text=True, check=False)
        assert started.returncode == 0, started.stderr
        yield Cluster({"SLURM_CONF": str(place.folder / "etc" / "slurm.conf")})
    finally:
        if not was_up:
            subprocess.run([HERE / "down"], env=environ, check=True, capture_output=True)
