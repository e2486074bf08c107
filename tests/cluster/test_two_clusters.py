"""Two real clusters with the same job ids, and an innocent array on each: no command for the sweep touches these."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess

import pytest
from cluster.test_orders import SCRIPT
from cluster.waiting import wait_until

pytestmark = pytest.mark.cluster

#: What a command could change of a job.
FIELDS = "ArrayJobID:|,ArrayTaskID:|,Name:60|,State:|,TimeLimit:|,Partition:|,Priority:|,Reason:|,RestartCnt:|"


class Lab:
    """Two clusters, a sweep, and what is there besides."""

    def __init__(self, clusters, slurmsweep) -> None:
        self.environ = clusters[0].environ
        self._slurmsweep = slurmsweep

    def slurm(self, *argv: str) -> str:
        done = subprocess.run(argv, env=os.environ | self.environ, capture_output=True, text=True, check=True)
        return done.stdout

    def __call__(self, *argv: str, code: int = 0, **environ: str) -> str:
        done = self._slurmsweep(*argv, **self.environ, **environ)
        assert done.returncode == code, (argv, done.stderr)
        return done.stderr if argv[0] != "create" else done.stdout.strip()

    def queue(self, cluster: str, name: str) -> list[str]:
        """What squeue says of the jobs whose name begins so."""
        text = self.slurm("squeue", "-M", cluster, "-h", "-r", "-t", "all", "-O", FIELDS)
        lines = [line.replace(" ", "") for line in text.splitlines()]
        return sorted(line for line in lines if f"|{name}" in line and "CANCELLED" not in line)

    def lead(self, cluster: str, other: str) -> None:
        """Let the next job of one cluster have a higher id than any of the other."""
        most = self.throw_away(other)
        while self.throw_away(cluster) <= most + 20:
            pass

    def throw_away(self, cluster: str) -> int:
        """Submit and cancel a job; return its id."""
        job = self.slurm("sbatch", "-M", cluster, "--parsable", "-H", "-o", "/dev/null", "--wrap", "true")
        self.slurm("scancel", "-M", cluster, job.partition(";")[0])
        return int(job.partition(";")[0])

    def innocent(self, cluster: str, job: int = 0) -> None:
        """Submit an array of another name, with that id if one is given; one element of it runs."""
        while job and self.throw_away(cluster) < job - 1:
            pass
        sleeper = ("--array=0-2%1", "-J", "innocent", "-o", "/dev/null", "--wrap", "sleep 600")
        number = self.slurm("sbatch", "-M", cluster, "--parsable", *sleeper).partition(";")[0]
        assert job in (0, int(number))
        runs = f"{number}|0|innocent|RUNNING"
        wait_until(lambda: any(line.startswith(runs) for line in self.queue(cluster, "innocent")))

    def innocents(self) -> list[str]:
        throttles = [self.slurm("scontrol", "-M", name, "-o", "show", "job") for name in ("one", "other")]
        widths = [line for text in throttles for line in text.splitlines() if "JobName=innocent" in line]
        return [
            *(f"{name}: {line}" for name in ("one", "other") for line in self.queue(name, "innocent")),
            *(word for line in widths for word in line.split() if word.startswith("ArrayTaskThrottle")),
        ]


@pytest.fixture
def lab(two_clusters, slurmsweep):
    lab = Lab(two_clusters, slurmsweep)
    yield lab
    for name in ("one", "other"):
        lab.slurm("scancel", "-M", name, "-u", "root")


def test_no_command_touches_a_job_of_the_same_id_on_another_cluster(lab, write_sweep, tmp_path):
    sweep = lab("create", str(write_sweep(SCRIPT, "  x: {min: 1, max: 40}")))
    asked = ("--count", "2", "--width", "1", "--time", "10")
    for name, beside, options in (("other", "one", ("--sbatch", "clusters=other")), ("one", "other", ())):
        lab.lead(name, beside)
        said = lab("submit", sweep, *asked, *options)
        job, where = re.search(r"submitted job (\d+)(@other)?: 2 trials", said).groups()
        assert (where == "@other") is (name == "other")
        wait_until(lambda name=name: any("|RUNNING|" in line for line in lab.queue(name, f"slurmsweep-{sweep}")))
        lab.innocent(beside, int(job))
    before = lab.innocents()

    def running() -> bool:
        return all(
            sum("|RUNNING|" in line for line in lab.queue(n, f"slurmsweep-{sweep}")) == 1 for n in ("one", "other")
        )

    wait_until(running)
    lab("pause", sweep)
    assert all(sum("JobHeld" in line for line in lab.queue(n, f"slurmsweep-{sweep}")) >= 1 for n in ("one", "other"))
    lab("resume", sweep)
    lab("set", sweep, "--width", "2", "--time", "7", SLURM_CLUSTERS="other")
    wait_until(
        lambda: all(
            sum("|7:00|" in line for line in lab.queue(n, f"slurmsweep-{sweep}")) == 1 for n in ("one", "other")
        )
    )
    wait_until(
        lambda: all(sum("|RUNNING|" in x for x in lab.queue(n, f"slurmsweep-{sweep}")) == 2 for n in ("one", "other"))
    )
    status = json.loads(lab._slurmsweep("status", sweep, "--json", **lab.environ).stdout)
    assert status["jobs"] == {"running": 4}
    lab("cancel", sweep, SLURM_CLUSTERS="other")
    wait_until(
        lambda: not any("|RUNNING|" in line for n in ("one", "other") for line in lab.queue(n, f"slurmsweep-{sweep}"))
    )
    lab("reconcile", sweep)
    lab("resubmit", sweep, "--no-wait", "--mend", "--sbatch", "clusters=other", "--time", "10")
    lab("mend", sweep)
    lab("stop", sweep)
    lab("cancel", sweep)

    assert lab.innocents() == before
    (tmp_path / "all").touch()


@pytest.mark.timeout(900)
def test_a_sample_of_random_orders_touches_no_job_of_the_same_id(lab, write_sweep, tmp_path):
    (tmp_path / "all").touch()
    sweep = lab("create", str(write_sweep(SCRIPT, "  x: {min: 1, max: 200}")))
    for _ in range(6):  # with ids that jobs of the sweep will have on the other cluster
        lab.innocent("one")
        lab.innocent("other")
    before, dice = lab.innocents(), random.Random(1)
    orders = [
        ("submit", "--count", "1", "--time", "5"),
        ("submit", "--count", "1", "--time", "5", "--sbatch", "clusters=other"),
        ("pause",),
        ("resume",),
        ("set", "--time", "4", "--width", "1"),
        ("stop",),
        ("cancel",),
        ("reconcile",),
        ("resubmit", "--no-wait"),
        ("delete", "--state", "killed"),
    ]

    for _ in range(40):
        verb, *options = dice.choice(orders)
        environ = {"SLURM_CLUSTERS": dice.choice(["one", "other"])} if dice.random() < 0.3 else {}
        lab._slurmsweep(verb, sweep, *options, **lab.environ, **environ)

    assert lab.innocents() == before
